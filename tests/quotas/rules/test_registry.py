"""The registry: every rule has its file, its messages, its row in the docs and its test table."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import quotas.rules
from quotas.messages.catalogue import TEXTS
from quotas.messages.catalogue.remedies import CHANGED_BY, REMEDIES
from quotas.rules.context import AnnouncementRule, StopRule
from quotas.rules.registry import ALL_RULES, RESTRICTING, RULES, STOP_BY_NAME
from tests.quotas.decisions.test_explain import CASES

DOCS = (Path(__file__).parents[3] / "docs" / "enforcement.md").read_text()
NO_RULES = {"__init__", "context", "prepare", "registry"}


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.name)
def test_a_rule_has_everything_that_people_read_of_it(rule: StopRule | AnnouncementRule) -> None:
    """Its message, its remedy and who may change it are in the catalogue, and its restriction."""
    assert all(rule.name in texts for texts in (TEXTS, REMEDIES, CHANGED_BY))
    assert rule.restricts is None or f"{rule.name}.restriction" in TEXTS


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.name)
def test_a_rule_has_a_row_in_the_docs_and_a_test_table(
    rule: StopRule | AnnouncementRule,
) -> None:
    """docs/enforcement.md names it in a table, and a row of CASES recomputes it."""
    assert re.search(rf"^\| `{rule.name}` \|", DOCS, re.MULTILINE), rule.name
    assert any(name == rule.name for name, _, _ in CASES)


def test_rules_holds_rules_and_nothing_else() -> None:
    """Each file of the package defines a registered rule, except context, prepare, registry."""
    folder = Path(str(quotas.rules.__file__)).parent
    files = {path.stem for path in folder.glob("*.py")} - NO_RULES
    homes = {Path(inspect.getfile(rule.find)).stem for rule in ALL_RULES}
    assert files == homes


def test_every_restricting_rule_has_its_place_in_the_order() -> None:
    """The order of equally strict restrictions names each rule that restricts, once."""
    restricting = [rule.name for rule in ALL_RULES if rule.restricts is not None]
    assert sorted(RESTRICTING) == sorted(restricting)


def test_names_are_unique_and_forecasts_are_announcements() -> None:
    """No name is used twice, and a forecast names an announcement rule."""
    assert len(RULES) == len(ALL_RULES)
    forecasts = {rule.forecast for rule in STOP_BY_NAME.values() if rule.forecast}
    assert all(isinstance(RULES[name], AnnouncementRule) for name in forecasts)
