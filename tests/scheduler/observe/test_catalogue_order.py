"""Catalogues are read and written before the state is loaded, and under the lease."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.lease import StaleEpoch
from quotas.model.observation import Offer
from scheduler import cycle

from ..harness import NOTICE_S, T0, TYPE, ZONE, Harness, program, server


def during_catalogue_read(harness: Harness, action: Callable[[], object]) -> None:
    """Do something once, while the next cycle reads its first catalogue."""
    real, is_done = harness.cloud.offers, []

    def offers(zone: str) -> tuple[Offer, ...]:
        if zone == ZONE and not is_done:
            is_done.append(zone)
            action()
        return real(zone)

    harness.cloud.offers = offers  # type: ignore[method-assign]  # a hook in a read


def test_a_program_applied_while_catalogues_are_read_is_decided_upon() -> None:
    """A stop is due under the old limit, but the new program has no limit: nothing is sent."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    harness.clock.move_to(T0 + NOTICE_S)
    harness.cycle = harness.daemon("a")
    during_catalogue_read(
        harness, lambda: apply_program(harness.book, program(limit=40), T0 + NOTICE_S, "ann")
    )
    assert harness.run().outcome == "done"
    assert harness.cloud.stops == []
    assert [notice["state"] for notice in harness.all("notice")] == ["cancelled"]
    assert harness.all("intent") == []


def test_the_first_program_applied_while_nothing_is_known_is_in_force_at_once() -> None:
    """A catalogue read changes no decision: an unchanged program stops at its deadline."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    harness.run()
    harness.clock.move_to(T0 + NOTICE_S)
    harness.cycle = harness.daemon("a")
    during_catalogue_read(harness, lambda: None)
    assert harness.run().sent == 1
    assert harness.cloud.stops == ["s1"]


def test_offers_read_by_a_daemon_that_leads_no_more_are_not_written() -> None:
    """If another daemon takes over while catalogues are read, the stale epoch writes no price."""
    harness = Harness()
    harness.cloud.add(server())
    taken: list[str] = []

    def take_over() -> None:
        harness.clock.move_to(T0 + harness.cycle.timing.lease_s)
        taken.append(harness.daemon("b").run().outcome)
        harness.cloud.offers_of[ZONE] += (Offer(ZONE, "H100-NEW-8-80G", 8, 25_000_000, 1),)

    during_catalogue_read(harness, take_over)
    with pytest.raises(StaleEpoch):
        harness.run()
    assert taken == ["done"]
    assert {row["flavor"] for row in harness.all("price")} == {f"{TYPE}@{ZONE}"}
    assert {row["flavor"] for row in harness.all("offer")} == {f"{TYPE}@{ZONE}"}


def test_a_catalogue_that_could_not_be_written_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The zone stays unread until its offers are in the book, so no run goes unnoticed."""
    harness = Harness()
    harness.cloud.add(server())
    with monkeypatch.context() as failing:
        failing.setattr(cycle, "save_catalogue", _fail)
        with pytest.raises(OperationalError):
            harness.run()
    harness.run(30)
    assert [row["flavor"] for row in harness.all("run")] == [f"{TYPE}@{ZONE}"]


def _fail(*_: object) -> None:
    raise OperationalError("insert", {}, Exception("the disk is full"))
