"""May a startup run at all? Levels open, paced, closed, stopped, each with its cause.

open: everything may run. paced: what runs may go on, and nothing more fits under a
limit, the credits or the pace. closed: no new capacity, what starts gets a notice.
stopped: closed, and what runs is powered off after its notice. Going back restores
permission; it powers nothing on unless the startup asked for that (`auto_resume`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from quotas.decisions.causes import PACING_LIMITS, level_from
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Snapshot, Violation
from quotas.metering.runs import Run
from quotas.model.program import Policy
from quotas.model.units import DAY_S, HOUR_S
from quotas.shares.allocation import Share, step_of

CREDITS = "credits"
END = "cohort-end"
MEMBERSHIP = "membership"
OPERATOR = "operator"
LEVELS = ("open", "paced", "closed", "stopped")

Announcement = tuple[str, str, Mapping[str, int | str], int]


FORFEITS_TOLD_S = (30 * DAY_S, 7 * DAY_S, DAY_S)
"""How long ahead a forfeit is announced: a month to plan a training run, then a week and a day.
An announcement moves nothing, and one that is longer than its grant falls away, so the three
fit every grant.
"""
CARRY_S = HOUR_S
"""Credits have to carry what starts again for so long, beyond its notice and its stop."""


def exhaustion_episode(granted_ucr: int) -> str:
    """Names one exhaustion: it does not end because burn falls to 0 (see `is_exhausted`)."""
    return f"credits:{granted_ucr}"


def carry_s(policy: Policy) -> int:
    """For how long credits have to carry a server that starts again."""
    return policy.minimum_notice_s + policy.stop_latency_s + CARRY_S


def is_exhausted(snapshot: Snapshot, startup: str) -> bool:
    """Whether nothing is left to spend, or was not when its servers were last stopped.

    The latter lasts until more is granted, or something runs again that the credits carry,
    or what came back (a refund, a hold that ended) carries the cheapest server for a while:
    what a stop leaves over does not. A tranche that begins is more that is granted.
    """
    balance = snapshot.balances[startup]
    if balance.burn_ucr_per_h > 0:
        return balance.available_ucr <= 0
    announced = (startup, exhaustion_episode(balance.granted_ucr)) in snapshot.announced
    return announced and not _carries(snapshot, balance.available_ucr)


def _carries(snapshot: Snapshot, left_ucr: int) -> bool:
    """Whether so many credits carry the cheapest server for a while."""
    return left_ucr * HOUR_S > _cheapest(snapshot) * carry_s(snapshot.program.policy)


def _cheapest(snapshot: Snapshot) -> int:
    """The lowest rate of what the program's pools can run, in ucr per hour."""
    program, rates = snapshot.program, snapshot.catalogue.rates_ucr_per_h.items()
    found = [rate for flavor, rate in rates if rate and program.pool_of(flavor) is not None]
    return min(found, default=0)


def out_of_credits(snapshot: Snapshot) -> list[Violation]:
    """Every running server of a startup whose available credits are used up.

    The final notice starts when available reaches zero; the reserve pays for it.
    """
    program, found = snapshot.program, []
    for run, _ in snapshot.running():
        if run.startup not in snapshot.balances or not is_exhausted(snapshot, run.startup):
            continue
        ends_s = _ends_s(snapshot, run)
        if ends_s is not None and snapshot.now_s >= ends_s:
            continue  # its grants ended with its cohort: `past_the_end` says so
        episode = exhaustion_episode(snapshot.balances[run.startup].granted_ucr)
        deadline_s = snapshot.now_s + program.policy.minimum_notice_s
        inputs = _figures(snapshot, run.startup)
        found.append(Violation(run, CREDITS, episode, deadline_s, inputs))
    return sorted(found, key=lambda each: (-each.run.up_since_s, each.run.id))


def _figures(snapshot: Snapshot, startup: str) -> dict[str, int | str]:
    own = snapshot.balances[startup]
    stopped = (startup, exhaustion_episode(own.granted_ucr)) in snapshot.announced
    return {
        "startup": startup,
        "posted_ucr": own.posted_ucr,
        "accrued_ucr": own.accrued_ucr,
        "held_ucr": own.held_ucr,
        "reserve_ucr": own.reserve_ucr,
        "granted_ucr": own.granted_ucr,
        "burn_ucr_per_h": own.burn_ucr_per_h,
        "stopped_before": int(stopped),
    }


