"""Explain: a decision taken apart, recomputed from its facts, with its remedy and next step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.decisions.record import facts_from, kind_name, recompute
from quotas.messages.catalogue import changed_by_text, remedy_text
from quotas.messages.catalogue.remedies import observed
from quotas.model.units import format_instant
from quotas.state.facts import FactsJson
from quotas.state.notices import LIVE_NOTICES, Notice, NoticeState
from quotas.state.snapshot import Decision


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision taken apart.

    `is_recomputed` says whether its inputs lead to it again. `check` says the same in words,
    and what they lead to instead.
    """

    rule: str
    verb: str
    at_s: int
    reason: str
    inputs: FactsJson
    is_recomputed: bool
    check: str
    counterfactual: str
    next_step: str
    who_may_change_it: str


def explain(decision: Decision, at_s: int, notices: Iterable[Notice], now_s: int) -> Explanation:
    """Take a decision apart; `notices` are those of its startup that live."""
    kind, again = kind_name(decision.rule, decision.verb), recompute(decision)
    return Explanation(
        rule=decision.rule,
        verb=decision.verb,
        at_s=at_s,
        reason=decision.reason,
        inputs=decision.inputs,
        is_recomputed=again == decision.reason,
        check=_check(decision.reason, again),
        counterfactual=_remedy(decision),
        next_step=_next(decision, notices, now_s),
        who_may_change_it=changed_by_text(kind),
    )


def _remedy(decision: Decision) -> str:
    """The remedy; of a decision whose facts are not complete, that it was observed."""
    try:
        facts = facts_from(decision.rule, decision.verb, decision.inputs)
        return remedy_text(kind_name(decision.rule, decision.verb), facts)
    except (KeyError, ValueError):
        return observed(decision)


def _check(reason: str, again: str | None) -> str:
    if again == reason:
        return "its inputs lead to it again"
    if again is None:
        return "its inputs differ: they lead to no such decision"
    return f"its inputs differ: they lead to: {again}"


def _next(decision: Decision, notices: Iterable[Notice], now_s: int) -> str:
    for notice in notices:
        same = (decision.startup, decision.server_id, decision.rule) == notice.subject
        if not same or notice.state not in LIVE_NOTICES:
            continue
        at = format_instant(notice.deadline_s)
        if notice.state is NoticeState.DEFERRED:
            return "it is deferred until the stops of the last hour leave room or it is approved"
        if notice.state is NoticeState.SHADOW:
            return f"nothing: in shadow mode its stop, due at {at}, is only recorded"
        if notice.state is NoticeState.EXECUTING:
            return "it is being stopped; the next observation confirms it"
        when = "is due now" if notice.deadline_s <= now_s else f"follows at {at}"
        return f"its stop {when}, unless the cause ends before"
    return "nothing: no notice about it is open"
