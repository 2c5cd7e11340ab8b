"""The daemon, its book and the model under the state machine, without its rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize
from sqlalchemy import Engine, text

from quotas.book import Book
from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.execute import perform_action, preview_action
from quotas.book.reads.history import BookAt
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
)

from .book_builders import digest
from .crash_points import CrashPoints, SimulatedCrash
from .ledger_model import Model, Written
from .ledger_model_parts import Lot

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


class BookMachine(RuleBasedStateMachine):
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
        """Give the new transfers to the model. If `must` is given, they equal it exactly."""
        rows = self.fresh()
        if must is not None:
            assert len(rows) == len(must)
        for number, row in enumerate(rows):
            self.model.take(row, None if must is None else must[number])

    def surely(self, work: Callable[[], Any]) -> Any:
        """Do the work. After a crash, reopen the book and do the work again."""
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
        """Run one cycle, again after a crash. The model is told the cloud's true state."""
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
        """Do an action: it posts what the model says, or is refused and changes nothing."""
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