def past_cohort_end(snapshot: Snapshot) -> list[Violation]:
    """Every running server of a cohort that ends within the final notice, or has ended."""
    program, now_s, found = snapshot.program, snapshot.now_s, []
    for run, _ in snapshot.running():
        ends_s = _ends_s(snapshot, run)
        if ends_s is None or now_s < ends_s - program.policy.end_notice_s:
            continue
        deadline_s = max(ends_s, now_s + program.policy.minimum_notice_s)
        inputs: dict[str, int | str] = {
            "startup": run.startup,
            "ends_s": ends_s,
            "notice_s": program.policy.end_notice_s,
            "now_s": now_s,
        }
        found.append(Violation(run, END, f"cohort-end:{ends_s}", deadline_s, inputs))
    return found


def removed_from_program(snapshot: Snapshot) -> list[Violation]:
    """Every running server of a startup that was taken out of the program."""
    found = []
    for run, _ in snapshot.running():
        if snapshot.program.startup(run.startup) is None:
            inputs: dict[str, int | str] = {"startup": run.startup, "members": 0}
            deadline_s = snapshot.now_s + snapshot.program.policy.minimum_notice_s
            found.append(Violation(run, MEMBERSHIP, f"left:{run.startup}", deadline_s, inputs))
    return found


def stopped_by_operator(snapshot: Snapshot) -> list[Violation]:
    """Servers of a startup that an operator stopped, or started after one closed it."""
    found = []
    for run, _ in snapshot.running():
        override = snapshot.overrides.level_of(run.startup)
        if override is None or (
            override.value == "closed" and not run.was_started_after(override.at_s)
        ):
            continue
        inputs: dict[str, int | str] = {
            "startup": run.startup,
            "level": override.value,
            "started_s": run.up_since_s,
            **override.inputs,
        }
        deadline_s = snapshot.now_s + snapshot.program.policy.minimum_notice_s
        found.append(Violation(run, OPERATOR, f"operator:{override.id}", deadline_s, inputs))
    return found


def _ends_s(snapshot: Snapshot, run: Run) -> int | None:
    """End of the run's cohort; a startup no longer in the file has none of its own."""
    startup = snapshot.program.startup(run.startup)
    return snapshot.program.cohort(startup.cohort).ends_s if startup else None


RestrictionFacts = Inputs | None
"""What a cause holds a startup by; None where it asks for nothing."""


def _membership(snapshot: Snapshot, startup: str, shares: Iterable[Share]) -> RestrictionFacts:
    return {"members": 0} if snapshot.program.startup(startup) is None else None


def _operator(snapshot: Snapshot, startup: str, shares: Iterable[Share]) -> RestrictionFacts:
    override = snapshot.overrides.level_of(startup)
    return None if override is None else {"level": override.value, **override.inputs}


def _time(snapshot: Snapshot, startup: str, shares: Iterable[Share]) -> RestrictionFacts:
    entry = snapshot.program.startup(startup)
    if entry is None:
        return None
    ends_s = snapshot.program.cohort(entry.cohort).ends_s
    notice_s = snapshot.program.policy.minimum_notice_s
    if snapshot.now_s < ends_s - notice_s:
        return None
    return {"ends_s": ends_s, "now_s": snapshot.now_s, "notice_s": notice_s}


def _credits(snapshot: Snapshot, startup: str, shares: Iterable[Share]) -> RestrictionFacts:
    return _figures(snapshot, startup) if is_exhausted(snapshot, startup) else None


def _limits(snapshot: Snapshot, startup: str, shares: Iterable[Share]) -> RestrictionFacts:
    for share in shares:
        if share.startup == startup and share.usage > 0:
            full = _full(snapshot, share)
            if full is not None:
                return {"pool": share.pool, "used_gpus": share.usage, **full}
    return None


def _full(snapshot: Snapshot, share: Share) -> dict[str, int | str] | None:
    """The bound under which nothing more fits; its limit in the file before more is asked for."""
    entry, pools = snapshot.program.startup(share.startup), snapshot.program.pools
    limit = entry.limit.get(share.pool) if entry else None
    if entry is not None and limit is not None:
        pool = next(each for each in pools if each.name == share.pool)
        step = step_of(entry, pool, snapshot.catalogue)
        if share.usage + step > limit:
            return {"ceiling_gpus": limit, "limited_by": "policy", "step_gpus": step}
    if share.usage >= share.ceiling and share.limited_by in PACING_LIMITS:
        return {"ceiling_gpus": share.ceiling, "limited_by": share.limited_by}
    return None


