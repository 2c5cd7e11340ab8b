"""How close to zero do credits end? One SXM-8, cycle 60 s, stop 5 s, a minute's notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.book.actions.overrides import say
from quotas.decisions.overrides import Word
from quotas.model.program import Program

from ..harness import RATE, T0, Rig, program, server

STOP_S = 5
HOUR_S = 3600


def short(credits: int, stop_latency_s: int) -> Program:
    """Notices at 60 s and 10 s, and a policy's word on how long a stop takes."""
    base = program(credits=credits)
    changed = replace(
        base.policy,
        stop_latency_s=stop_latency_s,
        exhaustion_notices_s=(60, 10),
        minimum_notice_s=60,
        guard_part_ppm=1_000_000,
    )
    return replace(base, policy=changed)


def slow(of: Program) -> Rig:
    """A rig whose daemon looks every 60 s."""
    rig = Rig(of)
    rig.cycle = rig.daemon("a", replace(rig.cycle.timing, cycle_s=60))
    return rig


def to_the_end(rig: Rig, name: str) -> int:
    """Cycles at every edge until the server is stopped; the instant it is off."""
    report = rig.run()
    while name not in rig.cloud.stops:
        rig.clock.move_to(rig.cycle.next_s(report))
        report = rig.run()
    return rig.clock.now_s() + STOP_S


def test_measured_stops_bring_the_end_closer_to_zero() -> None:
    """The policy reserves a minute for a stop; three were seen to take 5 s, and it is 7 s."""
    landed = []
    for is_measured in (False, True):
        rig = slow(short(20, 60))
        if is_measured:
            rig.cloud.add(*(server(f"m{n}", state="stopped in place") for n in range(3)))
            rig.clock.move_to(T0)
            measure(rig)
            assert rig.views[-1].stop_latency_s == {"H100-SXM-8-80G@fr-par-2": 7}
        rig.cloud.add(server("s1", rig.clock.now_s()))
        rig.run()
        off_s = to_the_end(rig, "s1")
        (own,) = rig.views[-1].startups
        left_ucr = own.balance.posted_ucr - own.balance.accrued_ucr
        landed.append(left_ucr - RATE * (off_s - rig.clock.now_s()) // HOUR_S)
    default_ucr, measured_ucr = landed

    assert -20_000 <= measured_ucr <= 450_000 + 14_073
    assert -20_000 <= measured_ucr < default_ucr


def measure(rig: Rig) -> None:
    """Three stops that an operator ordered, each seen off after 5 s."""
    say(rig.book, Word("level", "acme", "stopped", T0, None, "ann", "a test"))
    rig.run()
    rig.run(60)
    rig.run(STOP_S)
    say(rig.book, Word("level", "acme", "open", T0 + 65, None, "ann", "a test"))
    for name in list(rig.cloud.servers):
        rig.cloud.add(replace(rig.cloud.servers[name], state="stopped"))
    rig.run(30)


@pytest.mark.parametrize("at_s", [10, 50])
def test_burn_that_rises_inside_the_notice_has_its_bound(at_s: int) -> None:
    """A server started inside the final notice has its own: the end is within one reserve."""
    rig = slow(short(10, STOP_S))
    rig.cloud.add(server())
    report = rig.run()
    while not any(row["server_id"] == "s1" for row in rig.all("notice")):
        rig.clock.move_to(rig.cycle.next_s(report))
        report = rig.run()
    rig.clock.move_to(rig.clock.now_s() + at_s)
    rig.cloud.add(server("late", rig.clock.now_s()))
    report = rig.run()
    given = {row["server_id"]: row for row in rig.all("notice") if row["server_id"]}
    off_s = to_the_end(rig, "late")
    assert rig.cloud.stops == ["s1", "late"], "each has its minimum notice"
    for row in given.values():
        assert int(str(row["deadline_s"])) - int(str(row["given_s"])) >= 60
    rig.run(off_s - rig.clock.now_s())
    rig.run(30)
    left_ucr = rig.rows("balance")["grant:acme:g1"] - sum(rig.views[-1].overdraft.values())
    assert -RATE * (60 + 60 + STOP_S) // HOUR_S <= left_ucr < 450_000
