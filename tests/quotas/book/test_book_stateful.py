"""A state machine of people, calendar and crashes: the book equals the model.

Hypothesis chooses the passing of time, servers, grants, tranches, milestones, prices, holds and
crashes. The real daemon runs them against a cloud in memory. After each step every transfer is
the one that the model expects, every balance is the sum of its entries, and `verify` finds nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import Engine, text

from quotas.book import Book
from quotas.book.actions.advances import AdvanceCommand
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, MilestoneCommand, VoidCommand
from quotas.book.actions.holds import HoldCommand, SettleCommand, VoidHoldCommand
from quotas.book.actions.prices import PriceCommand
from quotas.book.actions.refunds import RefundCommand, TransferCommand
from quotas.book.cycle.state import load_state
from quotas.book.reads.history import InstantNotKnown, read_book_at
from quotas.book.reads.statements import read_closed_statements
from quotas.book.verify.verify import verify
from quotas.ledger.corrections import Refused
from tests.scheduler.harness import (
    DAY_S,
    T0,
    server,
)

from .book_builders import digest
from .book_machine import DEMO_DAY, FLAVOR, GRANTS, REACHED, STARTUPS, BookMachine
from .ledger_model_parts import Lot

EXAMPLES = int(os.environ.get("COHORTD_STATEFUL_EXAMPLES", "10"))

TIMES_S = st.sampled_from([1, 59, 1800, 3599, 3600, 3601, 6 * 3600, 2 * DAY_S, 20 * DAY_S])
AMOUNTS = st.sampled_from([1, 999_999, 7_000_000, 25_330_801, 100_000_000, 3_000_000_000])
NAMES = st.sampled_from(sorted(STARTUPS))
POINTS = st.integers(1, 25)


class Books(BookMachine):
    """What people, the calendar and crashes do, and what must hold after each step."""

    @rule(after_s=TIMES_S, is_dark=st.sampled_from([False, False, False, True]))
    def time_passes(self, after_s: int, is_dark: object) -> None:
        """Time passes, then a cycle runs, which may fail to reach the zone."""
        self.harness.clock.move_to(self.now_s + after_s)
        self.is_dark = bool(is_dark)
        self.cycled()

    @rule(days=st.sampled_from([1, 5, 16]))
    def days_pass(self, days: int) -> None:
        """Days pass without a cycle, then one cycle runs."""
        self.harness.clock.move_to(self.now_s + days * DAY_S)
        self.cycled()

    @rule(hours=st.integers(1, 12))
    def hours_pass(self, hours: int) -> None:
        """One cycle runs each hour."""
        self.is_dark = False
        for _ in range(hours):
            self.harness.clock.move_to(self.now_s + 3600)
            self.cycled()

    @rule()
    def same_cycle_again(self) -> None:
        """I6: a second cycle at the same instant posts nothing."""
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
        """An operator voids any grant: used or unused, in force or not."""
        lot = data.draw(st.sampled_from(list(self.model.lots.values())))
        named = data.draw(st.sampled_from([lot.id, *GRANTS]))
        named = GRANTS[lot.startup].id if named in GRANTS else named
        self.did(VoidCommand(lot.startup, named), self.model.void(lot.startup, named))

    @rule(name=NAMES, share=st.integers(0, 10), for_s=TIMES_S)
    def refunds(self, name: str, share: int, for_s: int) -> None:
        """A refund covers the seconds of a window that are charged and not yet refunded."""
        from_s = T0 + (self.now_s - T0) * share // 10
        command = RefundCommand(from_s, from_s + for_s, startup=name)
        self.did(command, self.model.refund(name, from_s, from_s + for_s, self.now_s))

    @rule(name=NAMES, amount=AMOUNTS)
    def transfers(self, name: str, amount: int) -> None:
        """A transfer to the other startup, if the credits are available."""
        (to,) = STARTUPS.keys() - {name}
        self.did(
            TransferCommand(name, to, amount), self.model.transfer(name, to, amount, self.now_s)
        )

    @rule(name=NAMES)
    def advances(self, name: str) -> None:
        """An advance of half of the next tranche."""
        must = self.model.advance(name, GRANTS[name].id, self.now_s)
        amount = None if must is None else must[0][1][1][1]
        self.did(AdvanceCommand(name, GRANTS[name].id, amount), must)

    @rule(voided=st.sampled_from([False, False, False, True]))
    def reaches_a_milestone(self, voided: object) -> None:
        """A milestone is credited once, and never after its grant was voided or has ended."""
        if voided:
            self.did(VoidCommand("acme", REACHED.id), self.model.void("acme", REACHED.id))
        part, to_s = f"{REACHED.id}/1", REACHED.expires_s
        must = self.model.milestone("acme", part, DEMO_DAY.amount_ucr, self.now_s, to_s)
        self.did(MilestoneCommand("acme", REACHED.id, "demo-day"), must)

    @precondition(lambda self: self.model.ran and self.now_s > T0)
    @rule(share=st.integers(0, 9), less=st.sampled_from([1, 2, 3600, 1_000_001]))
    def accepts_a_lower_price(self, share: int, less: int) -> None:
        """A lower price from a past instant refunds the difference charged since then."""
        from_s = T0 + (self.now_s - T0) * share // 10
        rate = min(rate for _, rate in self.model.paid) - less
        self.accepts(rate, from_s)

    @precondition(lambda self: self.model.ran and self.now_s > T0)
    @rule(share=st.integers(0, 9))
    def accepts_a_dearer_price(self, share: int) -> None:
        """A higher price from a past instant is paid by the sponsor; the startups keep theirs."""
        from_s = T0 + (self.now_s - T0) * share // 10
        self.accepts(max(rate for _, rate in self.model.paid) + 1_000_003, from_s)

    def accepts(self, rate: int, from_s: int) -> None:
        """An operator accepts a rate that is not in force yet."""
        self.told.clear()  # uncharged time takes the new price: see docs/books.md
        must = self.model.accept(rate, from_s, self.now_s)
        self.did(PriceCommand(FLAVOR, rate, from_s, confirm=FLAVOR), must)

    @rule(name=NAMES, amount=AMOUNTS, lasts_s=TIMES_S)
    def holds(self, name: str, amount: int, lasts_s: int) -> None:
        """I8: a hold takes available credits for a time, or is refused."""
        must = self.model.hold(name, amount, self.now_s, self.now_s + lasts_s)
        self.did(HoldCommand(name, amount, lasts_s), must)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), part=st.sampled_from([0, 1, 2, 3]))
    def ends_a_hold(self, data: st.DataObject, part: int) -> None:
        """I8: a hold is voided or settled (in part, whole, too much), and ends only once."""
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
        """The next transaction, or the one after it, crashes at this point."""
        self.crash_at = points

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def repeats(self, data: st.DataObject) -> None:
        """I6: an action's key repeats its first answer, and refuses another command."""
        operator_action, answer = data.draw(st.sampled_from(self.asked))
        before = digest(self.harness.book)
        assert perform_action(self.harness.book, operator_action) == answer
        with pytest.raises(Refused, match="was used for another command"):
            perform_action(self.harness.book, replace(operator_action, reason="another"))
        assert digest(self.harness.book) == before

    @precondition(lambda self: not self.is_dark and self.now_s > T0)
    @rule(back_s=TIMES_S)
    def asks_of_the_past(self, back_s: int) -> None:
        """Remember the book's answer about a past instant; `teardown` asks for it again."""
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
        """I1, I2: each account's stored balance and the sum of its entries equal the model's."""
        must = {account: ucr for account, ucr in self.model.accounts.items() if ucr}
        sums = "SELECT account, sum(amount_ucr) FROM entry GROUP BY account"
        with self.harness.book.reading() as connection:
            for query in (sums, "SELECT account, amount_ucr FROM balance"):
                assert {a: ucr for a, ucr in connection.execute(text(query)) if ucr} == must

    @invariant()
    def verify_finds_nothing(self) -> None:
        """The audit agrees with the model whenever something was posted."""
        if self.verified == self.model.count:
            return
        self.verified = self.model.count
        verdict = verify(self.harness.book)
        assert (verdict.fault, verdict.transfers) == (None, self.model.count)

    @invariant()
    def closed_statements_stay(self) -> None:
        """A closed statement never changes."""
        with self.harness.book.reading() as connection:
            found = {
                (s["startup"], s["month"]): s
                for s in read_closed_statements(connection, None, None)
            }
        assert self.statements.items() <= found.items()
        self.statements = found

    def teardown(self) -> None:
        """I20: the book gives the same answer about a past instant later."""
        if hasattr(self, "harness"):
            for at_s, answer in self.told.items():
                assert read_book_at(self.harness.book, at_s, self.now_s + 1) == answer
            self.harness.book.close()


class BooksOnDisk(Books):
    """The same machine on a file, which is closed and reopened at each crash."""

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
