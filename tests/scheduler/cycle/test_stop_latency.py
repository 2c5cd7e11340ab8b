"""What our own stops took is what the next one is reserved for."""

from __future__ import annotations

from dataclasses import replace

from exporters.program_status import Board
from quotas.book.actions.balances import read_balance
from quotas.book.actions.overrides import say
from quotas.book.cycle.state import load, read_stops
from quotas.decisions.overrides import EVERYONE, Word
from quotas.metering.stop_latency import Stop
from quotas.model.units import format_credits
from scheduler.views.status import status_of

from ..harness import NOTICE_S, RATE, T0, TYPE, ZONE, Rig, program, server

FLAVOR = f"{TYPE}@{ZONE}"


def stopped(count: int) -> Rig:
    """A rig at a limit of 0 GPUs whose servers were stopped, each seen off after 30 s."""
    whole = program(limit=0)
    rig = Rig(replace(whole, policy=replace(whole.policy, guard_part_ppm=1_000_000)))
    rig.cloud.add(*(server(f"s{number}") for number in range(count)))
    rig.run()
    rig.run(NOTICE_S)
    rig.run(30)
    rig.cloud.add(server("new", rig.clock.now_s()))
    rig.run(30)
    return rig


def test_measured_stops_replace_the_default_in_the_reserve() -> None:
    """30 s and a quarter, rounded up: 38 s instead of the policy's 300, in view and status."""
    rig = stopped(3)
    with rig.book.reading() as connection:
        assert read_stops(connection) == (Stop(FLAVOR, 30, 30),) * 3
    view = rig.views[-1]
    assert view.stop_latency_s == {FLAVOR: 38}
    reserve_s = NOTICE_S + rig.cycle.timing.cycle_s + 38
    assert view.startups[0].balance.reserve_ucr == -(-RATE * reserve_s // 3_600)
    shown = status_of(rig.book, rig.clock.now_s())
    assert shown["stop_latency_s"] == {"default": 300, "measured": {FLAVOR: 38}}


def test_everyone_is_told_the_same_balance() -> None:
    """The cycle's view, a deed's check, `status` and the API's board: with 38 s, not 300."""
    rig = stopped(3)
    now_s, cycle_s = rig.clock.now_s(), rig.cycle.timing.cycle_s
    with rig.book.reading() as connection:
        own = read_balance(connection, program(), "acme", now_s)
    assert own.reserve_ucr == -(-RATE * (NOTICE_S + cycle_s + 38) // 3_600)
    assert own == rig.views[-1].startups[0].balance
    assert own == Board(load(rig.book), now_s, cycle_s).standing("acme").balance
    (shown,) = status_of(rig.book, now_s)["startups"]
    assert format_credits(own.available_ucr) == shown["available"]


def test_a_board_says_the_mode_that_counts() -> None:
    """Armed by an operator's word over a file in shadow: the API says enforce, as `status` does."""
    rig = Rig(program(mode="shadow"))
    say(rig.book, Word("mode", EVERYONE, "enforce", T0, None, "ann", "seven days were right"))
    board = Board(load(rig.book), T0 + 60, 30)
    assert board.program.mode == status_of(rig.book, T0 + 60)["mode"] == "enforce"


def test_two_stops_are_too_few() -> None:
    """The policy's default stays in the reserve."""
    rig = stopped(2)
    assert rig.views[-1].stop_latency_s == {}
    reserve_s = NOTICE_S + rig.cycle.timing.cycle_s + 300
    assert rig.views[-1].startups[0].balance.reserve_ucr == -(-RATE * reserve_s // 3_600)


def test_two_rates_burn_to_an_exact_instant_that_moves_the_next_cycle() -> None:
    """Available is above zero the second before, zero at the instant, and the cycle goes there."""
    rig = Rig(program(credits=60))
    small = "H100-2-80G"
    (big,) = rig.cloud.offers_of[ZONE]
    cheap = replace(big, commercial_type=small, gpus=2, rate_ucr_per_h=5_733_000)
    rig.cloud.offers_of[ZONE] = (big, cheap)
    rig.cloud.add(server("s1"), server("s2", commercial_type=small))
    rig.run()
    rig.cloud.turn_off("s1")
    report = rig.run(3_600)
    own = rig.views[-1].startups[0].balance
    assert own.burn_ucr_per_h == 5_733_000 and own.exhausted_s is not None
    lasts_s = own.exhausted_s - rig.clock.now_s()
    assert own.available_ucr <= own.burn_ucr_per_h * lasts_s // 3_600
    assert own.available_ucr > own.burn_ucr_per_h * (lasts_s - 1) // 3_600
    rig.clock.move_to(own.exhausted_s - 7)
    assert rig.cycle.next_s(report) == own.exhausted_s
    assert rig.run().view is not None and rig.views[-1].startups[0].level == "open"
    assert rig.run(7).view is not None and rig.views[-1].startups[0].level == "closed"
    assert rig.clock.now_s() == own.exhausted_s > T0
