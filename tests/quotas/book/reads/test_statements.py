"""A month is closed once, adds up exactly and carries over; a changed one is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, VoidCommand
from quotas.book.actions.refunds import RefundCommand
from quotas.book.reads.statements import close_months, read_statements
from quotas.book.verify.verify import verify
from quotas.model.units import format_instant
from tests.builders import unknown
from tests.quotas.book.book_builders import digest, thaw
from tests.scheduler import harness as rigs
from tests.scheduler.harness import RATE, ZONE, Harness, server

HOUR_S = 3600


def utc_s(*moment: int) -> int:
    """Seconds of a UTC moment."""
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type]  # y, m, d, …


def from_to(start_s: int, end_s: int) -> Harness:
    """A cohort of a Paris program, with a server that runs from its first second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rigs, "T0", start_s)
        patch.setattr(rigs, "END", end_s)
        harness = Harness(replace(rigs.program(credits=100_000), timezone="Europe/Paris"))
    harness.clock.move_to(start_s)
    harness.cloud.add(server(since_s=start_s))
    harness.run()
    return harness


def months(harness: Harness, until_s: int, startup: str = "acme") -> list[dict[str, Any]]:
    """The statements of a startup, to the month of an instant."""
    with harness.book.reading() as connection:
        return list(read_statements(connection, startup, until_s, None))


def adds_up(statements: list[dict[str, Any]]) -> bool:
    """Opening and lines are the closing, and that is the next one's opening."""
    carried = Decimal(0)
    for found in statements:
        lines = sum((Decimal(line["amount"]) for line in found["lines"]), Decimal(0))
        if (Decimal(found["opening"]), Decimal(found["closing"])) != (carried, carried + lines):
            return False
        carried += lines
    return True


@pytest.mark.parametrize(
    "turn_s",
    [
        utc_s(2027, 3, 1),
        utc_s(2028, 3, 1),
        utc_s(2027, 4, 1),
        utc_s(2027, 11, 1),
        utc_s(2028, 1, 1),
    ],
    ids=["february", "29 february", "spring forward", "fall back", "year"],
)
def test_a_month_ends_in_utc(turn_s: int) -> None:
    """The charge is cut at midnight UTC; each side's seconds are in their own month."""
    harness = from_to(turn_s - 5 * HOUR_S, turn_s + 30 * HOUR_S)
    harness.run_until(turn_s + 3 * HOUR_S, 1700)
    before, after = months(harness, turn_s)
    assert (before["closed"] is not None, after["closed"]) == (True, None)
    lines = [[x for x in month["lines"] if x["kind"] == "charge"] for month in (before, after)]
    assert [line["seconds"] for line in lines[0]] == [5 * HOUR_S]
    assert Decimal(lines[0][0]["cost"]) == Decimal(RATE) * 5 / 1_000_000
    assert sum(line["seconds"] for line in lines[1]) > 0
    assert adds_up([before, after])
    assert verify(harness.book).fault is None


@pytest.mark.parametrize(
    "turn_s", [utc_s(2027, 3, 28, 1), utc_s(2027, 10, 31, 1)], ids=["spring forward", "fall back"]
)
def test_a_clock_change_adds_and_takes_no_second(turn_s: int) -> None:
    """In Paris the hour is skipped or comes twice; what ran is charged once, in UTC seconds."""
    harness = from_to(turn_s - 3 * HOUR_S, turn_s + 30 * HOUR_S)
    harness.run_until(turn_s + 3 * HOUR_S, 1700)
    harness.run_until(turn_s + 6 * HOUR_S, HOUR_S)
    (month,) = months(harness, turn_s)
    (line,) = [line for line in month["lines"] if line["kind"] == "charge"]
    assert (line["seconds"], line["until"]) == (9 * HOUR_S, format_instant(turn_s + 6 * HOUR_S))
    assert Decimal(line["cost"]) == Decimal(RATE) * 9 / 1_000_000


def test_the_29th_of_february_is_in_february() -> None:
    """All of its 24 hours, and no second of March."""
    harness = from_to(utc_s(2028, 2, 28, 22), utc_s(2028, 3, 9))
    harness.run_until(utc_s(2028, 3, 1, 2), 5 * HOUR_S)
    february = months(harness, utc_s(2028, 2, 29))[0]
    assert (february["month"], february["closed"] is None) == ("2028-02", False)
    (line,) = [line for line in february["lines"] if line["kind"] == "charge"]
    assert (line["seconds"], line["until"]) == (26 * HOUR_S, "2028-03-01T00:00:00Z")


