"""A zone that is taken out of the program is swept until what is open in it has ended."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.cycle.commit import apply_program
from quotas.book.session import Book
from quotas.book.verify.verify import verify
from quotas.model.observation import Cause, Offer, Unknown
from quotas.model.program import DEFAULT_ZONES, Program, Rollover, Tranche
from quotas.model.units import HOUR_S
from scheduler.views.status import status_of

from ..harness import DAY_S, RATE, T0, TYPE, ZONE, Rig, program, server

FAR = "nl-ams-1"
NEXT_S = T0 + DAY_S


def in_two_tranches() -> Program:
    """900 credits and a day later 100, of which half rolls over; the far zone is swept."""
    made = program(credits=1_000)
    (cohort,) = made.cohorts
    (acme,) = cohort.startups
    tranches = (Tranche(900_000_000, T0), Tranche(100_000_000, NEXT_S))
    grant = replace(acme.grants[0], tranches=tranches, rollover=Rollover(500_000, None))
    cohort = replace(cohort, startups=(replace(acme, limit={}, grants=(grant,)),))
    return replace(made, cohorts=(cohort,), zones=(*DEFAULT_ZONES, FAR))


def left() -> Rig:
    """A server runs in the far zone when that is taken out of the program."""
    made = in_two_tranches()
    rig = Rig(made)
    rig.cloud.offers_of[FAR] = (Offer(FAR, TYPE, 8, RATE, 1),)
    rig.run()
    rig.cloud.add(server("x", T0 + 10, zone=FAR))
    rig.run_until(T0 + 600, 100)
    apply_program(rig.book, replace(made, zones=DEFAULT_ZONES), rig.clock.now_s(), "ann")
    return rig


def swept(rig: Rig) -> set[str]:
    """The zones that the last cycle read."""
    return {zone.name for zone in rig.views[-1].zones}


def status(book: Book, at_s: int) -> str:
    """Until when `cohortd status` says that all is known."""
    return str(status_of(book, at_s)["known_until"])


def test_a_zone_taken_out_is_swept_until_its_run_ends() -> None:
    """The run is charged to its end; then the zone is swept no more, and a tranche rolls over."""
    rig = left()
    rig.run_until(T0 + 2 * HOUR_S, 600)
    assert FAR in swept(rig) and rig.views[-1].startups[0].balance.burn_ucr_per_h == RATE
    rig.cloud.turn_off("x")
    rig.run(30)
    rig.run(30)
    assert FAR not in swept(rig)
    assert [row["end_s"] for row in rig.all("run")] == [T0 + 2 * HOUR_S]
    cost = RATE * (2 * HOUR_S - 10) // HOUR_S
    assert rig.charged_ucr() == cost
    rig.run_until(NEXT_S + HOUR_S, 6 * HOUR_S)
    assert rig.rows("balance")["grant:acme:g1/1"] == 0
    assert rig.rows("balance")["grant:acme:g1/2"] == 100_000_000 + (900_000_000 - cost) // 2
    assert not verify(rig.book).fault
    assert status(rig.book, rig.clock.now_s()).startswith("2027-01-16"), "it stands still no more"


def test_a_tranche_waits_for_a_zone_taken_out_in_which_something_may_run() -> None:
    """Dark when the tranche ends: what ran before is charged to it first, as in any zone."""
    rig = left()
    rig.cloud.answers[FAR] = lambda at_s: Unknown(FAR, at_s, Cause.UNREACHABLE, "down")
    rig.run_until(NEXT_S + HOUR_S, 6 * HOUR_S)
    assert rig.rows("balance")["grant:acme:g1/1"] > 0, "nobody knows yet what it is to pay"
    del rig.cloud.answers[FAR]
    rig.run(30)
    cost = RATE * (DAY_S - 10) // HOUR_S
    assert rig.rows("balance").get("expired:c", 0) == (900_000_000 - cost + 1) // 2
    assert not verify(rig.book).fault


def test_a_promise_in_a_zone_taken_out_is_kept() -> None:
    """The server above its limit is stopped in the zone that the program left, as announced."""
    rig = left()
    made = in_two_tranches()
    (cohort,) = made.cohorts
    pool = replace(made.pools[0], flavors=(f"{TYPE}@{ZONE}", f"{TYPE}@{FAR}"))
    acme = replace(cohort.startups[0], limit={"h100": 0})
    made = replace(made, pools=(pool,), cohorts=(replace(cohort, startups=(acme,)),))
    apply_program(rig.book, made, rig.clock.now_s(), "ann")
    rig.run(30)
    apply_program(rig.book, replace(made, zones=DEFAULT_ZONES), rig.clock.now_s(), "ann")
    rig.run_until(rig.clock.now_s() + 300)
    assert rig.cloud.stops == ["x"]
    assert [row["state"] for row in rig.all("intent")] == ["confirmed"]
    assert FAR not in swept(rig)


def test_a_zone_in_which_nothing_is_open_is_swept_no_more() -> None:
    """At once: what starts there later is not metered, as `plan` says."""
    rig = Rig(in_two_tranches())
    rig.run()
    apply_program(rig.book, replace(in_two_tranches(), zones=DEFAULT_ZONES), T0, "ann")
    rig.cloud.add(server("x", rig.clock.now_s() + 10, zone=FAR))
    rig.run(30)
    assert FAR not in swept(rig) and rig.all("run") == []
