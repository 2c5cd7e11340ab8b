"""promtool accepts the files in deploy/."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_prometheus_takes_the_scrape_configuration() -> None:
    """promtool finds nothing wrong with deploy/prometheus/prometheus.yml."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("service: promtool is absent")
    path = ROOT / "deploy/prometheus/prometheus.yml"
    done = subprocess.run([promtool, "check", "config", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
