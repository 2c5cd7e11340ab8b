"""Balances at a past instant: the answer never changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.book.actions.action import Command, OperatorAction, read_balance
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, VoidCommand
from quotas.book.actions.refunds import RefundCommand
from quotas.book.cycle.state import read_program
from quotas.book.reads.history import BookAt, InstantNotKnown, read_book_at
from quotas.book.schema.tables import BALANCE
from quotas.book.session import Book
from quotas.model.units import Period, cost_ucr
from tests.builders import unknown
from tests.scheduler.harness import RATE, T0, ZONE, Harness, offer, server

from ..test_book_stateful import Books

HOUR_S = 3600


def operator_action(harness: Harness, command: Command) -> None:
    """An operator's deed at the rig's clock."""
    perform_action(harness.book, OperatorAction(command, "because", "ann", harness.clock.now_s()))


def asked(harness: Harness, at_s: int) -> BookAt:
    """The books as of an instant, asked for now."""
    return read_book_at(harness.book, at_s, harness.clock.now_s())


def a_day() -> Harness:
    """A server runs for five hours; a grant, a refund and a void in between."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    harness.run_until(T0 + 2 * HOUR_S, 600)
    operator_action(harness, GrantCommand("acme", "extra", 5_000_000))
    harness.run_until(T0 + 3 * HOUR_S, 600)
    operator_action(harness, RefundCommand(T0, T0 + 1800, startup="acme"))
    harness.run_until(T0 + 5 * HOUR_S, 600)
    operator_action(harness, VoidCommand("acme", "extra"))
    harness.run(600)
    return harness


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_an_answer_never_changes(data: st.DataObject) -> None:
    """I20: whatever happens later, and without the projection too, as of then is as it was."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    kept: dict[int, BookAt] = {}
    for number in range(6):
        harness.run(data.draw(st.integers(10, 3000), "seconds"))
        match data.draw(st.sampled_from(["grant", "refund", "off", "dark", "nothing"]), "deed"):
            case "grant":
                operator_action(harness, GrantCommand("acme", f"g{number}x", 1_000_000 + number))
            case "refund" if harness.charged_ucr():
                operator_action(harness, RefundCommand(T0, T0 + 60 * (number + 1), startup="acme"))
            case "off":
                harness.cloud.turn_off("s1")
            case "dark":
                harness.cloud.answers = {ZONE: unknown}
            case _:
                harness.cloud.answers = {}
        at_s = data.draw(st.integers(T0, harness.clock.now_s() - 1), "as of")
        try:
            kept[at_s] = asked(harness, at_s)
        except InstantNotKnown as refused:
            assert "known only until" in str(refused)
        for then_s, was in kept.items():
            assert asked(harness, then_s) == was
    with harness.book.writing() as connection:
        connection.execute(BALANCE.delete())
    assert {then_s: asked(harness, then_s) for then_s in kept} == kept


def test_what_ran_and_was_not_charged_is_accrued() -> None:
    """Posted less accrued falls with every second that ran, charged later or not yet."""
    harness = a_day()
    for after_s in (1, 1799, 3600, 3601, 5 * HOUR_S, 5 * HOUR_S + 300):
        own = asked(harness, T0 + after_s).startups[0]
        refunded = cost_ucr(RATE, T0, Period(T0, T0 + 1800)) * (after_s >= 3 * HOUR_S)
        ran = cost_ucr(RATE, T0, Period(T0, T0 + after_s))
        assert own.charged_ucr + own.balance.accrued_ucr == ran - refunded
        assert (own.gpus, own.balance.burn_ucr_per_h) == (8, RATE)


def test_only_what_was_recorded_by_then_counts() -> None:
    """A grant counts from the second of its recording on, and the voided one until its void."""
    harness = a_day()
    granted = {
        after_s: asked(harness, T0 + after_s).startups[0].balance.granted_ucr - 10_000_000_000
        for after_s in (2 * HOUR_S - 1, 2 * HOUR_S, 5 * HOUR_S)
    }
    assert list(granted.values()) == [0, 5_000_000, 5_000_000]
    before, after = (asked(harness, T0 + 5 * HOUR_S - n).startups[0].balance for n in (1, 0))
    second_ucr = cost_ucr(RATE, T0, Period(T0 + 5 * HOUR_S - 1, T0 + 5 * HOUR_S))
    assert before.available_ucr - after.available_ucr == 5_000_000 + second_ucr


def test_what_ends_next() -> None:
    """What the next end would forfeit if nothing more burned: what is accrued is spent."""
    harness = Harness()
    operator_action(harness, GrantCommand("acme", "short", 5_000_000, expires_s=T0 + 2 * HOUR_S))
    harness.run(3 * HOUR_S)
    first, second = (asked(harness, T0 + n * HOUR_S).startups[0].balance for n in (0, 2))
    assert first.expiring is not None and second.expiring is not None
    assert (first.expiring.grant, first.expiring.amount_ucr) == ("short", 5_000_000)
    assert first.expiring.at_s == T0 + 2 * HOUR_S
    assert second.expiring.grant == "g1"
    assert second.expiring.amount_ucr == second.posted_ucr - second.accrued_ucr


def test_a_dispute_and_a_later_stop_do_not_reach_back() -> None:
    """A server that stopped after the instant still burns as of it; one that stopped before not."""
    harness = a_day()
    harness.cloud.turn_off("s1")
    harness.run(600)
    off_s = harness.clock.now_s() - 600
    assert asked(harness, off_s - 1).startups[0].gpus == 8
    assert asked(harness, off_s).startups[0].gpus == 0


@pytest.mark.parametrize(
    ("at_s", "says"),
    [
        (T0 - 1, "before the first cohort starts"),
        (T0 + 20 * HOUR_S, "is not past yet"),
        (T0 + 5 * HOUR_S + 600, "is not past yet"),
    ],
)
def test_an_instant_without_an_answer_is_refused(at_s: int, says: str) -> None:
    """Before the cohort, now, and the future: one sentence each."""
    with pytest.raises(InstantNotKnown, match=says):
        asked(a_day(), at_s)


def test_what_a_dark_zone_may_still_tell_is_not_answered() -> None:
    """While a zone is unknown, only instants up to which it is known have a final answer."""
    harness = a_day()
    harness.cloud.answers = {ZONE: unknown}
    harness.run(7200)
    known_s = T0 + 5 * HOUR_S + 600
    assert asked(harness, known_s).as_of_s == known_s
    with pytest.raises(InstantNotKnown, match="fr-par-2 is known only until"):
        asked(harness, known_s + 1)
    harness.cloud.answers = {}
    harness.run(600)
    assert asked(harness, known_s + 1).startups[0].balance.accrued_ucr > 0


def test_a_run_without_a_price_is_not_answered() -> None:
    """What ran without an accepted price will cost something: until then it is refused."""
    harness = Harness()
    harness.cloud.add(replace(server(), commercial_type="NEW-8-80G"))
    harness.cloud.offers_of[ZONE] = (offer(None, "NEW-8-80G"),)
    harness.run()
    harness.run(600)
    with pytest.raises(InstantNotKnown, match="without an accepted price"):
        asked(harness, T0 + 300)
    assert asked(harness, T0).through_id == 1


def test_no_program_no_answer() -> None:
    """An empty book says what to do."""
    with pytest.raises(InstantNotKnown, match="cohortd apply"):
        read_book_at(Book.in_memory(), 5, 10)


def test_the_past_is_what_the_book_said_then() -> None:
    """With a hold, and with a tranche to come: amount by amount, and the runway."""
    played = Books()
    played.begin(mode="shadow")
    played.starts(name="birch")
    played.holds(name="acme", amount=7_000_000, lasts_s=2 * 86_400)
    played.hours_pass(hours=4)
    with played.harness.book.reading() as connection:
        _, program = read_program(connection)
        assert program is not None
        then = {n: read_balance(connection, program, n, played.now_s) for n in ("acme", "birch")}
    assert then["acme"].held_ucr == 7_000_000 and then["birch"].later_ucr > 0
    at_s = played.now_s
    played.time_passes(after_s=6 * 86_400, is_dark=False)
    past = {s.balance.startup: s.balance for s in asked(played.harness, at_s).startups}
    names = ("posted", "accrued", "held", "reserve", "later", "available")
    for name, stood in then.items():
        for amount in (f"{each}_ucr" for each in names):
            assert getattr(past[name], amount) == getattr(stood, amount), (name, amount)
        assert past[name].exhausted_s == stood.exhausted_s
    played.harness.book.close()
