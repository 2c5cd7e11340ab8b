"""How does each startup keep pace: what it burnt, may have spent by now, and will have left?

A startup is ahead of its pace once it has spent more than its allowance of this time
tomorrow: a day of grace, so that a busy first day is no alarm. It stays ahead until midnight,
so that one on the line is told, and held, at most once a day. What follows is the policy's:
it is told, or it may borrow no more. A daily burn limit lets nothing new start until midnight.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quotas.decisions.levels import Announcement
from quotas.decisions.reasons import conclude
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Snapshot
from quotas.ledger.balance import Balance
from quotas.ledger.forecast import (
    Action,
    Curve,
    Forecast,
    Spend,
    allowance_ucr,
    burn_rates_ucr_per_h,
    forecast_unused,
    reached_s,
    spent_ucr,
)
from quotas.metering.runs import Run
from quotas.model.program import Startup
from quotas.model.units import DAY_S, Period, day_start_s
from quotas.shares.allocation import usage_of

RULE = "pace"
ANNOUNCE_AT_PERCENT = (100, 125, 150, 200)
"""Parts of the allowance at which a startup ahead of its pace is told so, once each."""
MOST_DAYS = 7


@dataclass(frozen=True, slots=True)
class Pace:
    """One startup's pace. `burn_ucr_per_h` is over 1 h, 24 h and 7 d.

    `ahead` is an instant of today at which it was ahead, and what it had spent by then, in ucr;
    `reached_s` is when today's burn reached the daily limit, None while it has not.
    """

    startup: str
    burn_ucr_per_h: tuple[int, ...]
    spent_ucr: int
    allowance_ucr: int
    plan: Plan
    as_of_s: int
    ahead: tuple[int, int] | None
    action: Action
    today_ucr: int
    daily_burn_ucr: int | None
    reached_s: int | None
    unused: Forecast

    @property
    def is_ahead(self) -> bool:
        """Whether it was ahead of its pace today."""
        return self.ahead is not None

    @property
    def borrows_no_more(self) -> bool:
        """Whether its share ends at its nominal quota."""
        return self.action is Action.BORROW_NO_MORE

    @property
    def is_paced(self) -> bool:
        """Whether the pace holds anything back."""
        return self.borrows_no_more or self.reached_s is not None

    @property
    def text(self) -> str:
        """The pace in one sentence."""
        return conclude(RULE, self.inputs)

    @property
    def inputs(self) -> Inputs:
        """What a decision about it stores: enough to say it again."""
        found: dict[str, int | str] = {
            "spent_ucr": self.spent_ucr,
            "granted_ucr": self.plan.granted_ucr,
            "starts_s": self.plan.term.start_s,
            "ends_s": self.plan.term.end_s,
            "now_s": self.as_of_s,
            "curve": str(self.plan.curve),
            "pacing": str(self.action),
        }
        if self.ahead is not None:
            found |= {"ahead_s": self.ahead[0], "spent_then_ucr": self.ahead[1]}
        if self.reached_s is not None and self.daily_burn_ucr is not None:
            found |= {"reached_s": self.reached_s, "today_ucr": self.today_ucr}
            found["daily_burn_ucr"] = self.daily_burn_ucr
        return found


def paces(snapshot: Snapshot) -> dict[str, Pace]:
    """The pace of every startup of a running cohort."""
    runs: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in (*snapshot.recent, *snapshot.runs.values()):
        runs[run.startup][run.id] = run
    found = {}
    midnight_s = day_start_s(snapshot.now_s, snapshot.program.timezone)
    for name, own in sorted(snapshot.balances.items()):
        startup = snapshot.program.startup(name)
        if startup is not None:
            spent = snapshot.charged.get(name, 0) + own.accrued_ucr
            mine = list(runs[name].values())
            pace = pace_of(snapshot, startup, own, spent, mine, midnight_s)
            if pace is not None:
                found[name] = pace
    return found


def pace_of(
    snapshot: Snapshot,
    startup: Startup,
    own: Balance,
    spent: int,
    runs: Sequence[Run],
    midnight_s: int,
) -> Pace | None:
    """One startup's pace since the day's midnight; None while its cohort does not run."""
    program, now_s = snapshot.program, snapshot.now_s
    cohort, policy = program.cohort(startup.cohort), program.policy
    if not cohort.starts_s <= now_s < cohort.ends_s:
        return None
    term, curve = Period(cohort.starts_s, cohort.ends_s), Curve(policy.pacing_curve)
    known_s = min(now_s, max(snapshot.confirmed.values(), default=now_s))
    history = [_spend(run, known_s) for run in runs if run.rate_ucr_per_h is not None]
    granted = own.granted_ucr + own.later_ucr
    left = max(0, own.posted_ucr - own.accrued_ucr) + own.later_ucr
    midnight_s = max(midnight_s, cohort.starts_s)
    today, limit = Period(midnight_s, max(midnight_s, known_s)), policy.daily_burn_ucr
    plan = Plan(granted, term, curve)
    ahead = ahead_at(plan, spent, history, today) if granted > 0 else None
    return Pace(
        startup=startup.name,
        burn_ucr_per_h=burn_rates_ucr_per_h(history, cohort.starts_s, known_s),
        spent_ucr=spent,
        allowance_ucr=allowance_ucr(granted, term, now_s, curve),
        plan=plan,
        as_of_s=now_s,
        ahead=ahead,
        action=Action.NOTHING if ahead is None else Action(policy.pacing_action),
        today_ucr=spent_ucr(history, today),
        daily_burn_ucr=limit,
        reached_s=reached_s(history, today, limit),
        unused=forecast_unused(
            _days(history, cohort.starts_s, known_s), left, cohort.ends_s - now_s
        ),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is meant to be spent, and when."""

    granted_ucr: int
    term: Period
    curve: Curve

    def allowed_tomorrow_ucr(self, at_s: int) -> int:
        """The allowance a day after an instant, or at the end if that is sooner."""
        at_s = min(at_s + DAY_S, self.term.end_s)
        return allowance_ucr(self.granted_ucr, self.term, at_s, self.curve)