def test_a_closed_month_never_changes() -> None:
    """A refund of a closed month is a late line of the open one, with who and why."""
    turn_s = utc_s(2027, 3, 1)
    harness = from_to(turn_s - 5 * HOUR_S, turn_s + 90 * 24 * HOUR_S)
    harness.run_until(turn_s + 2 * HOUR_S, 1000)
    closed = months(harness, turn_s)[0]
    refund = RefundCommand(turn_s - HOUR_S, turn_s, startup="acme")
    perform_action(harness.book, OperatorAction(refund, "outage", "ann", harness.clock.now_s()))
    backdated = GrantCommand("acme", "older", 7_000_000, effective_s=turn_s - 2 * HOUR_S)
    perform_action(
        harness.book, OperatorAction(backdated, "forgotten", "bob", harness.clock.now_s())
    )
    harness.run_until(utc_s(2027, 4, 1) + HOUR_S, 24 * HOUR_S)
    first, second, third = months(harness, harness.clock.now_s())
    assert first == closed and second["carried_from"] == first["hash"]
    others = {line["kind"]: line for line in second["lines"] if line["kind"] != "charge"}
    assert (others["grant"]["late"], others["grant"]["by"]) == (True, "bob")
    assert (others["refund"]["by"], others["refund"]["reason"]) == ("ann", "outage")
    assert third["closed"] is None and adds_up([first, second, third])
    assert verify(harness.book).fault is None


def test_no_month_closes_before_every_zone_is_known_past_it() -> None:
    """While a zone is dark the month stays open; it closes with the cycle that knows."""
    turn_s = utc_s(2027, 3, 1)
    harness = from_to(turn_s - HOUR_S, turn_s + 30 * HOUR_S)
    harness.cloud.answers = {ZONE: unknown}
    harness.run(5 * HOUR_S)
    assert [month["closed"] for month in months(harness, turn_s - 1)] == [None]
    harness.cloud.answers = {}
    harness.run(600)
    assert months(harness, turn_s - 1)[0]["closed"] is not None
    before = digest(harness.book)
    with harness.book.writing() as connection:
        assert close_months(connection, harness.clock.now_s(), harness.clock.now_s()) == 0
    assert digest(harness.book) == before


def test_what_moves_a_later_grant_counts_with_it() -> None:
    """A grant is a line of the month in which it may be spent; so is its void before that."""
    turn_s = utc_s(2027, 3, 1)
    harness = from_to(turn_s - HOUR_S, turn_s + 90 * 24 * HOUR_S)
    later = GrantCommand("acme", "later", 7_000_000, effective_s=turn_s + HOUR_S)
    perform_action(harness.book, OperatorAction(later, "r", "ann", harness.clock.now_s()))
    perform_action(
        harness.book,
        OperatorAction(VoidCommand("acme", "later"), "r", "ann", harness.clock.now_s()),
    )
    harness.run_until(turn_s + 2 * HOUR_S, 600)
    first, second = months(harness, turn_s)
    assert "void" not in [line["kind"] for line in first["lines"]]
    assert [line["kind"] for line in second["lines"][:2]] == ["grant", "void"]
    assert adds_up([first, second])


def closed_book() -> Harness:
    """A book with one closed month and a few hours more."""
    turn_s = utc_s(2027, 3, 1)
    harness = from_to(turn_s - 3 * HOUR_S, turn_s + 30 * HOUR_S)
    harness.run_until(turn_s + 2 * HOUR_S, 1200)
    return harness


def test_a_statement_cannot_be_changed_or_deleted() -> None:
    """The database itself refuses."""
    harness = closed_book()
    for forgery in (
        "UPDATE statement SET body = ''",
        "DELETE FROM statement",
        "DELETE FROM chain_head",
    ):
        with (
            pytest.raises(DatabaseError, match="append-only"),
            harness.book.writing() as connection,
        ):
            connection.execute(text(forgery))


@pytest.mark.parametrize(
    "change",
    [
        'body = replace(body, \'"charged":"75\', \'"charged":"76\')',
        "hash = replace(hash, substr(hash, 1, 1), 'x')",
        "month = '2027-01'",
        "startup = 'birch'",
        "through_id = through_id - 1",
        "through_id = 9999",
        "closed_s = closed_s + 1",
    ],
)
def test_a_forged_statement_is_found(change: str) -> None:
    """Verify recomputes it from the entries, and names it."""
    harness = closed_book()
    assert verify(harness.book).fault is None
    thaw(harness.book)
    with harness.book.writing() as connection:
        connection.execute(text(f"UPDATE statement SET {change}"))
    assert "statement of" in (verify(harness.book).fault or "")
