"""Catalogue: every English text that people read about decisions and notices, by message id.

A message id names a function from typed facts to text. Decisions and notices store facts;
commands, API, portal and mail ask the catalogue for the words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quotas.messages.catalogue import notices, remedies, requests, rules, verbs
from quotas.rules.context import OPEN, Restriction
from quotas.rules.registry import RULES, restricts

TEXTS: Mapping[str, Callable[[Any], str]] = {
    **rules.TEXTS,
    **remedies.TEXTS,
    **verbs.TEXTS,
    **requests.TEXTS,
    **notices.TEXTS,
}


def render(message: str, facts: Any) -> str:
    """The text of a message id for its facts. Raises KeyError."""
    return TEXTS[message](facts)


def text_of(kind: str, facts: Any) -> str:
    """What a decision of a kind concluded, in a sentence without its full stop."""
    if kind == "closing":
        why = restriction_text(facts.by, facts.restriction)
        return verbs.closing(facts, why)
    return render(RULES[kind].message if kind in RULES else kind, facts)


def restriction_text(rule: str, facts: Any) -> str:
    """Why a startup is restricted, or open."""
    return render("open" if rule == OPEN.rule else restricts(rule).message, facts)


def level_text(restriction: Restriction) -> tuple[str, str]:
    """A startup's level and the reason for it, as the read models show them."""
    return str(restriction.level), restriction_text(restriction.rule, restriction.facts)


def remedy_text(kind: str, facts: Any) -> str:
    """What would have to be different, so that the decision would not have been made."""
    message = RULES[kind].remedy if kind in RULES else f"{kind}.remedy"
    return TEXTS.get(message, remedies.observed)(facts)


def changed_by_text(kind: str) -> str:
    """Who may change a decision of a kind: the same words in commands, API and notices."""
    message = RULES[kind].changed_by if kind in RULES else f"{kind}.changed_by"
    return remedies.CHANGED_BY.get(message, remedies.ANYONE)
