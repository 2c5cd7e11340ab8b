"""A state machine of people, calendar and crashes: the book equals the model.

Hypothesis plays time, servers, grants, tranches, milestones, prices, holds, crashes on the real
daemon, clouds in memory. After each step every transfer is what the model of the books says,
every balance is the sum of its entries, and `verify` finds nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Engine, text

from quotas.book import Book
from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.advances import AdvanceCommand
from quotas.book.actions.execute import perform_action, preview_action
from quotas.book.actions.grants import GrantCommand, MilestoneCommand, VoidCommand
from quotas.book.actions.holds import HoldCommand, SettleCommand, VoidHoldCommand
from quotas.book.actions.prices import PriceCommand
from quotas.book.actions.refunds import RefundCommand, TransferCommand
from quotas.book.cycle.state import load_state
from quotas.book.reads.history import BookAt, InstantNotKnown, read_book_at
from quotas.book.reads.statements import read_closed_statements
from quotas.book.verify.verify import verify
from quotas.ledger.corrections import Refused
from quotas.model.program import Cohort, Grant, Mode, Rollover, Startup, Tenure, Tranche
from tests.builders import unknown
from tests.scheduler.harness import (
    DAY_S,
    OTHER,
    PROJECT,
    RATE,
    T0,
    TYPE,
    ZONE,
    Harness,
    offer,
    program,
    server,
)

from .book_builders import digest
from .crash_points import CrashPoints, SimulatedCrash
from .ledger_model import Model, Written
from .ledger_model_parts import Lot

EXAMPLES = int(os.environ.get("COHORTD_STATEFUL_EXAMPLES", "10"))
END = T0 + 60 * DAY_S
STARTUPS = {"acme": PROJECT, "birch": OTHER}
FLAVOR = f"{TYPE}@{ZONE}"
ODD_RATE = RATE + 1
"""No whole number of ucr a second, so that every partition has fractions to lose."""
TRANCHES = [
    Tranche(5 * 10**7, T0),
    Tranche(10**8, T0 + 5 * DAY_S),
    Tranche(9 * 10**8, T0 + 15 * DAY_S),
]
DEMO_DAY = Tranche(10**7, None, "demo-day")
REACHED = Grant("acme-2", 10**7, T0, T0 + 40 * DAY_S, tranches=(DEMO_DAY,))
GRANTS = {
    "acme": Grant("acme-1", 10**9, T0, END),
    "birch": Grant(
        "birch-1", 1_050_000_000, T0, END, tranches=(*TRANCHES,), rollover=Rollover(333_333)
    ),
}
TIMES_S = st.sampled_from([1, 59, 1800, 3599, 3600, 3601, 6 * 3600, 2 * DAY_S, 20 * DAY_S])
AMOUNTS = st.sampled_from([1, 999_999, 7_000_000, 25_330_801, 100_000_000, 3_000_000_000])
NAMES = st.sampled_from(sorted(STARTUPS))
POINTS = st.integers(1, 25)


def _grants(name: str) -> tuple[Grant, ...]:
    return (GRANTS[name], REACHED) if name == "acme" else (GRANTS[name],)


def a_cohort(mode: Mode) -> Any:
    """Two startups with a grant each, under a Paris program."""
    members = tuple(
        Startup(name, "c", (Tenure(project, 0),), grants=_grants(name))
        for name, project in STARTUPS.items()
    )
    made = program(mode=mode)
    return replace(made, timezone="Europe/Paris", cohorts=(Cohort("c", T0, END, members),))


class Books(RuleBasedStateMachine):
    """A daemon, two startups and their operator, beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.crash_points = CrashPoints()
        self.asked: list[tuple[OperatorAction, Any]] = []
        self.told: dict[int, BookAt] = {}
        self.statements: dict[tuple[str, str], Any] = {}
        self.is_dark = False
        self.crash_at = 0
        self.verified = 0

    def opened(self) -> Book:
        """A new book."""
        return Book.in_memory()

    def reopened(self, engine: Engine) -> Book:
        """The same book, after every Python object is gone."""
        return Book(engine)

    @initialize(mode=st.sampled_from(["shadow", "enforce"]))
    def begin(self, mode: Mode) -> None:
        """The program is applied, and the daemon runs once."""
        of = a_cohort(mode)
        self.harness = Harness(of, self.crash_points.instrument(self.opened()))
        self.harness.cloud.offers_of[ZONE] = (offer(ODD_RATE),)
        self.model = Model("c", of.policy.minimum_notice_s + of.policy.stop_latency_s)
        must = self.model.grant("acme", 10**9, Lot("acme", "acme-1", 0, T0, END, 0))
        ends = [*(each.effective_s or 0 for each in TRANCHES[1:]), END]
        for number, (each, to_s) in enumerate(zip(TRANCHES, ends, strict=True), 1):
            rolls = (f"birch-1/{number + 1}", Fraction(333_333, 10**6)) if to_s < END else None
            from_s = each.effective_s or 0
            lot = Lot("birch", f"birch-1/{number}", 0, from_s, to_s, number, rolls)
            must += self.model.grant("birch", each.amount_ucr, lot)
        self.took(must)
        self.cycled()
        self.starts("acme")

    now_s = property(lambda self: self.harness.clock.now_s())

    def fresh(self) -> list[dict[str, Any]]:
        """The transfers that the model has not seen."""
        query = "SELECT * FROM transfer WHERE id > :id ORDER BY id"
        sides = "SELECT account, amount_ucr FROM entry WHERE transfer_id = :id ORDER BY position"
        with self.harness.book.reading() as connection:
            rows = connection.execute(text(query), {"id": self.model.count}).mappings().all()
            return [
                {
                    **row,
                    "detail": json.loads(row["detail"]),
                    "entries": [tuple(e) for e in connection.execute(text(sides), {"id": row.id})],
                }
                for row in rows
            ]

    def took(self, must: list[Written] | None = None) -> None:
        """The model takes what is new; where it was asked for, exactly what was."""
        rows = self.fresh()
        if must is not None:
            assert len(rows) == len(must)
        for number, row in enumerate(rows):
            self.model.take(row, None if must is None else must[number])

    def surely(self, work: Callable[[], Any]) -> Any:
        """Do it; where it crashes, open the book anew and do it again."""
        self.crash_points.left, self.crash_at = self.crash_at, 0
        try:
            return work()
        except SimulatedCrash:
            engine = self.harness.book.engine
            self.harness.book = self.crash_points.instrument(self.reopened(engine))
            self.harness.cycle = self.harness.daemon("a")
            return work()
        finally:
            self.crash_points.left = 0

    def cycled(self) -> None:
        """One cycle, again after a crash; the clouds' own truth is told to the model."""
        if self.is_dark:
            self.harness.cloud.answers[ZONE] = unknown
        else:
            self.harness.cloud.answers.clear()
            owners = {project: name for name, project in STARTUPS.items()}
            self.model.saw(
                {
                    each.id: (
                        owners[each.project_id],
                        ODD_RATE,
                        each.created_s,
                        None if each.state == "running" else each.modified_s,
                    )
                    for each in self.harness.cloud.servers.values()
                },
                self.now_s,
            )
        self.model.rated()
        self.surely(lambda: self.harness.run())
        self.took()
        self.model.settled(self.now_s)

    def did(self, command: Command, must: list[Written] | None) -> None:
        """A deed of an operator: what the model says, or refused with nothing changed."""
        operator_action = OperatorAction(command, "why", "ann", self.now_s, f"k{len(self.asked)}")
        before = digest(self.harness.book)
        if must is None:
            with pytest.raises(Refused):
                self.surely(lambda: perform_action(self.harness.book, operator_action))
            assert digest(self.harness.book) == before
            return
        seen = preview_action(self.harness.book, operator_action)
        assert digest(self.harness.book) == before
        answer = self.surely(lambda: perform_action(self.harness.book, operator_action))
        assert answer == seen
        self.took(must)
        self.asked.append((operator_action, answer))

    @rule(after_s=TIMES_S, is_dark=st.sampled_from([False, False, False, True]))
    def time_passes(self, after_s: int, is_dark: object) -> None:
        """Some time, then a cycle that may not reach the zone."""
        self.harness.clock.move_to(self.now_s + after_s)
        self.is_dark = bool(is_dark)
        self.cycled()

    @rule(days=st.sampled_from([1, 5, 16]))
    def days_pass(self, days: int) -> None:
        """Nobody does anything for long, and no cycle runs."""
        self.harness.clock.move_to(self.now_s + days * DAY_S)
        self.cycled()

    @rule(hours=st.integers(1, 12))
    def hours_pass(self, hours: int) -> None:
        """A cycle each hour."""
        self.is_dark = False
        for _ in range(hours):
            self.harness.clock.move_to(self.now_s + 3600)
            self.cycled()

    @rule()
    def same_cycle_again(self) -> None:
        """I6: what was posted is not posted again."""
        self.is_dark = False
        self.cycled()
        self.harness.run()
        assert not self.fresh()

    @rule(name=NAMES)
    def starts(self, name: str) -> None:
        """A server starts between two sweeps."""
        self.harness.clock.move_to(self.now_s + 1)
        made = server(f"s{len(self.harness.cloud.servers)}", self.now_s)
        self.harness.cloud.add(replace(made, project_id=STARTUPS[name]))

    @rule(data=st.data())
    def stops(self, data: st.DataObject) -> None:
        """A server that was seen running stops between two sweeps."""
        on = [
            id
            for id, ran in self.model.ran.items()
            if ran.is_on and self.harness.cloud.servers[id].state == "running"
        ]
        if on:
            self.harness.clock.move_to(self.now_s + 1)
            self.harness.cloud.turn_off(data.draw(st.sampled_from(on)))

    @rule(name=NAMES, amount=AMOUNTS, priority=st.integers(0, 2), lasts_s=TIMES_S, in_s=TIMES_S)
    def grants(self, name: str, amount: int, priority: int, lasts_s: int, in_s: int) -> None:
        """A grant that begins now or later, and ends soon or late."""
        id, from_s = f"g{len(self.model.lots)}", self.now_s + in_s - 1
        to_s = from_s + lasts_s
        lot = Lot(name, id, priority, from_s, to_s, len(self.model.lots))
        command = GrantCommand(name, id, amount, "bonus", priority, from_s, to_s)
        self.did(command, self.model.grant(name, amount, lot))
        self.did(command, None)

    @rule(data=st.data())
    def voids(self, data: st.DataObject) -> None:
        """Any grant, used or not, in force or not."""
        lot = data.draw(st.sampled_from(list(self.model.lots.values())))
        named = data.draw(st.sampled_from([lot.id, *GRANTS]))
        named = GRANTS[lot.startup].id if named in GRANTS else named
        self.did(VoidCommand(lot.startup, named), self.model.void(lot.startup, named))

    @rule(name=NAMES, share=st.integers(0, 10), for_s=TIMES_S)
    def refunds(self, name: str, share: int, for_s: int) -> None:
        """Every second of a window, as far as it is charged and not refunded."""
        from_s = T0 + (self.now_s - T0) * share // 10
        command = RefundCommand(from_s, from_s + for_s, startup=name)
        self.did(command, self.model.refund(name, from_s, from_s + for_s, self.now_s))

    @rule(name=NAMES, amount=AMOUNTS)
    def transfers(self, name: str, amount: int) -> None:
        """To the other startup, where it is available."""
        (to,) = STARTUPS.keys() - {name}
        self.did(
            TransferCommand(name, to, amount), self.model.transfer(name, to, amount, self.now_s)
        )

    @rule(name=NAMES)
    def advances(self, name: str) -> None:
        """Half of what the next tranche has."""
        must = self.model.advance(name, GRANTS[name].id, self.now_s)
        amount = None if must is None else must[0][1][1][1]
        self.did(AdvanceCommand(name, GRANTS[name].id, amount), must)

    @rule(voided=st.sampled_from([False, False, False, True]))
    def reaches_a_milestone(self, voided: object) -> None:
        """Credited once; not after a void of its grant, and not after its end."""
        if voided:
            self.did(VoidCommand("acme", REACHED.id), self.model.void("acme", REACHED.id))
        part, to_s = f"{REACHED.id}/1", REACHED.expires_s
        must = self.model.milestone("acme", part, DEMO_DAY.amount_ucr, self.now_s, to_s)
        self.did(MilestoneCommand("acme", REACHED.id, "demo-day"), must)

    @precondition(lambda self: self.model.ran and self.now_s > T0)
    @rule(share=st.integers(0, 9), less=st.sampled_from([1, 2, 3600, 1_000_001]))
    def accepts_a_lower_price(self, share: int, less: int) -> None:
        """From an instant that is past: what was charged since comes back, and what is paid."""
        from_s = T0 + (self.now_s - T0) * share // 10
        rate = min(rate for _, rate in self.model.paid) - less
        self.accepts(rate, from_s)

    @precondition(lambda self: self.model.ran and self.now_s > T0)
    @rule(share=st.integers(0, 9))
    def accepts_a_dearer_price(self, share: int) -> None:
        """From an instant that is past: the startups keep theirs, and the sponsor pays it."""
        from_s = T0 + (self.now_s - T0) * share // 10
        self.accepts(max(rate for _, rate in self.model.paid) + 1_000_003, from_s)

    def accepts(self, rate: int, from_s: int) -> None:
        """An operator accepts a rate that is not in force yet."""
        self.told.clear()  # what was not charged yet is priced anew: docs/books.md says so
        must = self.model.accept(rate, from_s, self.now_s)
        self.did(PriceCommand(FLAVOR, rate, from_s, confirm=FLAVOR), must)

    @rule(name=NAMES, amount=AMOUNTS, lasts_s=TIMES_S)
    def holds(self, name: str, amount: int, lasts_s: int) -> None:
        """I8: what is available, for so long, or nothing."""
        must = self.model.hold(name, amount, self.now_s, self.now_s + lasts_s)
        self.did(HoldCommand(name, amount, lasts_s), must)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), part=st.sampled_from([0, 1, 2, 3]))
    def ends_a_hold(self, data: st.DataObject, part: int) -> None:
        """I8: voided, settled in part, whole or for too much; then never again."""
        id = data.draw(st.sampled_from(sorted(self.model.holds)))
        amount = self.model.holds[id].ucr * part // 2
        kind = "settle" if amount else "hold-void"
        command = SettleCommand(id, amount) if amount else VoidHoldCommand(id)
        must = self.model.end(id, kind, amount, self.now_s)
        self.did(command, must)
        if must:
            self.did(command, None)

    @rule(points=POINTS)
    def will_crash(self, points: int) -> None:
        """The next transaction, or the one after, does not get past this point."""
        self.crash_at = points

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def repeats(self, data: st.DataObject) -> None:
        """I6: a deed's key repeats its first answer, and refuses another order."""
        operator_action, answer = data.draw(st.sampled_from(self.asked))
        before = digest(self.harness.book)
        assert perform_action(self.harness.book, operator_action) == answer
        with pytest.raises(Refused, match="was used for another command"):
            perform_action(self.harness.book, replace(operator_action, reason="another"))
        assert digest(self.harness.book) == before

    @precondition(lambda self: not self.is_dark and self.now_s > T0)
    @rule(back_s=TIMES_S)
    def asks_of_the_past(self, back_s: int) -> None:
        """What the book answers of a past instant is remembered, to be asked again."""
        at_s = max(T0, self.now_s - back_s)
        try:
            self.told.setdefault(at_s, read_book_at(self.harness.book, at_s, self.now_s))
        except InstantNotKnown:
            assert at_s > self.model.known_s or at_s == self.now_s

    @rule()
    def drops_the_projection(self) -> None:
        """I20: balances are rebuilt from the entries; no answer changes."""
        before = digest(self.harness.book), load_state(self.harness.book)
        with self.harness.book.writing() as connection:
            connection.execute(text("DELETE FROM balance"))
            rebuilt = "SELECT account, sum(amount_ucr) FROM entry GROUP BY account"
            connection.execute(text(f"INSERT INTO balance {rebuilt}"))
        assert (digest(self.harness.book), load_state(self.harness.book)) == before

    @invariant()
    def balances_are_the_models(self) -> None:
        """I1, I2: each account's projection and the sum of its entries are what must be."""
        must = {account: ucr for account, ucr in self.model.accounts.items() if ucr}
        sums = "SELECT account, sum(amount_ucr) FROM entry GROUP BY account"
        with self.harness.book.reading() as connection:
            for query in (sums, "SELECT account, amount_ucr FROM balance"):
                assert {a: ucr for a, ucr in connection.execute(text(query)) if ucr} == must

    @invariant()
    def verify_finds_nothing(self) -> None:
        """The audit agrees, asked whenever something was posted."""
        if self.verified == self.model.count:
            return
        self.verified = self.model.count
        verdict = verify(self.harness.book)
        assert (verdict.fault, verdict.transfers) == (None, self.model.count)

    @invariant()
    def closed_statements_stay(self) -> None:
        """What a month closed with, it has for ever."""
        with self.harness.book.reading() as connection:
            found = {
                (s["startup"], s["month"]): s
                for s in read_closed_statements(connection, None, None)
            }
        assert self.statements.items() <= found.items()
        self.statements = found

    def teardown(self) -> None:
        """I20: the past is what it was when it was asked for first."""
        if hasattr(self, "harness"):
            for at_s, answer in self.told.items():
                assert read_book_at(self.harness.book, at_s, self.now_s + 1) == answer
            self.harness.book.close()


class BooksOnDisk(Books):
    """The same on a file, closed and opened again at each crash."""

    def opened(self) -> Book:
        self.folder = Path(tempfile.mkdtemp(prefix="cohortd-books-"))
        return Book.open(self.folder)

    def reopened(self, engine: Engine) -> Book:
        engine.dispose()
        return Book.open(self.folder)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder, ignore_errors=True)


QUICK = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestBooks, TestBooksOnDisk = Books.TestCase, BooksOnDisk.TestCase
TestBooks.settings = QUICK
TestBooksOnDisk.settings = settings(QUICK, max_examples=max(1, EXAMPLES // 5))
