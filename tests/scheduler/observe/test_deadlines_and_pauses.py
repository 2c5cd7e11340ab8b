"""A hanging read costs a cycle one bounded wait; a failing one is retried less often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NoReturn

import pytest

from quotas.book.actions.requests import open_request
from quotas.model.program import DEFAULT_ZONES, Cohort, Grant, Program, Startup, Tenure
from quotas.state.requests import RequestSpec
from scheduler.clouds.base import CloudError, Unreachable
from scheduler.observe.zones import FIRST_PAUSE_S, LONGEST_PAUSE_S, ZoneReader
from scheduler.timing import Timing

from ..harness import DAY_S, END, NOTICE_S, OTHER, T0, TYPE, ZONE, Harness, program, server
from ..scenarios import lending_harness, request_back

CYCLE_S = 30
QUICK = Timing(cycle_max_s=8)
"""A cycle that waits a second for a catalogue, and four for its servers."""
PATIENCE_S = 20
"""Longer than any cycle of this file may take; a hanging read lasts at least as long."""


@dataclass
class Hanging:
    """A read that does not return until the test releases it."""

    harness: Harness
    let_go: threading.Event = field(default_factory=threading.Event)
    zones: list[str] = field(default_factory=list)

    def __call__(self, zone: str) -> NoReturn:
        self.zones.append(zone)
        if not self.let_go.wait(PATIENCE_S):
            self.harness.clock.move_to(self.harness.clock.now_s() + 60)
        raise Unreachable("no answer in time")


@contextmanager
def hanging(harness: Harness, name: str) -> Iterator[Hanging]:
    """Within this context one of the cloud's reads hangs in every zone."""
    good, hang = getattr(harness.cloud, name), Hanging(harness)
    setattr(harness.cloud, name, hang)
    try:
        yield hang
    finally:
        hang.let_go.set()
        setattr(harness.cloud, name, good)


def test_a_catalogue_that_hangs_holds_up_no_stop() -> None:
    """The cycle waits once for all zones together, and the stop is sent at its time."""
    harness = Harness(program(limit=0))
    harness.run()
    harness.cloud.add(server())
    harness.clock.move_to(T0 + CYCLE_S)
    daemon = harness.daemon("a", QUICK)
    with hanging(harness, "offers") as hang:
        daemon.run()
        assert any(f"prices of {ZONE} are not known" in text for text in harness.views[-1].alarms)
        harness.clock.move_to(harness.clock.now_s() + NOTICE_S)
        daemon.run()
        assert harness.cloud.stops == ["s1"], "the lease is long enough"
        assert sorted(hang.zones) == sorted(DEFAULT_ZONES), "who is busy is not asked again"


def waiting() -> Program:
    """Acme may run nothing; birch may request the GPUs of a pool of three zones."""
    base = program(limit=0)
    pool = replace(base.pools[0], flavors=tuple(f"{TYPE}@{zone}" for zone in DEFAULT_ZONES))
    grant = Grant("g2", 10**10, T0, END)
    birch = Startup("birch", "c", (Tenure(OTHER, 0),), nominal={"h100": 8}, grants=(grant,))
    startups = (*base.cohorts[0].startups, birch)
    return replace(base, pools=(pool,), cohorts=(Cohort("c", T0, END, startups),))


def test_a_stock_that_hangs_holds_up_no_stop() -> None:
    """If an owner waits and the stock cannot be read, limits are still enforced."""
    harness = Harness(waiting())
    harness.cloud.add(server())
    open_request(harness.book, RequestSpec("birch", "h100", 8, DAY_S, "training", "birch", T0))
    daemon = harness.daemon("a", QUICK)
    with hanging(harness, "stock") as hang:
        daemon.run()
        harness.clock.move_to(harness.clock.now_s() + NOTICE_S)
        daemon.run()
        assert harness.cloud.stops == ["s1"], "the lease is long enough"
        assert sorted(hang.zones) == sorted(DEFAULT_ZONES), "who is busy is not asked again"


def asked_at(reader: ZoneReader[str], failing: bool, from_s: int, for_s: int) -> list[int]:
    """The instants, counted from the first, at which repeated cycles read a zone."""
    asked: list[int] = []

    def ask(_zone: str) -> str:
        if failing:
            raise Unreachable("no route")
        return "well"

    for after_s in range(0, for_s, CYCLE_S):
        for answer in reader.read([ZONE], ask, from_s + after_s).values():
            assert isinstance(answer, CloudError) == failing
            asked.append(after_s)
    return asked


def test_a_zone_that_fails_is_asked_ever_more_seldom_until_it_answers() -> None:
    """Pauses are 1, 2, 4 and then 5 minutes; a good answer starts the pauses over."""
    reader: ZoneReader[str] = ZoneReader("test", PATIENCE_S)
    assert (FIRST_PAUSE_S, LONGEST_PAUSE_S) == (60, 300)
    assert asked_at(reader, True, T0, 1200) == [0, 60, 180, 420, 720, 1020]
    assert asked_at(reader, False, T0 + 1320, 120) == [0, 30, 60, 90]
    assert asked_at(reader, True, T0 + 1440, 180) == [0, 60]


def test_a_clock_that_stepped_back_ends_a_pause() -> None:
    """A failure with a date in the future (after a step back) causes no pause."""
    reader: ZoneReader[str] = ZoneReader("test", PATIENCE_S)
    assert asked_at(reader, True, T0, CYCLE_S) == [0]
    assert asked_at(reader, True, T0 - DAY_S, CYCLE_S) == [0]


def test_a_late_answer_is_dropped_and_the_zone_asked_anew() -> None:
    """An answer after the deadline is dropped, because nobody knows its instant."""
    reader: ZoneReader[str] = ZoneReader("test", 0.05)
    let_go = threading.Event()

    def late(_zone: str) -> str:
        let_go.wait(PATIENCE_S)
        return "old"

    assert isinstance(reader.read([ZONE], late, T0)[ZONE], Unreachable)
    let_go.set()
    assert [future.result() for future in reader._zones._late.values()] == ["old"]
    reader._zones._deadline_s = PATIENCE_S
    assert reader.read([ZONE], lambda _zone: "new", T0 + FIRST_PAUSE_S) == {ZONE: "new"}


def test_a_mistake_of_ours_is_no_failure_of_the_cloud() -> None:
    """Only a CloudError counts as an answer; any other exception reaches the loop."""
    reader: ZoneReader[str] = ZoneReader("test", PATIENCE_S)

    def mistaken(_zone: str) -> str:
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        reader.read([ZONE], mistaken, T0)


def test_a_cloud_that_hangs_leaves_the_lease_a_stop() -> None:
    """Waits for servers, catalogues and stock leave time for a call; the settings check this."""
    with pytest.raises(ValueError, match="a cloud that hangs takes 116 s of it, and a stop needs"):
        Timing(cycle_max_s=155, database_timeout_s=10, lease_s=180)


def test_a_stock_read_by_a_clock_that_was_ahead_is_read_again() -> None:
    """After a step back, an old answer about the stock is not fresh."""
    harness = lending_harness()
    request_back(harness)
    harness.run(30)
    harness.clock.step(-DAY_S)
    before = harness.cloud.stock_reads
    harness.run(30)
    assert harness.cloud.stock_reads > before > 0
