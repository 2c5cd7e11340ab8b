"""Pace: announce that a startup spends ahead of its pace, and restrict it where the policy says so.

A startup is ahead of its pace once it has spent more than its allowance of this time
tomorrow. The day of grace keeps a busy first day from being an alarm. The startup stays ahead
until midnight, so that one on the line is told, and restricted, at most once a day. The policy
decides what follows: the startup is told, or it may borrow no more. A daily burn limit lets
nothing new start until midnight.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quotas.ledger.balance import Balance
from quotas.ledger.forecast import (
    Pace,
    Plan,
    Spend,
    allowance_ucr,
    burn_rates_ucr_per_h,
    forecast_unused,
    reached_s,
    spent_ucr,
)
from quotas.metering.runs import Run
from quotas.model.program import Curve, PaceAction, Startup
from quotas.model.units import DAY_S, Period, day_start_s
from quotas.rules.context import Announcement, AnnouncementRule, Context, Level, Restricts
from quotas.state.facts import DecisionFacts
from quotas.state.snapshot import Snapshot

ANNOUNCE_AT_PERCENT = (100, 125, 150, 200)
"""Parts of the allowance at which a startup ahead of its pace is told so, once each."""
MOST_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(DecisionFacts):
    """What is spent, against what may be spent by now.

    `ahead_s` and `spent_then_ucr` are there for a startup that was ahead today, the last three
    for one that reached its daily limit.
    """

    spent_ucr: int
    granted_ucr: int
    starts_s: int
    ends_s: int
    now_s: int
    curve: str
    pacing: str
    ahead_s: int | None = None
    spent_then_ucr: int | None = None
    reached_s: int | None = None
    today_ucr: int | None = None
    daily_burn_ucr: int | None = None

    @property
    def plan(self) -> Plan:
        """What was meant to be spent, and when."""
        return Plan(self.granted_ucr, Period(self.starts_s, self.ends_s), Curve(self.curve))

    @property
    def allowance_ucr(self) -> int:
        """What may be spent by now."""
        return allowance_ucr(self.granted_ucr, self.plan.term, self.now_s, self.plan.curve)

    @property
    def is_ahead(self) -> bool:
        """Whether the spending was ahead of the plan at the instant that is named."""
        if self.ahead_s is None or self.spent_then_ucr is None:
            return False
        return self.spent_then_ucr > self.plan.allowed_tomorrow_ucr(self.ahead_s)

    def holds(self) -> bool:
        """Whether the cohort runs, and the figures lead to what was decided from them."""
        if not self.plan.term.start_s <= self.now_s < self.plan.term.end_s:
            return False
        if self.reached_s is not None:
            is_reached = (self.today_ucr or 0) >= (self.daily_burn_ucr or 0)
            return is_reached and self.reached_s <= self.now_s
        return self.pacing != PaceAction.BORROW_NO_MORE or self.is_ahead

    def imposes(self) -> Level | None:
        """At limit, where the figures hold."""
        return Level.PACED if self.holds() else None


def pace_facts(pace: Pace) -> Facts:
    """What a decision about the pace stores."""
    ahead_s, spent_then_ucr = pace.ahead or (None, None)
    is_reached = pace.reached_s is not None and pace.daily_burn_ucr is not None
    daily = {} if is_reached else dict.fromkeys(("reached_s", "today_ucr", "daily_burn_ucr"))
    return Facts.of(
        pace,
        granted_ucr=pace.plan.granted_ucr,
        starts_s=pace.plan.term.start_s,
        ends_s=pace.plan.term.end_s,
        now_s=pace.as_of_s,
        curve=str(pace.plan.curve),
        pacing=str(pace.action or "nothing"),
        ahead_s=ahead_s,
        spent_then_ucr=spent_then_ucr,
        **daily,
    )


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
    term, curve = Period(cohort.starts_s, cohort.ends_s), policy.pacing_curve
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
        action=None if ahead is None else policy.pacing_action,
        today_ucr=spent_ucr(history, today),
        daily_burn_ucr=limit,
        reached_s=reached_s(history, today, limit),
        unused=forecast_unused(
            _days(history, cohort.starts_s, known_s), left, cohort.ends_s - now_s
        ),
    )


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


def pace_limits(context: Context) -> dict[tuple[str, str], dict[str, int]]:
    """The limits that paces put on shares, in GPUs by cause, by startup and pool.

    None stops a server within nominal: "pace" is the nominal quota, "daily-burn" what ran
    when the day's limit was reached, and what was started since within the nominal quota:
    lent to others meanwhile, it could not be taken back from them.
    """
    causes: dict[tuple[str, str], dict[str, int]] = {}
    for name, pace in context.paces.items():
        startup = context.snapshot.program.startup(name)
        if startup is None or not pace.is_paced:
            continue
        for pool in context.snapshot.program.pools:
            own = causes[name, pool.name] = {}
            nominal = startup.nominal.get(pool.name, 0)
            if pace.borrows_no_more:
                own["pace"] = nominal
            if pace.reached_s is not None:
                runs = context.open_runs.get((name, pool.name), [])
                began = [run for run in runs if not run.was_started_after(pace.reached_s)]
                own_gpus = min(nominal, context.usage.get((name, pool.name), 0))
                own["daily-burn"] = max(own_gpus, sum(run.gpus for run in began))
    return causes


def find(context: Context) -> Iterable[Announcement]:
    """Thresholds newly passed, each announced once.

    Only the largest is announced. A startup that falls back and passes one again is told
    nothing new until more is granted. A daily limit is announced once a day.
    """
    now_s = context.now_s
    for name, pace in sorted(context.paces.items()):
        granted = context.snapshot.balances[name].granted_ucr
        percents = [
            p for p in ANNOUNCE_AT_PERCENT if pace.spent_ucr * 100 >= pace.allowance_ucr * p
        ]
        if pace.action is not None and percents:
            largest = max(percents)
            known = [f"pace:{p}:{granted}" for p in ANNOUNCE_AT_PERCENT if p >= largest]
            if not any(context.was_announced(name, episode) for episode in known):
                yield Announcement(name, f"pace:{largest}:{granted}", pace_facts(pace), now_s)
        if pace.reached_s is not None:
            midnight_s = day_start_s(now_s, context.snapshot.program.timezone)
            episode = f"pace:daily:{midnight_s}"
            if not context.was_announced(name, episode):
                yield Announcement(name, episode, pace_facts(pace), now_s)


def find_paced(context: Context, startup: str) -> Facts | None:
    """The pace of a startup that it holds back."""
    pace = context.paces.get(startup)
    return pace_facts(pace) if pace is not None and pace.is_paced else None


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


RULE = AnnouncementRule(
    name="pace",
    facts=Facts,
    find=find,
    restricts=Restricts(facts=Facts, find=find_paced),
)
