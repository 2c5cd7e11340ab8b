"""Explain: a decision taken apart, recomputed from its facts, with its remedy and next step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quotas.decisions.record import facts_from, is_recomputed, kind_name
from quotas.messages.catalogue import changed_by_text, decision_text, remedy_text
from quotas.messages.catalogue.operators import result_text
from quotas.messages.catalogue.remedies import OBSERVED
from quotas.model.units import format_instant
from quotas.state.facts import FactsJson
from quotas.state.notices import LIVE_NOTICES, Intent, Notice, NoticeState
from quotas.state.snapshot import Decision


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision taken apart.

    `is_recomputed` says whether its inputs lead to it again, and `check` says the same in words.
    `intents` say what became of each action that followed.
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
    intents: tuple[str, ...]


def explain(
    decision: Decision,
    at_s: int,
    notices: Iterable[Notice],
    now_s: int,
    intents: Iterable[Intent] = (),
) -> Explanation:
    """Take a decision apart; `notices` are those of its startup that live."""
    holds = is_recomputed(decision)
    return Explanation(
        rule=decision.rule,
        verb=decision.verb,
        at_s=at_s,
        reason=decision_text(decision),
        inputs=decision.inputs,
        is_recomputed=holds,
        check="its inputs lead to it again" if holds else "its inputs lead to no such decision",
        counterfactual=_remedy(decision),
        next_step=_next(decision, notices, now_s),
        who_may_change_it=changed_by_text(kind_name(decision.rule, decision.verb)),
        intents=tuple(_intent_text(each) for each in intents),
    )


def _remedy(decision: Decision) -> str:
    """The remedy; of a decision whose facts are not complete, that it was observed."""
    try:
        facts = facts_from(decision.rule, decision.verb, decision.inputs)
        return remedy_text(kind_name(decision.rule, decision.verb), facts)
    except (KeyError, ValueError, TypeError):
        return OBSERVED


def _intent_text(intent: Intent) -> str:
    """What became of an intent: poweroff of 2027-01-05T09:00:00Z abandoned: its notice ended."""
    why = result_text(intent.result)
    at = format_instant(intent.decided_s)
    return f"{intent.action} of {at} {intent.state}" + (f": {why}" if why else "")


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
