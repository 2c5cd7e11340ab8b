"""Catalogue: every English text that people read about decisions and notices, by message id.

A message id names a fixed text, or a function from typed facts to text. Decisions, notices,
intents and the outbox store facts; commands, API, portal and mail ask the catalogue for the words.
"""

from __future__ import annotations

from typing import Any

from quotas.decisions.record import facts_from, kind_name
from quotas.decisions.verbs import Extension
from quotas.messages.catalogue import mail, operators, requests, rules, texts, verbs
from quotas.messages.catalogue.remedies import CHANGED_BY, EXEMPTION, OBSERVED, REMEDIES
from quotas.model.units import format_instant
from quotas.rules.registry import STOP_BY_NAME
from quotas.state.facts import FactsJson, TypedMessage, from_json
from quotas.state.notices import Notice, StopTerms
from quotas.state.snapshot import Decision

TEXTS: texts.Texts = {
    **rules.TEXTS,
    **verbs.TEXTS,
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
    return texts.render(TEXTS, kind, facts)


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
    rule, is_stop = notice.rule, notice.rule in STOP_BY_NAME
    facts = facts_from(rule, "notify" if is_stop else "announce", notice.facts)
    reason = text_of("test.notice" if rule == "test" else rule, facts)
    if not is_stop:
        return reason
    terms = from_json(StopTerms, notice.facts)
    loss = f"{_scratch_text(terms.scratch_bytes)}; its slot "
    loss += "stays the program's" if terms.is_reserved else "goes back to Scaleway"
    if terms.was_due_s is not None and terms.resumed_s is not None:
        extension = Extension.of(terms, server=notice.server_name, deadline_s=notice.deadline_s)
        return f"{text_of('extend', extension)}: {reason}. {loss}; volumes stay."
    remedy = remedy_text(rule, facts)
    text = (
        f"{notice.server_name} ({terms.flavor}) will be powered off at "
        f"{format_instant(notice.deadline_s)}: {reason}. "
        f"{remedy[:1].upper()}{remedy[1:]}. {loss}; volumes stay."
    )
    if terms.goes_on_s is not None:
        text += f" It continues the notice of {format_instant(terms.goes_on_s)}."
    return text


def _scratch_text(size_bytes: int | None) -> str:
    """What becomes of the scratch disk; None where the flavor is not known from the catalogue."""
    if size_bytes is None:
        return "A scratch disk, where it has one, is erased"
    if not size_bytes:
        return "It has no scratch disk"
    return f"Its scratch disk of {size_bytes // 10**9} GB is erased"


def remedy_text(kind: str, facts: Any) -> str:
    """What would have to be different, so that the decision would not have been made."""
    return texts.render(REMEDIES, kind, facts) if kind in REMEDIES else OBSERVED


def changed_by_text(kind: str) -> str:
    """Who may change a decision of a kind: the same words in commands, API and notices."""
    return texts.render(CHANGED_BY, kind) if kind in CHANGED_BY else EXEMPTION