def ahead_at(
    plan: Plan, spent: int, history: Sequence[Spend], today: Period
) -> tuple[int, int] | None:
    """An instant of today, up to its end, at which the spending was ahead of the plan.

    With what was spent by then, in ucr; None where it never was.
    """
    if spent > plan.allowed_tomorrow_ucr(today.end_s):
        return today.end_s, spent
    if spent <= plan.allowed_tomorrow_ucr(today.start_s):
        return None
    # Between two ends of runs the lead over a plan that never speeds up is largest at an end.
    ends = {s.period.end_s for s in history if today.start_s < s.period.end_s < today.end_s}
    for at_s in sorted({today.start_s, *ends}):
        by_then = spent - spent_ucr(history, Period(at_s, today.end_s))
        if by_then > plan.allowed_tomorrow_ucr(at_s):
            return at_s, by_then
    return None


def pace_limits(
    snapshot: Snapshot, found: Mapping[str, Pace]
) -> dict[tuple[str, str], dict[str, int]]:
    """The limits that paces put on shares, in GPUs by cause, by startup and pool.

    None stops a server within nominal: "pace" is the nominal quota, "daily-burn" what ran
    when the day's limit was reached, and what was started since within the nominal quota:
    lent to others meanwhile, it could not be taken back from them.
    """
    causes: dict[tuple[str, str], dict[str, int]] = {}
    used = usage_of(snapshot.program, snapshot.runs.values())
    for name, pace in found.items():
        startup = snapshot.program.startup(name)
        if startup is None or not pace.is_paced:
            continue
        for pool in snapshot.program.pools:
            own = causes[name, pool.name] = {}
            nominal = startup.nominal.get(pool.name, 0)
            if pace.borrows_no_more:
                own["pace"] = nominal
            if pace.reached_s is not None:
                began = _runs_started_by(snapshot, name, pool.name, pace.reached_s)
                own_gpus = min(nominal, used.get((name, pool.name), 0))
                own["daily-burn"] = max(own_gpus, sum(run.gpus for run in began))
    return causes


def pace_announcements(snapshot: Snapshot, found: Mapping[str, Pace]) -> list[Announcement]:
    """(startup, cause, inputs, instant) of thresholds newly passed, each told once.

    Only the largest is told; falling back and passing one again tells nothing new, until
    more is granted. A daily limit is told once a day.
    """
    announced, now_s = snapshot.announced, snapshot.now_s
    fresh: list[Announcement] = []
    for name, pace in sorted(found.items()):
        granted = snapshot.balances[name].granted_ucr
        percents = [
            p for p in ANNOUNCE_AT_PERCENT if pace.spent_ucr * 100 >= pace.allowance_ucr * p
        ]
        if pace.action is not Action.NOTHING and percents:
            largest = max(percents)
            known = [f"{RULE}:{p}:{granted}" for p in ANNOUNCE_AT_PERCENT if p >= largest]
            if not any((name, episode) in announced for episode in known):
                fresh.append((name, f"{RULE}:{largest}:{granted}", pace.inputs, now_s))
        if pace.reached_s is not None:
            midnight_s = day_start_s(now_s, snapshot.program.timezone)
            episode = f"{RULE}:daily:{midnight_s}"
            if (name, episode) not in announced:
                fresh.append((name, episode, pace.inputs, now_s))
    return fresh


def with_pace(restriction: Inputs, pace: Pace | None) -> Inputs:
    """What holds a startup, with its pace: where nothing else does, the pace may."""
    if pace is None or not pace.is_paced or restriction["by"] != "nothing":
        return restriction
    return {"by": RULE, **pace.inputs}


def _spend(run: Run, known_s: int) -> Spend:
    """A run as spending, as far as it is known."""
    end_s = known_s if run.end_s is None else run.end_s
    return Spend(Period(run.start_s, max(run.start_s, end_s)), run.rate_ucr_per_h or 0)


def _days(history: Sequence[Spend], since_s: int, now_s: int) -> list[int]:
    """What each whole day up to now has cost, the latest first, as far as is remembered."""
    days = min(MOST_DAYS, max(0, now_s - since_s) // DAY_S)
    if not history:
        return [0] * days
    ends = [now_s - day * DAY_S for day in range(days)]
    return [spent_ucr(history, Period(end_s - DAY_S, end_s)) for end_s in ends]


def _runs_started_by(snapshot: Snapshot, startup: str, pool: str, until_s: int) -> Iterable[Run]:
    """The startup's open runs in a pool that it did not start after an instant."""
    for run in snapshot.runs.values():
        of = snapshot.program.pool_of(run.flavor)
        is_its = run.startup == startup and of is not None and of.name == pool
        if is_its and run.end_s is None and not run.was_started_after(until_s):
            yield run
