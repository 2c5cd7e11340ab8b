"""docs/metrics.md names every metric that is exported, with its labels, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .dashboard_files import alerts, metric_names, panel_queries, rules
from .scenario import SCRAPES, Scenario

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
ROW = re.compile(r"^\| `(cohortd_\w+)` \| (\w+) \| (.*?) \| (.+) \|$", re.M)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, set[str], str]]:
    """Kind, labels and help of every metric after the scenario, by name."""
    scenario = Scenario(tmp_path_factory.mktemp("docs"))
    for _ in range(SCRAPES):
        scenario.step()
    found = {}
    for family in scenario.metrics.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels, family.documentation)
    return found


def documented() -> dict[str, tuple[str, set[str], str]]:
    """The same of the page."""
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)), text)
        for name, kind, labels, text in ROW.findall(PAGE.read_text())
    }


def test_the_page_names_what_is_exported(exported: dict[str, tuple[str, set[str], str]]) -> None:
    """Both ways: no metric without a line, no line without a metric; kind and help agree."""
    page = documented()
    assert sorted(page) == sorted(exported)
    for name, (kind, labels, text) in exported.items():
        assert (page[name][0], page[name][2]) == (kind, text), name
        assert labels <= page[name][1], name


def test_dashboards_and_rules_ask_for_documented_metrics() -> None:
    """A panel or an alert on a name that does not exist would be silent for ever."""
    page = set(documented())
    wanted = set().union(*(metric_names(each.expr) for each in panel_queries()))
    wanted |= set().union(*(metric_names(rule["expr"]) for rule in rules()))
    assert wanted - page == set() and alerts()
