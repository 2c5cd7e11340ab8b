"""Why was something decided, and what now? One frozen answer for command, API and notices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quotas.decisions.notices import LIVE_NOTICES, Notice
from quotas.decisions.reasons import REASONS, rule_of
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Decision
from quotas.model.units import format_credits, format_instant

COUNTERFACTUALS: Mapping[str, str] = {
    "limit": "with at most {limit_gpus} GPUs in {pool} nothing would be stopped",
    "cohort-end": "with a later end of the cohort in the program file nothing would be stopped",
    "end": "with a later end of the cohort in the program file nothing would end",
    "membership": "in the program file again, with its project, nothing would be stopped",
    "operator": "without that word nothing would be stopped",
    "standby": "powered off or started by its owner, it would not be touched",
    "reclaim": "without the wait of {owner}, {startup} could go on with what it borrowed",
    "deferral": "without that obstacle the newest servers of {startup} would have a notice",
    "overuse": "within its share nothing would be asked back",
    "closing": "with credits, time and the operator's word to go on it would be open",
    "extend": "without the freeze or maintenance it would have been stopped when it was due",
    "pace": "with less spent by now nothing would be held back",
    "request": "it moves no server by itself",
    "advance": "left where they were, the credits would have come with their tranche",
    "disruption-budget": "with a wider policy.guard.part, or an approval, it would be stopped",
}
MORE_CREDIT = (
    "the startup, by stopping servers, or by 'cohortctl advance' if a tranche is to come; the "
    "operator, by 'cohortd grant'"
)
WHO_MAY_CHANGE: Mapping[str, str] = {
    "limit": "the startup, by stopping servers; the operator, by its limit in the program file",
    "credits": MORE_CREDIT,
    "runway": MORE_CREDIT,
    "cohort-end": "the operator, by the program file",
    "end": "the operator, by the program file",
    "operator": "the operator, by 'cohortd level STARTUP open'",
    "standby": "the startup, by powering the server off or on",
    "reclaim": "the owner, by withdrawing its request; the startup, by stopping servers",
    "deferral": "the operator, by 'cohortd shortage POOL --end'; the startups",
    "closing": "the startup, by spending less; the operator, by 'cohortd grant' or 'level'",
    "pace": "the startup, by spending less; the operator, by 'cohortd grant'",
    "overuse": "the startup, by stopping servers; the owner, by withdrawing its request",
    "request": "the startup, by 'cohortd request withdraw'",
    "advance": "nobody any more; the operator, by policy.self_advance, for the next tranche",
    "disruption-budget": "the operator, by 'cohortd approve'",
}
OBSERVED = "it follows from what was observed"
ANYONE = "the operator, by 'cohortd exempt' or 'cohortd undo'"


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
    inputs: Inputs
    is_recomputed: bool
    check: str
    counterfactual: str
    next_step: str
    who_may_change_it: str


def explain(decision: Decision, at_s: int, notices: Iterable[Notice], now_s: int) -> Explanation:
    """Take a decision apart; `notices` are those of its startup that live."""
    rule, again = rule_of(decision.rule, decision.verb), recompute(decision)
    return Explanation(
        rule=decision.rule,
        verb=decision.verb,
        at_s=at_s,
        reason=decision.reason,
        inputs=decision.inputs,
        is_recomputed=again == decision.reason,
        check=_check(decision.reason, again),
        counterfactual=counterfactual(rule, decision.inputs),
        next_step=_next(decision, notices, now_s),
        who_may_change_it=who_may_change(rule),
    )


def recompute(decision: Decision) -> str | None:
    """The reason that the stored inputs lead to; None where they lead to none."""
    try:
        return REASONS[rule_of(decision.rule, decision.verb)](decision.inputs)
    except (KeyError, ValueError):
        return None


def _check(reason: str, again: str | None) -> str:
    if again == reason:
        return "its inputs lead to it again"
    if again is None:
        return "its inputs differ: they lead to no such decision"
    return f"its inputs differ: they lead to: {again}"


def who_may_change(rule: str) -> str:
    """Who may change a decision of a rule: the same words in commands, API and notices."""
    return WHO_MAY_CHANGE.get(rule, ANYONE)


def counterfactual(rule: str, inputs: Inputs) -> str:
    """What would have had to be otherwise, from the inputs of a decision."""
    try:
        return _changed(rule, inputs)
    except KeyError:
        return OBSERVED  # what it was decided from was not all written down


def _changed(rule: str, inputs: Inputs) -> str:
    if rule in {"credits", "runway"} and "burn_ucr_per_h" in inputs:
        burn = format_credits(int(inputs["burn_ucr_per_h"]))
        if "reserve_ucr" not in inputs:
            return f"with less than {burn} credits an hour they would last longer"
        left = int(inputs["posted_ucr"]) - int(inputs["accrued_ucr"]) - int(inputs["held_ucr"])
        short = format_credits(max(1, int(inputs["reserve_ucr"]) - left + 1))
        return f"with {short} credits more nothing would be stopped yet, at {burn} an hour"
    text = COUNTERFACTUALS.get(rule)
    return text.format(**inputs) if text else OBSERVED


def _next(decision: Decision, notices: Iterable[Notice], now_s: int) -> str:
    for notice in notices:
        same = (decision.startup, decision.server_id, decision.rule) == notice.subject
        if not same or notice.state not in LIVE_NOTICES:
            continue
        at = format_instant(notice.deadline_s)
        if notice.state == "deferred":
            return (
                "the guard holds it until the stops of the last hour leave room or it is approved"
            )
        if notice.state == "shadow":
            return f"nothing: in shadow mode its stop, due at {at}, is only recorded"
        if notice.state == "executing":
            return "it is being stopped; the next observation confirms it"
        when = "is due now" if notice.deadline_s <= now_s else f"follows at {at}"
        return f"its stop {when}, unless the cause ends before"
    return "nothing: no promise about it is open"
