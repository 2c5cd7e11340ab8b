"""The dashboards are what the code builds, read well, and ask only for what is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporters.dashboards import DASHBOARDS
from exporters.dashboards.panels import to_json

from .dashboard_files import (
    DASHBOARD_FILES,
    PanelQuery,
    annotations,
    dashboard,
    panel_queries,
    panels,
)

DRAWN = {"timeseries", "stat", "gauge", "bargauge", "table", "text"}
"""What @grafana/ui ships: nothing else can be drawn without a Grafana server."""


def test_the_committed_files_are_what_the_code_builds() -> None:
    """Nobody edits the JSON: `make dashboards` writes it, twice the same."""
    built = {name: to_json(build()) for name, build in DASHBOARDS.items()}
    assert built == {path.stem: path.read_text() for path in DASHBOARD_FILES}
    assert built == {name: to_json(build()) for name, build in DASHBOARDS.items()}


@pytest.mark.parametrize("path", DASHBOARD_FILES, ids=lambda path: path.stem)
def test_no_key_is_misspelt(path: Path) -> None:
    """Reading into Grafana's types and writing again loses nothing."""
    register_default_plugins()
    again = JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard(path)))
    assert json.loads(again) == dashboard(path)


@pytest.mark.parametrize("path", DASHBOARD_FILES, ids=lambda path: path.stem)
def test_every_dashboard_can_be_found_and_pointed(path: Path) -> None:
    """A fixed uid, our tag, UTC, and variables for data source, job and instance."""
    found = dashboard(path)
    assert found["uid"].startswith("cohortd-") and found["tags"] == ["cohortd"]
    assert found["timezone"] == "utc" and found["editable"] is False
    names = [variable["name"] for variable in found["templating"]["list"]]
    assert names[:3] == ["datasource", "job", "instance"]


@pytest.mark.parametrize("path", DASHBOARD_FILES, ids=lambda path: path.stem)
def test_every_panel_explains_itself(path: Path) -> None:
    """Title, one sentence, a unit, the reader's data source, and a kind that can be drawn."""
    for panel in panels(path):
        where = panel["title"]
        assert panel["type"] in DRAWN, where
        assert panel["description"].endswith(".") and "\n" not in panel["description"], where
        assert panel["fieldConfig"]["defaults"]["unit"], where
        assert panel["datasource"]["uid"] == "${datasource}", where
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], where


def test_panels_do_not_overlap() -> None:
    """Every panel has its own cells of the grid, and none is wider than it."""
    for path in DASHBOARD_FILES:
        taken: set[tuple[int, int]] = set()
        for panel in panels(path):
            at: dict[str, Any] = panel["gridPos"]
            cells = {
                (at.get("x", 0) + x, at.get("y", 0) + y)
                for x in range(at["w"])
                for y in range(at["h"])
            }
            assert not cells & taken and all(x < 24 for x, _ in cells), panel["title"]
            taken |= cells


@pytest.mark.parametrize(
    "each", panel_queries() + annotations(), ids=lambda each: f"{each.dashboard}-{each.panel}"
)
def test_every_expression_parses_and_can_be_pointed(each: PanelQuery) -> None:
    """It is PromQL, and every selector matches the chosen job and instance."""
    promql_parser.parse(each.expr)
    assert each.raw.count('job=~"$job", instance=~"$instance"') == each.raw.count("{job=")
    assert each.raw.count("cohortd_") == each.raw.count("{job=")


def test_rates_follow_the_scrape_interval() -> None:
    """A rate over a fixed window is empty or wrong when the reader zooms."""
    for each in panel_queries():
        if "rate(" in each.raw:
            assert "[$__rate_interval]" in each.raw, each
