"""Writes the dashboards as JSON files: `make dashboards`, after a change to this package."""

from __future__ import annotations

import sys
from pathlib import Path

from exporters.dashboards import DASHBOARDS
from exporters.dashboards.panels import to_json


def main(folder: str) -> None:
    """Write every dashboard into a folder."""
    for name, build in DASHBOARDS.items():
        (Path(folder) / f"{name}.json").write_text(to_json(build()))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "deploy/grafana/dashboards")
