"""Remedies: what would avoid each decision, and who may change it."""

from __future__ import annotations

from quotas.messages.catalogue.texts import Texts
from quotas.model.units import format_credits
from quotas.rules import credits


def _credits(f: credits.Facts) -> str:
    short = format_credits(max(1, f.reserve_ucr - f.left_ucr + 1))
    burn = format_credits(f.burn_ucr_per_h)
    return f"with {short} credits more nothing would be stopped yet, at {burn} an hour"


def _runway(f: credits.RunwayFacts) -> str:
    burn = format_credits(f.burn_ucr_per_h)
    return f"with less than {burn} credits an hour they would last longer"


OBSERVED = "it follows from what was observed"
"""The remedy of what only records an observation."""
ANYONE = "the operator, by 'cohortd exempt' or 'cohortd undo'"
"""Who may change a decision of the other kinds."""
MORE_CREDIT = (
    "the startup, by stopping servers, or by 'cohortctl advance' if a tranche is to come; the "
    "operator, by 'cohortd grant'"
)
TEXTS: Texts = {
    "limit.remedy": ("with at most {limit_gpus} GPUs in {pool} nothing would be stopped"),
    "credits.remedy": _credits,
    "runway.remedy": _runway,
    "cohort-end.remedy": (
        "with a later end of the cohort in the program file nothing would be stopped"
    ),
    "end.remedy": "with a later end of the cohort in the program file nothing would end",
    "membership.remedy": ("in the program file again, with its project, nothing would be stopped"),
    "operator.remedy": "without that order nothing would be stopped",
    "standby.remedy": "powered off or started by its owner, it would not be touched",
    "reclaim.remedy": ("if {owner} withdraws its request, {startup} keeps what it borrowed"),
    "deferral.remedy": (
        "without that obstacle the newest servers of {startup} would have a notice"
    ),
    "overuse.remedy": "within its share nothing would be asked back",
    "expiry.remedy": OBSERVED,
    "token.remedy": "with a successor of the token in its place nothing would be refused",
    "pace.remedy": "with less spent by now nothing would be restricted",
    "closing.remedy": (
        "with credits, time and the operator's permission to go on it would be open"
    ),
    "extend.remedy": (
        "without the freeze or maintenance it would have been stopped when it was due"
    ),
    "request.remedy": "it moves no server by itself",
    "advance.remedy": ("left where they were, the credits would have come with their tranche"),
    "disruption-budget.remedy": (
        "with a wider policy.disruption_budget.part, or an approval, it would be stopped"
    ),
    "limit.changed_by": (
        "the startup, by stopping servers; the operator, by its limit in the program file"
    ),
    "credits.changed_by": MORE_CREDIT,
    "runway.changed_by": MORE_CREDIT,
    "cohort-end.changed_by": "the operator, by the program file",
    "end.changed_by": "the operator, by the program file",
    "operator.changed_by": "the operator, by 'cohortd level STARTUP open'",
    "standby.changed_by": "the startup, by powering the server off or on",
    "reclaim.changed_by": (
        "the owner, by withdrawing its request; the startup, by stopping servers"
    ),
    "deferral.changed_by": "the operator, by 'cohortd shortage POOL --end'; the startups",
    "closing.changed_by": (
        "the startup, by spending less; the operator, by 'cohortd grant' or 'level'"
    ),
    "token.changed_by": "the operator, by 'cohortd token rotate', which gives you a successor",
    "pace.changed_by": "the startup, by spending less; the operator, by 'cohortd grant'",
    "overuse.changed_by": (
        "the startup, by stopping servers; the owner, by withdrawing its request"
    ),
    "request.changed_by": "the startup, by 'cohortd request withdraw'",
    "advance.changed_by": (
        "nobody any more; the operator, by policy.self_advance, for the next tranche"
    ),
    "disruption-budget.changed_by": "the operator, by 'cohortd approve'",
    "membership.changed_by": "the operator, by 'cohortd exempt' or 'cohortd undo'",
    "expiry.changed_by": "the operator, by 'cohortd exempt' or 'cohortd undo'",
}
