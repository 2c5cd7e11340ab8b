"""May a startup run at all? Levels open, closed, stopped: from credits and from time.

open: everything may run. closed: credits are used up or the cohort is about to end;
what runs has a notice. stopped: the notice has passed; whatever starts gets a notice
of its own. Going back restores permission; it powers nothing on.
"""

from __future__ import annotations

from quotas.metering import Run
from quotas.snapshot import Snapshot, Violation
from quotas.units import format_credits, format_duration, format_instant

CREDITS = "credits"
END = "cohort-end"
LEVELS = ("open", "paced", "closed", "stopped")


def exhausted_cause(granted_ucr: int) -> str:
    """Names one exhaustion: it lasts until more is granted, not until burn falls to 0."""
    return f"credits:{granted_ucr}"


def is_exhausted(snapshot: Snapshot, startup: str) -> bool:
    """Whether nothing is available, or was not when its servers were last stopped."""
    balance = snapshot.balances[startup]
    if balance.available_ucr <= 0 and balance.burn_ucr_per_h > 0:
        return True
    return (startup, exhausted_cause(balance.granted_ucr)) in snapshot.told


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
        balance = snapshot.balances[run.startup]
        left_ucr = balance.posted_ucr - balance.accrued_ucr
        reason = (
            f"{run.startup} has {format_credits(left_ucr)} credits left, and needs "
            f"{format_credits(balance.reserve_ucr)} to give notice and stop at "
            f"{format_credits(balance.burn_ucr_per_h)} an hour"
        )
        inputs: dict[str, int | str] = {
            "posted_ucr": balance.posted_ucr,
            "accrued_ucr": balance.accrued_ucr,
            "reserve_ucr": balance.reserve_ucr,
            "granted_ucr": balance.granted_ucr,
            "burn_ucr_per_h": balance.burn_ucr_per_h,
        }
        deadline_s = snapshot.now_s + program.policy.minimum_notice_s
        cause = exhausted_cause(balance.granted_ucr)
        found.append(Violation(run, CREDITS, cause, deadline_s, reason, inputs))
    return found


def past_the_end(snapshot: Snapshot) -> list[Violation]:
    """Every running server of a cohort that ends within the final notice, or has ended."""
    program, now_s, found = snapshot.program, snapshot.now_s, []
    for run, _ in snapshot.running():
        ends_s = _ends_s(snapshot, run)
        if ends_s is None or now_s < ends_s - program.policy.end_notice_s:
            continue
        reason = f"the cohort of {run.startup} ends at {format_instant(ends_s)}"
        deadline_s = max(ends_s, now_s + program.policy.minimum_notice_s)
        inputs: dict[str, int | str] = {"ends_s": ends_s}
        found.append(Violation(run, END, f"end:{ends_s}", deadline_s, reason, inputs))
    return found


def _ends_s(snapshot: Snapshot, run: Run) -> int | None:
    """End of the run's cohort; a startup no longer in the file has none of its own."""
    startup = snapshot.program.startup(run.startup)
    return snapshot.program.cohort(startup.cohort).ends_s if startup else None


def level(snapshot: Snapshot, startup: str) -> tuple[str, str]:
    """The startup's level now and the reason for it."""
    entry = snapshot.program.startup(startup)
    if entry is None:
        return "stopped", "it is no longer in the program"
    ends_s = snapshot.program.cohort(entry.cohort).ends_s
    if snapshot.now_s >= ends_s:
        return "stopped", f"its cohort ended at {format_instant(ends_s)}"
    if is_exhausted(snapshot, startup):
        cause = exhausted_cause(snapshot.balances[startup].granted_ucr)
        if (startup, cause) in snapshot.told:
            return "stopped", "its credits are used up"
        return "closed", "its credits are used up: the final notice runs"
    return "open", "credits and time are left"


def forecasts(snapshot: Snapshot) -> list[tuple[str, str, str, int]]:
    """(startup, cause, text, exhaustion instant) of runway thresholds newly passed.

    Each threshold is told once for each sum granted; a new grant arms them again. When
    several are passed at once, only the nearest is told.
    """
    found = []
    for name, balance in sorted(snapshot.balances.items()):
        if balance.exhausted_s is None or balance.available_ucr <= 0:
            continue
        startup = snapshot.program.startup(name)
        if startup and balance.exhausted_s >= snapshot.program.cohort(startup.cohort).ends_s:
            continue  # they last to the end of the cohort, which has notices of its own
        runway_s = balance.exhausted_s - snapshot.now_s
        passed = [t for t in snapshot.program.policy.exhaustion_notices_s if runway_s <= t]
        if not passed:
            continue
        cause = f"runway:{min(passed)}:{balance.granted_ucr}"
        if (name, cause) not in snapshot.told:
            text = (
                f"{format_credits(balance.available_ucr)} credits are available and last "
                f"{format_duration(runway_s)} at {format_credits(balance.burn_ucr_per_h)} an hour"
            )
            found.append((name, cause, text, balance.exhausted_s))
    return found


def endings(snapshot: Snapshot) -> list[tuple[str, str, str, int]]:
    """(startup, cause, text, end) of end notices newly passed, the nearest of several.

    The last one is not among them: `past_the_end` gives it to each server by name.
    """
    policy, found = snapshot.program.policy, []
    for startup in snapshot.program.startups():
        ends_s = snapshot.program.cohort(startup.cohort).ends_s
        left_s = ends_s - snapshot.now_s
        passed = [t for t in policy.end_notices_s if policy.end_notice_s < left_s <= t]
        cause = f"ending:{min(passed, default=0)}:{ends_s}"
        if passed and (startup.name, cause) not in snapshot.told:
            text = f"the cohort ends at {format_instant(ends_s)}, in {format_duration(left_s)}"
            found.append((startup.name, cause, text, ends_s))
    return found
