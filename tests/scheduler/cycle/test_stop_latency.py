"""The reserve for a stop follows the measured duration of earlier stops."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.actions.action import read_balance
from quotas.book.actions.overrides import set_override
from quotas.book.cycle.state import load_state, read_stops
from quotas.book.reads.status import read_status
from quotas.metering.stop_latency import MeasuredStop
from quotas.model.units import format_credits
from quotas.state.overrides import EVERYONE, Override
from scheduler.views.status import status_of

from ..harness import NOTICE_S, RATE, T0, TYPE, ZONE, Harness, program, server

FLAVOR = f"{TYPE}@{ZONE}"


def stopped(count: int) -> Harness:
    """A harness with a limit of 0 GPUs, whose servers were stopped and seen off after 30 s."""
    whole = program(limit=0)
    harness = Harness(replace(whole, policy=replace(whole.policy, disruption_budget_ppm=1_000_000)))
    harness.cloud.add(*(server(f"s{number}") for number in range(count)))
    harness.run()
    harness.run(NOTICE_S)
    harness.run(30)
    harness.cloud.add(server("new", harness.clock.now_s()))
    harness.run(30)
    return harness


def test_measured_stops_replace_the_default_in_the_reserve() -> None:
    """30 s plus a quarter, rounded up, are 38 s instead of the policy's 300, in view and status."""
    harness = stopped(3)
    with harness.book.reading() as connection:
        assert read_stops(connection) == (MeasuredStop(FLAVOR, 30, 30),) * 3
    view = harness.views[-1]
    assert view.status.stop_latency_s == {FLAVOR: 38}
    reserve_s = NOTICE_S + harness.cycle.timing.cycle_s + 38
    assert view.status.startups[0].balance.reserve_ucr == -(-RATE * reserve_s // 3_600)
    shown = status_of(harness.book, harness.clock.now_s())
    assert shown["stop_latency_s"] == {"default": 300, "measured": {FLAVOR: 38}}


def test_everyone_is_told_the_same_balance() -> None:
    """The cycle's view, an action's check, `status` and the API all use 38 s instead of 300."""
    harness = stopped(3)
    now_s, cycle_s = harness.clock.now_s(), harness.cycle.timing.cycle_s
    with harness.book.reading() as connection:
        own = read_balance(connection, program(), "acme", now_s)
    assert own.reserve_ucr == -(-RATE * (NOTICE_S + cycle_s + 38) // 3_600)
    assert own == harness.views[-1].status.startups[0].balance
    assert own == read_status(load_state(harness.book), now_s, cycle_s).startup("acme").balance
    (shown,) = status_of(harness.book, now_s)["startups"]
    assert format_credits(own.available_ucr) == shown["available"]


def test_a_board_says_the_mode_that_counts() -> None:
    """After `arm` over a file in shadow mode, the API says enforce, as `status` does."""
    harness = Harness(program(mode="shadow"))
    set_override(
        harness.book,
        Override("mode", EVERYONE, "enforce", T0, None, "ann", "seven days were right"),
    )
    program_status = read_status(load_state(harness.book), T0 + 60, 30)
    assert program_status.program.mode == status_of(harness.book, T0 + 60)["mode"] == "enforce"


def test_two_stops_are_too_few() -> None:
    """The policy's default stays in the reserve."""
    harness = stopped(2)
    assert harness.views[-1].status.stop_latency_s == {}
    reserve_s = NOTICE_S + harness.cycle.timing.cycle_s + 300
    assert harness.views[-1].status.startups[0].balance.reserve_ucr == -(-RATE * reserve_s // 3_600)


def test_two_rates_burn_to_an_exact_instant_that_moves_the_next_cycle() -> None:
    """Available credits are above zero a second before the instant, and zero at the instant."""
    harness = Harness(program(credits=60))
    small = "H100-2-80G"
    (big,) = harness.cloud.offers_of[ZONE]
    cheap = replace(big, commercial_type=small, gpus=2, rate_ucr_per_h=5_733_000)
    harness.cloud.offers_of[ZONE] = (big, cheap)
    harness.cloud.add(server("s1"), server("s2", commercial_type=small))
    harness.run()
    harness.cloud.turn_off("s1")
    report = harness.run(3_600)
    own = harness.views[-1].status.startups[0].balance
    assert own.burn_ucr_per_h == 5_733_000 and own.exhausted_s is not None
    lasts_s = own.exhausted_s - harness.clock.now_s()
    assert own.available_ucr <= own.burn_ucr_per_h * lasts_s // 3_600
    assert own.available_ucr > own.burn_ucr_per_h * (lasts_s - 1) // 3_600
    harness.clock.move_to(own.exhausted_s - 7)
    assert harness.cycle.next_due_s(report) == own.exhausted_s
    assert harness.run().view is not None and harness.views[-1].status.startups[0].level == "open"
    assert (
        harness.run(7).view is not None and harness.views[-1].status.startups[0].level == "closed"
    )
    assert harness.clock.now_s() == own.exhausted_s > T0
