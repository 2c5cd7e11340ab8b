"""Reads the dashboards and alert rules: panels, expressions and metric names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD_FILES = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
RULES = DEPLOY / "prometheus/rules/cohortd.yml"
_VARIABLE = re.compile(r"\$(\w+)")
VALUES = {
    "job": ".*",
    "instance": ".*",
    "startup": ".*",
    "__rate_interval": "1m",
    "__range": "5m",
}


@dataclass(frozen=True)
class PanelQuery:
    """One expression of a panel, with the variables filled in."""

    dashboard: str
    panel: str
    raw: str

    @property
    def expr(self) -> str:
        return _VARIABLE.sub(lambda found: VALUES[found[1]], self.raw)


def dashboard(path: Path) -> dict[str, Any]:
    """A dashboard as committed."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """Its panels, rows left out."""
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def panel_queries() -> list[PanelQuery]:
    """Every expression of every panel, and of the annotations."""
    return [
        PanelQuery(path.stem, panel["title"], target["expr"])
        for path in DASHBOARD_FILES
        for panel in panels(path)
        for target in panel["targets"]
    ]


def annotations() -> list[PanelQuery]:
    """Every expression of an annotation."""
    return [
        PanelQuery(path.stem, each["name"], each["expr"])
        for path in DASHBOARD_FILES
        for each in dashboard(path)["annotations"]["list"]
    ]


def rules() -> Iterator[dict[str, Any]]:
    """Every recording rule and alert."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for rule in rules() if "alert" in rule]


def metric_names(expr: str) -> set[str]:
    """Names of ours that an expression reads, of a histogram without its suffix."""
    found = set(re.findall(r"(?<![\w:])cohortd_\w+", expr))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}
