"""Credits end close to zero: one SXM-8, cycles of 60 s, stops of 5 s, a minute's notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.book.actions.overrides import set_override
from quotas.model.program import Program
from quotas.state.overrides import Override
from tests.scheduler.harness import NOTICE_S, RATE, T0, Harness, program, server

STOP_S = 5
HOUR_S = 3600


def short(credits: int, stop_latency_s: int) -> Program:
    """Notices at 60 s and 10 s, and the policy's stop latency."""
    base = program(credits=credits)
    changed = replace(
        base.policy,
        stop_latency_s=stop_latency_s,
        exhaustion_notices_s=(60, 10),
        minimum_notice_s=60,
        disruption_budget_ppm=1_000_000,
    )
    return replace(base, policy=changed)


def slow(of: Program) -> Harness:
    """A harness whose daemon runs a cycle every 60 s."""
    harness = Harness(of)
    harness.cycle = harness.daemon("a", replace(harness.cycle.timing, cycle_s=60))
    return harness


def to_the_end(harness: Harness, name: str) -> int:
    """Run a cycle at every edge until the server is off; return that instant."""
    report = harness.run()
    while name not in harness.cloud.stops:
        harness.clock.move_to(harness.cycle.next_due_s(report))
        report = harness.run()
    return harness.clock.now_s() + STOP_S


def test_measured_stops_bring_the_end_closer_to_zero() -> None:
    """The policy reserves a minute for a stop; after three stops of 5 s, 7 s are reserved."""
    landed = []
    for is_measured in (False, True):
        harness = slow(short(20, 60))
        if is_measured:
            harness.cloud.add(*(server(f"m{n}", state="stopped in place") for n in range(3)))
            harness.clock.move_to(T0)
            measure(harness)
            assert harness.views[-1].status.stop_latency_s == {"H100-SXM-8-80G@fr-par-2": 7}
        harness.cloud.add(server("s1", harness.clock.now_s()))
        harness.run()
        off_s = to_the_end(harness, "s1")
        (own,) = harness.views[-1].status.startups
        left_ucr = own.balance.posted_ucr - own.balance.accrued_ucr
        landed.append(left_ucr - RATE * (off_s - harness.clock.now_s()) // HOUR_S)
    default_ucr, measured_ucr = landed

    assert -20_000 <= measured_ucr <= 450_000 + 14_073
    assert -20_000 <= measured_ucr < default_ucr


def measure(harness: Harness) -> None:
    """Three stops that an operator ordered, each seen off after 5 s."""
    set_override(harness.book, Override("level", "acme", "stopped", T0, None, "ann", "a test"))
    harness.run()
    harness.run(60)
    harness.run(STOP_S)
    set_override(harness.book, Override("level", "acme", "open", T0 + 65, None, "ann", "a test"))
    for name in list(harness.cloud.servers):
        harness.cloud.add(replace(harness.cloud.servers[name], state="stopped"))
    harness.run(30)


@pytest.mark.parametrize("at_s", [10, 50], ids=["early in the notice", "late in the notice"])
def test_burn_that_rises_inside_the_notice_has_its_bound(at_s: int) -> None:
    """A server started in the final notice has its own notice: the end is within one reserve."""
    harness = slow(short(10, STOP_S))
    harness.cloud.add(server())
    report = harness.run()
    while not any(row["server_id"] == "s1" for row in harness.all("notice")):
        harness.clock.move_to(harness.cycle.next_due_s(report))
        report = harness.run()
    harness.clock.move_to(harness.clock.now_s() + at_s)
    harness.cloud.add(server("late", harness.clock.now_s()))
    report = harness.run()
    given = {row["server_id"]: row for row in harness.all("notice") if row["server_id"]}
    off_s = to_the_end(harness, "late")
    assert harness.cloud.stops == ["s1", "late"], "each has its minimum notice"
    for row in given.values():
        assert int(str(row["deadline_s"])) - int(str(row["opened_s"])) >= 60
    harness.run(off_s - harness.clock.now_s())
    harness.run(30)
    left_ucr = harness.rows("balance")["grant:acme:g1"] - sum(
        harness.views[-1].status.overdraft.values()
    )
    assert -RATE * (60 + 60 + STOP_S) // HOUR_S <= left_ucr < 450_000


@pytest.mark.parametrize(
    ("measured_s", "most_ucr"),
    [(5, 450_000), (60, 850_000)],
    ids=["stops were measured", "only the policy is known"],
)
def test_exhaustion_lands_at_zero(measured_s: int, most_ucr: int) -> None:
    """An SXM-8 ends within 0.45 above and 0.02 below zero, and closer if stops were measured."""
    base = program(credits=10)
    policy = replace(
        base.policy, stop_latency_s=measured_s, exhaustion_notices_s=(60, 10), minimum_notice_s=60
    )
    harness = Harness(replace(base, policy=policy))
    harness.cycle = harness.daemon("a", replace(harness.cycle.timing, cycle_s=60))
    harness.cloud.add(server())
    off_s = None
    report = harness.run()
    while not harness.cloud.stops:
        harness.clock.move_to(harness.cycle.next_due_s(report))
        report = harness.run()
        off_s = harness.clock.now_s() + 5
    assert off_s is not None
    left_ucr = 10_000_000 - 25_330_800 * (off_s - T0) // HOUR_S
    assert -20_000 <= left_ucr <= most_ucr
    assert NOTICE_S == 60
