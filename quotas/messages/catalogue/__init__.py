"""Catalogue: every English text that people read about decisions and notices, by message id.

A message id names a fixed text, or a function from typed facts to text. Decisions, notices,
intents and the outbox store facts; commands, API, portal and mail ask the catalogue for the words.
"""

from __future__ import annotations

from typing import Any

from quotas.decisions.record import facts_from, kind_name
from quotas.messages.catalogue import mail, operators, remedies, requests, rules, texts, verbs
from quotas.messages.catalogue.notices import stop_notice_text
from quotas.rules.registry import RULES, STOP_BY_NAME
from quotas.state.facts import FactsJson, TypedMessage
from quotas.state.notices import Notice
from quotas.state.snapshot import Decision

TEXTS: texts.Texts = {
    **rules.TEXTS,
    **verbs.TEXTS,
    **remedies.TEXTS,
    **requests.TEXTS,
    **operators.TEXTS,
    **mail.TEXTS,
}
UNREADABLE = "its facts are not complete"
"""The text of a decision whose stored facts were damaged."""


def render(message: TypedMessage) -> str:
    """The text of a message. Raises KeyError."""
    return texts.render(TEXTS, message.id, message.facts)


def text_of(kind: str, facts: Any) -> str:
    """What a decision of a kind concluded, in a sentence without its full stop."""
    return texts.render(TEXTS, RULES[kind].message if kind in RULES else kind, facts)


def decision_text(decision: Decision) -> str:
    """What a decision concluded, from the facts that it stores."""
    return reason_text(decision.rule, decision.verb, decision.inputs)


def reason_text(rule: str, verb: str, stored: FactsJson) -> str:
    """The same, of a row of the book."""
    try:
        return text_of(kind_name(rule, verb), facts_from(rule, verb, stored))
    except (KeyError, ValueError, TypeError):
        return UNREADABLE


def notice_text(notice: Notice) -> str:
    """The text of a notice, from the facts that it stores and its present deadline."""
    if notice.rule in STOP_BY_NAME:
        return stop_notice_text(notice)
    kind = "test.notice" if notice.rule == "test" else notice.rule
    return text_of(kind, facts_from(notice.rule, "announce", notice.facts))


def remedy_text(kind: str, facts: Any) -> str:
    """What would have to be different, so that the decision would not have been made."""
    message = RULES[kind].remedy if kind in RULES else f"{kind}.remedy"
    return texts.render(TEXTS, message, facts) if message in TEXTS else remedies.OBSERVED


def changed_by_text(kind: str) -> str:
    """Who may change a decision of a kind: the same words in commands, API and notices."""
    message = RULES[kind].changed_by if kind in RULES else f"{kind}.changed_by"
    return texts.render(TEXTS, message) if message in TEXTS else remedies.ANYONE
