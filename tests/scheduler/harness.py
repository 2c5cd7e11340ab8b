"""A daemon without a process: a cloud in memory, a manual clock, a book and a cycle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select
from sqlmodel import SQLModel

from quotas.book import Book
from quotas.book.actions.overrides import set_override
from quotas.book.cycle.commit import apply_program
from quotas.book.schema.tables import LEASE
from quotas.messages.catalogue import notice_text
from quotas.model.observation import Complete, Offer, Server, Sweep
from quotas.model.program import Cohort, Grant, Mode, Policy, Pool, Program, Startup, Tenure
from quotas.state.notices import Notice
from quotas.state.overrides import Override
from quotas.view import View
from scheduler.clock import ManualClock
from scheduler.clouds.base import CloudError, Project
from scheduler.cycle import Cycle, CycleReport
from scheduler.timing import Timing

T0 = 1_800_000_000
DAY_S = 86_400
END = T0 + 10 * DAY_S
ZONE = "fr-par-2"
TYPE = "H100-SXM-8-80G"
RATE = 25_330_800
PROJECT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
NOTICE_S = 60


def server(name: str = "s1", since_s: int = T0, **changes: object) -> Server:
    """A running server of acme, billable since an instant."""
    made = Server(name, ZONE, PROJECT, name, TYPE, "running", "", since_s, since_s)
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of a Server


def offer(rate_ucr_per_h: int | None = RATE, kind: str = TYPE) -> Offer:
    """What the zone sells, at a price."""
    return Offer(ZONE, kind, 8, rate_ucr_per_h, 1)


def program(
    *,
    credits: int = 10_000,
    limit: int | None = None,
    mode: Mode = "enforce",
    notice_s: int = NOTICE_S,
) -> Program:
    """A cohort of one startup with a grant, short notices and, if given, a limit of GPUs."""
    acme = Startup(
        "acme",
        "c",
        (Tenure(PROJECT, 0),),
        limit={"h100": limit},
        grants=(Grant("g1", credits * 1_000_000, T0, END),),
    )
    return Program(
        "p",
        10**12,
        mode=mode,
        pools=(Pool("h100", ((0, 40),), "on-demand", (f"{TYPE}@{ZONE}",)),),
        cohorts=(Cohort("c", T0, END, (acme,)),),
        policy=Policy(minimum_notice_s=notice_s),
    )


@dataclass
class FakeCloud:
    """A cloud in memory. `answer` replaces a zone's sweep; `on_stop` runs before a stop."""

    clock: ManualClock
    servers: dict[str, Server] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    answers: dict[str, Callable[[int], Sweep]] = field(default_factory=dict)
    offers_of: dict[str, tuple[Offer, ...]] = field(default_factory=lambda: {ZONE: (offer(),)})
    on_stop: Callable[[str], None] = lambda _: None
    in_stock: str | CloudError = "available"
    stock_reads: int = 0
    starts: list[str] = field(default_factory=list)
    on_start: Callable[[str], None] = lambda _: None

    def add(self, *servers: Server) -> None:
        """Put servers where the next sweep sees them."""
        self.servers |= {each.id: each for each in servers}

    def sweep(self, zone: str, at_s: int) -> Sweep:
        """Return every server of the zone, unless the test set another answer."""
        if zone in self.answers:
            return self.answers[zone](at_s)
        return Complete(zone, at_s, tuple(s for s in self.servers.values() if s.zone == zone))

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """The catalogue."""
        return self.offers_of.get(zone, ())

    def stock(self, zone: str) -> dict[str, str]:
        """Return the stock, or raise the error that the test set."""
        self.stock_reads += 1
        if isinstance(self.in_stock, CloudError):
            raise self.in_stock
        return {TYPE: self.in_stock}

    def projects(self) -> tuple[Project, ...]:
        """Unused: no cycle lists projects."""
        raise NotImplementedError

    def server(self, zone: str, server_id: str) -> Server:
        """Unused: no cycle reads one server."""
        raise NotImplementedError

    def power_off(self, zone: str, server_id: str) -> None:
        """Count the call, raise the error that the test set, or stop the server."""
        self.stops.append(server_id)
        self.on_stop(server_id)
        self.turn_off(server_id)

    def power_on(self, zone: str, server_id: str) -> None:
        """Count the call, raise the error that the test set, or start the server."""
        self.starts.append(server_id)
        self.on_start(server_id)
        self.servers[server_id] = replace(
            self.servers[server_id], state="starting", modified_s=self.clock.now_s()
        )

    def turn_off(self, server_id: str) -> None:
        """The server leaves its billable state now."""
        self.servers[server_id] = replace(
            self.servers[server_id], state="stopping", modified_s=self.clock.now_s()
        )


class Harness:
    """Cloud, clock and book of one world, with as many daemons as a test asks for."""

    def __init__(self, of: Program | None = None, book: Book | None = None) -> None:
        self.clock = ManualClock(T0)
        self.cloud = FakeCloud(self.clock)
        self.book = book or Book.in_memory()
        self.views: list[View] = []
        apply_program(self.book, of or program(), T0, "tests")
        self.cycle = self.daemon("a")

    def daemon(self, holder: str, timing: Timing | None = None) -> Cycle:
        """Another daemon on the same book and cloud."""
        return Cycle(
            cloud=self.cloud,
            book=self.book,
            clock=self.clock,
            holder=holder,
            timing=timing or Timing(),
            publish=self.views.append,
        )

    def run(self, after_s: int = 0) -> CycleReport:
        """Move the clock on, then run one cycle of the first daemon."""
        self.clock.move_to(self.clock.now_s() + after_s)
        return self.cycle.run()

    def run_until(self, at_s: int, every_s: int = 30) -> list[CycleReport]:
        """Run cycles up to an instant."""
        reports = []
        while self.clock.now_s() < at_s:
            reports.append(self.run(min(every_s, at_s - self.clock.now_s())))
        return reports

    def charged_ucr(self) -> int:
        """The charges of acme after one more read of the view."""
        return self.rows("balance").get("usage:acme", 0)

    def rows(self, table: str) -> dict[str, int]:
        """Map a table's first column to its second."""
        with self.book.reading() as connection:
            found = connection.execute(select(SQLModel.metadata.tables[table])).all()
        return {row[0]: row[1] for row in found}

    def all(self, table: str) -> list[dict[str, object]]:
        """Every row of a table, in the order of its key."""
        of = SQLModel.metadata.tables[table]
        with self.book.reading() as connection:
            found = connection.execute(select(of).order_by(*of.primary_key.columns))
            return [dict(row) for row in found.mappings()]


def row_text(row: Mapping[str, Any]) -> str:
    """The text of a row of the notices."""
    return notice_text(Notice(**row))


def override(
    harness: Harness, family: str, subject: str, value: str = "on", for_s: int | None = None
) -> Override:
    """An operator performs a command now."""
    now_s = harness.clock.now_s()
    until_s = None if for_s is None else now_s + for_s
    return set_override(
        harness.book, Override(family, subject, value, now_s, until_s, "ann", "a test")
    )


def digest(harness: Harness) -> str:
    """The hash of every row of every table except the lease."""
    tables = sorted(set(SQLModel.metadata.tables) - {LEASE.name})
    return hashlib.sha256(repr([harness.all(table) for table in tables]).encode()).hexdigest()
