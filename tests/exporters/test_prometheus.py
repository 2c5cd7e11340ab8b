"""A real Prometheus scrapes a replayed scenario: nothing that we ship asks in vain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import promql_parser
import pytest
from promql_parser import BinaryExpr, Call, Expr, NumberLiteral, ParenExpr

from .dashboard_files import PanelQuery, alerts, annotations, panel_queries
from .prometheus_server import Prometheus, Receiver, alertmanager, listening, prometheus
from .scenario import SCRAPES, Scenario

COMPARISONS = {">", "<", "==", "!=", ">=", "<="}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Receiver]]:
    """Prometheus after enough scrapes, and what Alertmanager's webhook hears."""
    folder = tmp_path_factory.mktemp("live")
    scenario, scrapes, hook = Scenario(folder), Receiver(), Receiver()
    with ExitStack() as stack:
        webhook = stack.enter_context(listening(hook))
        manager = stack.enter_context(alertmanager(folder, webhook))
        scraped = stack.enter_context(listening(scrapes, scenario.step))
        running = stack.enter_context(prometheus(folder, scraped, manager))
        for _ in range(SCRAPES):
            scrapes.wait()
        yield running, hook


def operands(expr: Expr) -> list[str]:
    """What an alert compares: its parts that must have data whether it fires or not."""
    if isinstance(expr, ParenExpr):
        return operands(expr.expr)
    if isinstance(expr, BinaryExpr) and str(expr.op) in COMPARISONS | {"and", "or", "unless"}:
        return [*operands(expr.lhs), *operands(expr.rhs)]
    if isinstance(expr, Call) and expr.func.name == "absent":
        return operands(expr.args[0])
    return [] if isinstance(expr, NumberLiteral) else [expr.prettify()]


@pytest.mark.parametrize("each", panel_queries(), ids=lambda each: f"{each.dashboard}-{each.panel}")
def test_every_panel_has_data(live: tuple[Prometheus, Receiver], each: PanelQuery) -> None:
    """Each expression of each panel answers, without a warning."""
    assert live[0].query(each.expr), each.expr


@pytest.mark.parametrize("each", annotations(), ids=lambda each: each.dashboard)
def test_every_annotation_has_data(live: tuple[Prometheus, Receiver], each: PanelQuery) -> None:
    """The stops that the graphs are marked with are found."""
    for part in operands(promql_parser.parse(each.expr)):
        assert live[0].query(part), part


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_looks_at_something(
    live: tuple[Prometheus, Receiver], alert: dict[str, str]
) -> None:
    """Each side of each comparison has data: an alert on a misspelt name never fires."""
    for part in operands(promql_parser.parse(alert["expr"])):
        assert live[0].query(part), part


def test_alertmanager_receives_one(live: tuple[Prometheus, Receiver]) -> None:
    """An alert of the scenario arrives at the webhook with its severity and runbook."""
    _, body = live[1].wait()
    (first, *_) = json.loads(body)["alerts"]
    assert first["labels"]["severity"] in {"page", "ticket", "info"}
    assert first["annotations"]["runbook_url"].startswith("docs/runbooks/")