RESTRICTION_FINDERS: tuple[
    tuple[str, Callable[[Snapshot, str, Iterable[Share]], RestrictionFacts]], ...
] = (
    ("membership", _membership),
    ("operator", _operator),
    ("time", _time),
    ("credits", _credits),
    ("limits", _limits),
)
"""Every cause that can hold a startup below open; the strictest wins, of equals the first."""


def restriction(snapshot: Snapshot, startup: str, shares: Iterable[Share] = ()) -> Inputs:
    """What holds the startup now, named `by`, with the figures that its level follows from."""
    shares = tuple(shares)
    found = [
        {"by": name, **inputs}
        for name, find in RESTRICTION_FINDERS
        if (inputs := find(snapshot, startup, shares)) is not None
    ]
    if not found:
        return {"by": "nothing"}
    return max(found, key=lambda inputs: LEVELS.index(level_from(inputs)[0]))


def level(snapshot: Snapshot, startup: str, shares: Iterable[Share] = ()) -> tuple[str, str]:
    """The startup's level now and the reason for it."""
    return level_from(restriction(snapshot, startup, shares))


def expiry_announcements(snapshot: Snapshot) -> list[Announcement]:
    """(startup, cause, inputs, instant) of forfeits within a threshold newly passed.

    Each threshold is told once for each grant or tranche, the nearest of several; one that
    is longer than the grant itself says nothing.
    """
    found: list[Announcement] = []
    for name, balance in sorted(snapshot.balances.items()):
        for expiry in balance.expiries:
            left_s = expiry.at_s - snapshot.now_s
            term_s = expiry.at_s - expiry.effective_s
            passed = [each for each in FORFEITS_TOLD_S if left_s <= each < term_s]
            episode = f"expiry:{expiry.grant}:{min(passed, default=0)}"
            if passed and (name, episode) not in snapshot.announced:
                inputs: dict[str, int | str] = {
                    "amount_ucr": expiry.amount_ucr,
                    "grant": expiry.grant,
                    "at_s": expiry.at_s,
                    "now_s": snapshot.now_s,
                    "burn_ucr_per_h": balance.burn_ucr_per_h,
                }
                found.append((name, episode, inputs, expiry.at_s))
    return found


def runway_announcements(snapshot: Snapshot) -> list[Announcement]:
    """(startup, cause, inputs, exhaustion instant) of runway thresholds newly passed.

    Each threshold is told once for each sum granted; a new grant arms them again. When
    several are passed at once, only the nearest is told.
    """
    found: list[Announcement] = []
    for name, balance in sorted(snapshot.balances.items()):
        empty_s = balance.exhausted_s
        if empty_s is None or balance.available_ucr <= 0:
            continue  # nothing burns, or the final notice runs
        startup = snapshot.program.startup(name)
        if startup and empty_s >= snapshot.program.cohort(startup.cohort).ends_s:
            continue  # they last to the end of the cohort, which has notices of its own
        runway_s = empty_s - snapshot.now_s
        passed = [t for t in snapshot.program.policy.exhaustion_notices_s if runway_s <= t]
        if not passed:
            continue
        episode = f"runway:{min(passed)}:{balance.granted_ucr}"
        if (name, episode) not in snapshot.announced:
            inputs: dict[str, int | str] = {
                "available_ucr": balance.available_ucr,
                "runway_s": runway_s,
                "burn_ucr_per_h": balance.burn_ucr_per_h,
            }
            found.append((name, episode, inputs, empty_s))
    return found


def runway_edges(snapshot: Snapshot, startup: str) -> set[int]:
    """The exhaustion, and when each threshold before it is passed, at the present burn."""
    empty_s = snapshot.balances[startup].exhausted_s
    if empty_s is None:
        return set()
    return {empty_s, *(empty_s - t for t in snapshot.program.policy.exhaustion_notices_s)}


def end_announcements(snapshot: Snapshot) -> list[Announcement]:
    """(startup, cause, inputs, end) of end notices newly passed, the nearest of several.

    The last one is not among them: `past_the_end` gives it to each server by name.
    """
    policy = snapshot.program.policy
    found: list[Announcement] = []
    for startup in snapshot.program.startups():
        ends_s = snapshot.program.cohort(startup.cohort).ends_s
        left_s = ends_s - snapshot.now_s
        passed = [t for t in policy.end_notices_s if policy.end_notice_s < left_s <= t]
        episode = f"end:{min(passed, default=0)}:{ends_s}"
        if passed and (startup.name, episode) not in snapshot.announced:
            inputs: dict[str, int | str] = {"ends_s": ends_s, "now_s": snapshot.now_s}
            found.append((startup.name, episode, inputs, ends_s))
    return found
