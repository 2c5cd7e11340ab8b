"""Remedies: what would avoid each decision, and who may change it."""

from __future__ import annotations

from quotas.messages.catalogue.texts import Texts
from quotas.model.units import format_credits
from quotas.rules import credits


def _credits(f: credits.Facts) -> str:
    short = format_credits(max(1, f.reserve_ucr - f.left_ucr + 1))
    burn = format_credits(f.burn_ucr_per_h)
    return f"with {short} credits more nothing would be stopped yet, at {burn} an hour"


OBSERVED = "it follows from what was observed"
EXEMPTION = "the operator, by 'cohortd exempt' or 'cohortd undo'"
MORE_CREDIT = (
    "the startup, by stopping servers, or by 'cohortctl advance' if a tranche is to come; the "
    "operator, by 'cohortd grant'"
)
REMEDIES: Texts = {
    "limit": "with at most {limit_gpus} GPUs in {pool} nothing would be stopped",
    "credits": _credits,
    "runway": "with less than {burn_ucr_per_h:credits} credits an hour they would last longer",
    "cohort-end": "with a later end of the cohort in the program file nothing would be stopped",
    "end": "with a later end of the cohort in the program file nothing would end",
    "membership": (
        "if it were in the program file again, with its project, nothing would be stopped"
    ),
    "operator": "without that order nothing would be stopped",
    "standby": "if its owner powered it off or started it, it would not be touched",
    "reclaim": "if {owner} withdraws its request, {startup} keeps what it borrowed",
    "deferral": "without that obstacle the newest servers of {startup} would have a notice",
    "overuse": "if it ran no more than its share, nothing would be asked back",
    "expiry": OBSERVED,
    "pace": "if less were spent by now, nothing would be restricted",
    "closing": "if it had credits, time and the operator's permission, it would be open",
    "extend": "without the freeze or maintenance it would have been stopped at its first deadline",
    "request": "a request alone moves no server",
    "advance": "if nobody had taken them ahead, the credits would have come with their tranche",
    "disruption-budget": (
        "with a wider policy.disruption_budget.part, or an approval, it would be stopped"
    ),
}
"""What avoids a decision, by its kind; another kind only records what was observed."""
CHANGED_BY: Texts = {
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
    "request": "the startup, by 'cohortctl request withdraw'",
    "advance": "nobody any more; the operator, by policy.self_advance, for the next tranche",
    "disruption-budget": "the operator, by 'cohortd approve'",
    "membership": EXEMPTION,
    "expiry": EXEMPTION,
}
"""Who may change a decision, by its kind; a decision of another kind by an exemption."""
