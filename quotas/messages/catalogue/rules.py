"""Texts of rules: why a server may not go on, what is announced, and why a level holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quotas.messages.catalogue.texts import Texts, render
from quotas.model.program import PaceAction
from quotas.model.units import format_credits, format_duration, format_instant
from quotas.rules import (
    cohort_end,
    deferral,
    expiry,
    operator,
    overuse,
    pace,
    reclaim,
)
from quotas.rules.context import Restriction
from quotas.state.facts import OverrideFacts

BOUNDS: Mapping[str, str] = {
    "credits": "its credits pay for no more",
    "pace": "it spends ahead of its pace and may borrow no more",
    "daily-burn": "it has spent its credits of the day",
    "policy": "its limit of the program",
    "limit": "a limit above it",
    "borrowing_limit": "its borrowing limit",
    "weight": "its weight of 0, which never borrows",
    "lending_limit": "quota that its owners do not lend",
}
"""What a share is limited by, in words; for what is not listed, the pool is."""
SHORT = "the pool has no more to give"
LIMITED = {
    "policy": "its limit allows",
    "credits": "its credits pay for",
    "pace": "its pace allows",
}


def override_text(f: OverrideFacts) -> str:
    """An operator's order in words: who gave it, when, until when and why."""
    until = "" if f.until_s is None else f" until {format_instant(f.until_s)}"
    return f"{f.actor} said so at {format_instant(f.override_s)}{until}: {f.override_reason}"


def restriction_text(rule: str, facts: Any) -> str:
    """Why a startup is restricted, or open."""
    return render(TEXTS, f"{rule}.restriction", facts)


def level_text(restriction: Restriction) -> tuple[str, str]:
    """A startup's level and the reason for it, as the read models show them."""
    return str(restriction.level), restriction_text(restriction.rule, restriction.facts)


def _ending(f: cohort_end.Facts) -> str:
    if f.now_s >= f.ends_s:
        return f"its cohort ended at {format_instant(f.ends_s)}"
    return f"its cohort ends at {format_instant(f.ends_s)}, within the minimum notice"


def _operator(f: operator.Facts) -> str:
    since = " and was started afterwards" if f.level == "closed" else ""
    return f"{f.startup} is {f.level}{since}: {override_text(f)}"


def _deferral(f: deferral.Facts) -> str:
    obstacle = reclaim.Obstacle(f.obstacle, f.stock, f.shortage)
    return (
        f"{f.owner} waits for its nominal quota in {f.pool}, lent to {f.startup}, but "
        f"{obstacle_text(f.pool, f.owner, obstacle)}: {f.startup} keeps running"
    )


def obstacle_text(pool: str, owner: str, found: reclaim.Obstacle) -> str:
    """Why evicting a borrower would not serve the owner now."""
    if found.shortage is not None:
        why = override_text(found.shortage)
        return f"Scaleway is short of {pool} and would keep the slot ({why})"
    return {
        "unknown-zone": f"not every zone of {pool} could be read",
        "stock": f"Scaleway says {found.stock!r} of what {owner} can use in {pool}, and would "
        "keep the slot",
        "flavor": f"none of its servers is of a flavor that {owner} can use",
    }[found.code]


def _expiry(f: expiry.Facts) -> str:
    amount, burn = format_credits(f.amount_ucr), format_credits(f.burn_ucr_per_h)
    when = f"{format_instant(f.at_s)}, in {format_duration(f.at_s - f.now_s)}"
    return (
        f"{amount} credits of {f.grant} will expire at {when}, if {burn} credits are spent an hour"
    )


def _overuse(f: overuse.Facts) -> str:
    above = f"{f.used_gpus - f.share_gpus} above its share of {f.share_gpus}"
    own = f"its nominal quota is {f.nominal_gpus}, and its share is limited"
    why = f"{own}: {BOUNDS.get(f.limited_by, SHORT)}"
    if f.owner:
        why = f"{f.owner} waits for its nominal quota"
    return f"{f.startup} runs {f.used_gpus} GPUs in {f.pool}, {above}; {why}"


def _pace(f: pace.Facts) -> str:
    if f.reached_s is not None:
        limit_text = format_credits(f.daily_burn_ucr or 0)
        return f"its limit of {limit_text} credits a day is reached: nothing new until midnight"
    spent, allowed = format_credits(f.spent_ucr), format_credits(f.allowance_ucr)
    if f.pacing == PaceAction.BORROW_NO_MORE:
        return f"{spent} credits are spent, {allowed} were paced to date: no more borrowing"
    verb = "ahead of" if f.is_ahead else "within"
    return f"{spent} credits are spent, {verb} the {allowed} paced to date"


TEXTS: Texts = {
    "limit": (
        "{startup} uses {used_gpus} GPUs in {pool}, its limit is {limit_gpus}: {server} ({gpus}) "
        "is its newest server there"
    ),
    "limit.restriction": lambda f: (
        f"{LIMITED[f.limited_by]} no more than {f.ceiling_gpus} GPUs in {f.pool}"
    ),
    "credits": (
        "{startup} has {left_ucr:credits} credits left, and needs {reserve_ucr:credits} to give "
        "notice and stop at {burn_ucr_per_h:credits} an hour"
    ),
    "credits.restriction": lambda f: (
        "its credits are used up" + ("" if f.stopped_before else ": the final notice runs")
    ),
    "runway": (
        "{available_ucr:credits} credits are available and last {runway_s:duration} at "
        "{burn_ucr_per_h:credits} an hour"
    ),
    "cohort-end": "the cohort of {startup} ends at {ends_s:instant}",
    "cohort-end.restriction": _ending,
    "end": lambda f: (
        f"the cohort ends at {format_instant(f.ends_s)}, in {format_duration(f.ends_s - f.now_s)}"
    ),
    "membership": "{startup} is no longer in the program",
    "membership.restriction": "it is no longer in the program",
    "operator": _operator,
    "operator.restriction": override_text,
    "standby": (
        "{server} of {startup} is stopped in place since {since_s:instant} and still billed, for "
        "longer than {standby_stop_after_s:duration}"
    ),
    "reclaim": (
        "{owner} waits for its nominal quota in {pool}, and {startup} runs {overuse_gpus} GPUs "
        "above its share there: {server} ({gpus}) is among the fewest and newest that {owner} can "
        "use"
    ),
    "deferral": _deferral,
    "expiry": _expiry,
    "overuse": _overuse,
    "pace": _pace,
    "pace.restriction": _pace,
    "nothing.restriction": "credits and time are left",
}
