"""Texts of notices: what will be stopped and when, what the stop takes, and what avoids it."""

from __future__ import annotations

from quotas.decisions.record import facts_from
from quotas.decisions.verbs import Extension
from quotas.messages.catalogue import remedies, rules, verbs
from quotas.messages.catalogue.texts import render
from quotas.model.units import format_instant
from quotas.rules.registry import stop_rule
from quotas.state.facts import from_json
from quotas.state.notices import Notice, StopTerms


def stop_notice_text(notice: Notice) -> str:
    """The text of a notice of a stop, with the deadline that it has now."""
    rule, terms = stop_rule(notice.rule), from_json(StopTerms, notice.facts)
    facts = facts_from(rule.name, "notify", notice.facts)
    reason = render(rules.TEXTS, rule.message, facts)
    if terms.was_due_s is not None and terms.resumed_s is not None:
        extension = Extension(
            server=notice.server_name,
            was_due_s=terms.was_due_s,
            resumed_s=terms.resumed_s,
            deadline_s=notice.deadline_s,
        )
        return f"{render(verbs.TEXTS, 'extend', extension)}: {reason}. {_loss(terms)}"
    remedy = render(remedies.TEXTS, rule.remedy, facts)
    text = (
        f"{notice.server_name} ({terms.flavor}) will be powered off at "
        f"{format_instant(notice.deadline_s)}: {reason}. "
        f"{remedy[:1].upper()}{remedy[1:]}. {_loss(terms)}"
    )
    if terms.goes_on_s is not None:
        text += f" This goes on with the notice of {format_instant(terms.goes_on_s)}."
    return text


def _loss(terms: StopTerms) -> str:
    """What the stop of a server takes from its startup, and what it leaves."""
    slot = "stays the program's" if terms.is_reserved else "goes back to Scaleway"
    return f"{_scratch(terms.scratch_bytes)}; its slot {slot}; volumes stay."


def _scratch(size_bytes: int | None) -> str:
    """What becomes of the scratch disk; None where the flavor is not known from the catalogue."""
    if size_bytes is None:
        return "A scratch disk, where it has one, is erased"
    if not size_bytes:
        return "It has no scratch disk"
    return f"Its scratch disk of {size_bytes // 10**9} GB is erased"
