"""A missing service is a skip on a laptop and a failure in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest
def test_needs_service(): pytest.skip("service: promtool is absent")
@pytest.mark.skipif(True, reason="service: systemd-analyze is absent")
def test_marked(): pass
def test_other(): pytest.skip("only on a leap day")
"""
MODULE = 'import pytest\npytest.skip("service: no database", allow_module_level=True)\n'
SETTINGS = ("CI", "COHORTD_REQUIRE_SERVICES", "PYTEST_ADDOPTS")


@pytest.mark.parametrize(
    ("variable", "outcome"),
    [
        (None, "4 skipped"),
        ("COHORTD_REQUIRE_SERVICES", "1 failed, 1 skipped, 2 errors"),
        ("CI", "1 failed, 1 skipped, 2 errors"),
    ],
)
def test_service_skips_fail_where_required(
    tmp_path: Path, variable: str | None, outcome: str
) -> None:
    """Only skips with a reason of "service:" fail, and only if services are required."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "test_module.py").write_text(MODULE)
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        env=env | ({variable: "1"} if variable else {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome in done.stdout.splitlines()[-1], done.stdout
