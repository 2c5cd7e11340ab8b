"""Mutants of the ledger: charges, grants, expiry, holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from quotas.book.actions import advances, grants
from quotas.book.cycle import commit as book_commit
from quotas.book.reads import status
from quotas.ledger import posting, transfers
from quotas.ledger.transfers import GrantBalance, Transfer, charge_transfer, expiry_transfer
from quotas.metering.runs import Run
from quotas.model.program import Grant
from quotas.model.units import DAY_S, HOUR_S, Period
from scheduler import cycle

from ..scenario.events import NOBODY
from ..scenario.people import STRANGER
from ..scenario.script import NAMES, SMALL, ZONES, Event, Script
from .registry import mutant_of, with_events


@mutant_of()
def charges_an_hour_too_much(patch: pytest.MonkeyPatch) -> None:
    """Every charge's period begins an hour earlier than it should."""

    def wrong(cohort: str, run: Run, period: Period, *rest: Any) -> Any:
        start_s = max(run.start_s, period.start_s - HOUR_S)
        return charge_transfer(cohort, run, Period(start_s, period.end_s), *rest)

    patch.setattr(posting, "charge_transfer", wrong)


@mutant_of()
def every_charge_is_rounded_up(patch: pytest.MonkeyPatch) -> None:
    """A part of a period is charged by itself, rounded up: many parts cost more than one."""

    def wrong(rate_ucr_per_h: int, _run_start_s: int, period: Period) -> int:
        return -(-rate_ucr_per_h * period.seconds // HOUR_S)

    patch.setattr(transfers, "cost_ucr", wrong)


@mutant_of()
def the_newest_month_is_not_charged(patch: pytest.MonkeyPatch) -> None:
    """The last part of a period that is cut is never posted."""
    right = posting.periods_due

    def wrong(run: Run, confirmed_s: int, edges: Iterable[int]) -> tuple[Period, ...]:
        periods = tuple(right(run, confirmed_s, edges))
        return periods[:-1] if run.end_s is not None else periods

    patch.setattr(posting, "periods_due", wrong)


@mutant_of()
def a_charge_leaves_its_period_open(patch: pytest.MonkeyPatch) -> None:
    """Time that was charged is not marked as posted."""
    right = posting._Work.charge

    def wrong(work: Any, period: Period, run_id: str) -> None:
        before = work.runs[run_id]
        right(work, period, run_id)
        work.runs[run_id] = work.changed[run_id] = before

    patch.setattr(posting._Work, "charge", wrong)


@mutant_of()
def grants_never_pay(patch: pytest.MonkeyPatch) -> None:
    """Every charge goes to the sponsor's overdraft."""
    patch.setattr(transfers, "burn_order", lambda *_: [])


@mutant_of()
def the_last_grant_to_end_pays_first(patch: pytest.MonkeyPatch) -> None:
    """Grants are drawn in the wrong order of their ends."""
    right = transfers.burn_order

    def wrong(grants: Iterable[GrantBalance], period: Period) -> list[GrantBalance]:
        return sorted(right(grants, period), key=lambda g: (g.priority, -g.expires_s, g.id))

    patch.setattr(transfers, "burn_order", wrong)


@mutant_of()
def an_ended_grant_still_pays(patch: pytest.MonkeyPatch) -> None:
    """A period is not cut at a grant's end, so the grant pays for all of it."""
    right = posting.periods_due
    patch.setattr(posting, "periods_due", lambda run, confirmed_s, _: right(run, confirmed_s, ()))
    patch.setattr(GrantBalance, "covers", lambda self, p: self.effective_s <= p.start_s)


@mutant_of()
def a_grant_pays_before_it_begins(patch: pytest.MonkeyPatch) -> None:
    """A grant pays for usage before it took effect."""
    patch.setattr(GrantBalance, "covers", lambda self, p: p.end_s <= self.expires_s)


@mutant_of()
def a_neighbour_pays(patch: pytest.MonkeyPatch) -> None:
    """The grants of one startup pay for another one."""
    right = posting._Work.__init__

    def wrong(work: Any, *args: Any) -> None:
        right(work, *args)
        work.book["birch"] = [*work.book["birch"], *work.book.pop("acme", ())]

    patch.setattr(posting._Work, "__init__", wrong)


@mutant_of()
def what_is_left_never_expires(patch: pytest.MonkeyPatch) -> None:
    """The rest of a grant does not expire at its end."""
    patch.setattr(posting, "end_transfers", lambda _: [])
    patch.setattr(posting._Work, "end", lambda *_: None)


@mutant_of()
def grants_expire_a_day_early(patch: pytest.MonkeyPatch) -> None:
    """The rest of a grant expires a day before its end."""
    right = posting._Work.__init__

    def wrong(work: Any, program: Any, grants: Any, metered: Any) -> None:
        early = [replace(g, expires_s=g.expires_s - DAY_S) for g in grants]
        right(work, program, early, metered)

    patch.setattr(posting._Work, "__init__", wrong)


@mutant_of()
def half_of_what_is_left_expires(patch: pytest.MonkeyPatch) -> None:
    """At its end a grant loses half of its rest; the other half stays for ever."""

    def wrong(work: Any, name: str, until_s: int) -> None:
        known_s = min(until_s, work.known_s, work._charged_until_s(name))
        ended = {t.key for t in work.transfers if t.kind == "expiry"}
        for grant in work.book.get(name, ()):
            half = replace(grant, left_ucr=grant.left_ucr // 2)
            expiry = expiry_transfer(half) if half.left_ucr > 0 else None
            if expiry and grant.expires_s <= known_s and expiry.key not in ended:
                work.post(expiry)

    patch.setattr(posting._Work, "end", wrong)


def _runs_out(script: Script) -> Script:
    """Each startup runs one server until its credits end, has more, and starts it again.

    Nothing else moves its balance, so that when its credits end could be known in time.
    """
    zone, events = ZONES[1], [e for e in script.events if e.who in KEPT]
    for number, name in enumerate(NAMES):
        server = (zone, 0, SMALL[number % 2])
        for at_s in range(script.start_s + (3 + 5 * number) * HOUR_S, script.healed_s, 4 * DAY_S):
            more = (name, f"more-{at_s}", 150 + 10 * number, 400)
            events.append(Event(at_s, "operator", "grant", more))
            events.append(Event(at_s + HOUR_S, name, "on", server))
    return replace(
        script,
        mode="enforce",
        capacity=40,
        limits=(None,) * len(NAMES),
        credits=((1, 1),) * len(NAMES),
        tranches=(),
        milestones=(),
        windows=(),
        dice={},
        events=tuple(sorted(events, key=lambda e: e.at_s)),
    )


KEPT = ("clock", NOBODY, STRANGER)
"""The startups that act in every world."""


@mutant_of(needs=_runs_out)
def what_accrued_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Credits that are spent and not yet posted still count as available."""
    patch.setattr(Run, "accrued_ucr", lambda *_: 0)


@mutant_of(needs=_runs_out)
def the_reserve_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    """No reserve is kept for the notice: it begins when the credits have ended."""
    right = status.reserves_s

    def wrong(*args: Any) -> Any:
        measured, reserved_s = right(*args)
        return measured, dict.fromkeys(reserved_s, 0)

    patch.setattr(status, "reserves_s", wrong)


def _holding(script: Script) -> Script:
    """Holds are set again and again, and most of them end by themselves."""
    holds = [
        Event(at_s + 60 * n, "operator", "hold", (name, 20, 5 * HOUR_S))
        for at_s in range(script.start_s + HOUR_S, script.healed_s, DAY_S)
        for n, name in enumerate(NAMES)
    ]
    events = tuple(sorted((*script.events, *holds), key=lambda e: e.at_s))
    return replace(script, events=events, credits=((90_000, 900),) * len(NAMES))


@mutant_of(needs=_holding)
def holds_never_run_out(patch: pytest.MonkeyPatch) -> None:
    """A hold never ends by itself."""
    right = posting.post_due

    def wrong(program: Any, grants: Any, metered: Any, now_s: int, holds: Any) -> Any:
        return right(program, grants, metered, 0, holds)

    patch.setattr(cycle, "post_due", wrong)


@mutant_of(needs=_holding)
def a_hold_returns_to_the_wrong_grant(patch: pytest.MonkeyPatch) -> None:
    """The rest of a hold goes back to another startup."""
    right = posting.end_hold

    def wrong(hold: Any, *args: Any) -> Transfer:
        ended = right(hold, *args)
        entries = [
            replace(e, account=e.account.replace(hold.startup, "cedar"))
            if e.account.startswith("grant:")
            else e
            for e in ended.entries
        ]
        return replace(ended, entries=tuple(entries))

    patch.setattr(posting, "end_hold", wrong)


def with_milestones(script: Script) -> Script:
    """Every startup has milestones; one is confirmed twice, and one a day late."""
    by_s, events = script.start_s + 5 * DAY_S, []
    for name in NAMES:
        for days, milestone in ((4, "demo"), (5, "demo"), (6, "launch")):
            at_s = script.start_s + days * DAY_S
            events.append(Event(at_s, "operator", "confirm", (name, milestone)))
    kept = [e for e in script.events if e.verb != "confirm"]
    return replace(
        script,
        milestones=((900, 40, by_s),) * len(NAMES),
        events=tuple(sorted((*kept, *events), key=lambda e: e.at_s)),
    )


@mutant_of(sql=True, needs=with_milestones)
def a_milestone_pays_before_it_is_confirmed(patch: pytest.MonkeyPatch) -> None:
    """A tranche that waits for a milestone is credited when the program is applied."""
    right = book_commit.parts

    def wrong(grant: Grant) -> Any:
        begun = (replace(t, effective_s=t.effective_s or grant.effective_s) for t in grant.tranches)
        return right(replace(grant, tranches=tuple(begun)))

    patch.setattr(book_commit, "parts", wrong)


@mutant_of(sql=True, needs=with_milestones)
def a_milestone_is_never_too_late(patch: pytest.MonkeyPatch) -> None:
    """The last day of a milestone is not checked."""
    right = grants.milestones

    def wrong(grant: Grant) -> Any:
        return {name: (part, replace(t, by_s=None)) for name, (part, t) in right(grant).items()}

    patch.setattr(grants, "milestones", wrong)


def impatient(script: Script) -> Script:
    """Every startup has tranches, and tries each day to advance some of the next one."""
    days = range(script.start_s + HOUR_S, script.healed_s, DAY_S)
    tries = [Event(at_s, "operator", "ahead", (name, 0)) for at_s in days for name in NAMES]
    return with_events(replace(script, tranches=("half",) * len(NAMES)), tries)


@mutant_of(sql=True, needs=impatient)
def a_tranche_is_taken_ahead_again_and_again(patch: pytest.MonkeyPatch) -> None:
    """An earlier advance of the same tranche is not counted."""
    names = count()
    patch.setattr(advances, "_ahead_key", lambda _: f"self-advance:{next(names)}")


@mutant_of(sql=True, needs=impatient)
def all_of_a_tranche_is_taken_ahead(patch: pytest.MonkeyPatch) -> None:
    """The policy's limit on advances is not checked."""
    patch.setattr(advances, "PPM", 1)
