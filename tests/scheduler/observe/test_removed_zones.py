"""A removed zone is swept until everything open in it has ended."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.cycle.commit import apply_program
from quotas.book.session import Book
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Offer, Unknown
from quotas.model.program import DEFAULT_ZONES, Program, Rollover, Tranche
from quotas.model.units import HOUR_S
from scheduler.views.status import status_of

from ..harness import DAY_S, RATE, T0, TYPE, ZONE, Harness, program, server

FAR = "nl-ams-1"
NEXT_S = T0 + DAY_S


def in_two_tranches() -> Program:
    """900 credits, then 100 a day later, half of which roll over; the far zone is swept."""
    made = program(credits=1_000)
    (cohort,) = made.cohorts
    (acme,) = cohort.startups
    tranches = (Tranche(900_000_000, T0), Tranche(100_000_000, NEXT_S))
    grant = replace(acme.grants[0], tranches=tranches, rollover=Rollover(500_000, None))
    cohort = replace(cohort, startups=(replace(acme, limit={}, grants=(grant,)),))
    return replace(made, cohorts=(cohort,), zones=(*DEFAULT_ZONES, FAR))


def left() -> Harness:
    """A server runs in the far zone when an operator removes the zone from the program."""
    made = in_two_tranches()
    harness = Harness(made)
    harness.cloud.offers_of[FAR] = (Offer(FAR, TYPE, 8, RATE, 1),)
    harness.run()
    harness.cloud.add(server("x", T0 + 10, zone=FAR))
    harness.run_until(T0 + 600, 100)
    apply_program(harness.book, replace(made, zones=DEFAULT_ZONES), harness.clock.now_s(), "ann")
    return harness


def swept(harness: Harness) -> set[str]:
    """The zones that the last cycle read."""
    return {zone.name for zone in harness.views[-1].zones}


def status(book: Book, at_s: int) -> str:
    """The instant up to which `cohortd status` says that all is known."""
    return str(status_of(book, at_s)["known_until"])


def test_a_zone_taken_out_is_swept_until_its_run_ends() -> None:
    """The run is charged to its end; then the zone is no longer swept, and a tranche rolls over."""
    harness = left()
    harness.run_until(T0 + 2 * HOUR_S, 600)
    assert (
        FAR in swept(harness)
        and harness.views[-1].status.startups[0].balance.burn_ucr_per_h == RATE
    )
    harness.cloud.turn_off("x")
    harness.run(30)
    harness.run(30)
    assert FAR not in swept(harness)
    assert [row["end_s"] for row in harness.all("run")] == [T0 + 2 * HOUR_S]
    cost = RATE * (2 * HOUR_S - 10) // HOUR_S
    assert harness.charged_ucr() == cost
    harness.run_until(NEXT_S + HOUR_S, 6 * HOUR_S)
    assert harness.rows("balance")["grant:acme:g1/1"] == 0
    assert harness.rows("balance")["grant:acme:g1/2"] == 100_000_000 + (900_000_000 - cost) // 2
    assert not verify(harness.book).fault
    assert status(harness.book, harness.clock.now_s()).startswith("2027-01-16"), (
        "it stands still no more"
    )


def test_a_tranche_waits_for_a_zone_taken_out_in_which_something_may_run() -> None:
    """If the zone is dark when the tranche ends, earlier use is charged to the tranche first."""
    harness = left()
    harness.cloud.answers[FAR] = lambda at_s: Unknown(FAR, at_s, Cause.UNREACHABLE, "down")
    harness.run_until(NEXT_S + HOUR_S, 6 * HOUR_S)
    assert harness.rows("balance")["grant:acme:g1/1"] > 0, "nobody knows yet what it is to pay"
    del harness.cloud.answers[FAR]
    harness.run(30)
    cost = RATE * (DAY_S - 10) // HOUR_S
    assert harness.rows("balance").get("expired:c", 0) == (900_000_000 - cost + 1) // 2
    assert not verify(harness.book).fault


def test_a_promise_in_a_zone_taken_out_is_kept() -> None:
    """The server above its limit is stopped in the zone that the program left, as announced."""
    harness = left()
    made = in_two_tranches()
    (cohort,) = made.cohorts
    pool = replace(made.pools[0], flavors=(f"{TYPE}@{ZONE}", f"{TYPE}@{FAR}"))
    acme = replace(cohort.startups[0], limit={"h100": 0})
    made = replace(made, pools=(pool,), cohorts=(replace(cohort, startups=(acme,)),))
    apply_program(harness.book, made, harness.clock.now_s(), "ann")
    harness.run(30)
    apply_program(harness.book, replace(made, zones=DEFAULT_ZONES), harness.clock.now_s(), "ann")
    harness.run_until(harness.clock.now_s() + 300)
    assert harness.cloud.stops == ["x"]
    assert [row["state"] for row in harness.all("intent")] == ["confirmed"]
    assert FAR not in swept(harness)


def test_a_zone_in_which_nothing_is_open_is_swept_no_more() -> None:
    """A removed zone without open runs is no longer swept; later servers there are not metered."""
    harness = Harness(in_two_tranches())
    harness.run()
    apply_program(harness.book, replace(in_two_tranches(), zones=DEFAULT_ZONES), T0, "ann")
    harness.cloud.add(server("x", harness.clock.now_s() + 10, zone=FAR))
    harness.run(30)
    assert FAR not in swept(harness) and harness.all("run") == []
