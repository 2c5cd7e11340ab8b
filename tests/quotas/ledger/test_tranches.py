"""The parts of a grant, to the micro-credit and to the second."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.tranches import belongs_to, milestones, monthly, parts
from quotas.model.program import Grant, Program, Rollover, Tranche
from quotas.model.units import parse_instant
from tests.quotas.config.test_load import good

PARIS = ZoneInfo("Europe/Paris")

MONTHS: dict[str, tuple[str, str, list[str]]] = {
    "month starts are local midnights, one hour before UTC's in winter, two in summer": (
        "2027-02-10T00:00:00+01:00",
        "2027-05-01T00:00:00+02:00",
        ["2027-02-28T23:00:00Z", "2027-03-31T22:00:00Z"],
    ),
    "back to winter time at the end of October": (
        "2027-10-15T00:00:00+02:00",
        "2027-12-01T00:00:01+01:00",
        ["2027-10-31T23:00:00Z", "2027-11-30T23:00:00Z"],
    ),
    "29 February has its own day, and March its start": (
        "2028-02-29T00:00:00+01:00",
        "2028-03-02T00:00:00+01:00",
        ["2028-02-29T23:00:00Z"],
    ),
    "a start on the first is not counted twice, an end on the first not at all": (
        "2027-01-01T00:00:00+01:00",
        "2027-03-01T00:00:00+01:00",
        ["2027-01-31T23:00:00Z"],
    ),
    "a UTC month end is no local one": (
        "2027-01-31T22:59:59Z",
        "2027-02-01T00:00:00Z",
        ["2027-01-31T23:00:00Z"],
    ),
    "within a month there is one part": ("2027-01-05T00:00:00Z", "2027-01-20T00:00:00Z", []),
}


@pytest.mark.parametrize("claim", MONTHS)
def test_monthly_tranches_begin_at_local_month_starts(claim: str) -> None:
    """At the grant's start, and at each month start in the program's timezone before its end."""
    start, end, months = MONTHS[claim]
    found = monthly(1_000, parse_instant(start), parse_instant(end), PARIS)
    expected = [parse_instant(start), *map(parse_instant, months)]
    assert [tranche.effective_s for tranche in found] == expected


@given(st.integers(1, 2**62), st.integers(0, 40 * 10**6))
def test_monthly_parts_sum_to_the_whole(amount_ucr: int, length_s: int) -> None:
    """The last takes the remainder; the others are equal."""
    found = [
        t.amount_ucr for t in monthly(amount_ucr, 1_800_000_000, 1_800_000_001 + length_s, PARIS)
    ]
    assert sum(found) == amount_ucr
    assert len(set(found[:-1])) <= 1
    assert 0 <= found[-1] - found[0] < len(found)


def a_tranched(rollover: Rollover | None) -> Grant:
    """Three parts of ten at 0, 100 and 200, to 300."""
    tranches = tuple(Tranche(10, at_s) for at_s in (0, 100, 200))
    return Grant("g", 30, 0, 300, tranches=tranches, rollover=rollover)


@pytest.mark.parametrize(
    ("rollover", "ends", "next_ones"),
    [
        (None, [300, 300, 300], [None, None, None]),
        (Rollover(0), [100, 200, 300], ["g/2", "g/3", None]),
        (Rollover(500_000), [100, 200, 300], ["g/2", "g/3", None]),
    ],
)
def test_the_rollover_says_when_a_part_ends(
    rollover: Rollover | None, ends: list[int], next_ones: list[str | None]
) -> None:
    """All: with the grant. Any other: when the next one begins, which gets what is kept."""
    found = parts(a_tranched(rollover))
    assert [part.id for part in found] == ["g/1", "g/2", "g/3"]
    assert [part.expires_s for part in found] == ends
    assert [part.rolls_to for part in found] == next_ones


@pytest.mark.parametrize(
    ("rollover", "left_ucr", "kept_ucr"),
    [
        (Rollover(0), 7, 0),
        (Rollover(500_000), 7, 3),
        (Rollover(1_000_000, 5), 7, 5),
        (Rollover(1_000_000, 5), 4, 4),
        (Rollover(333_333), 2**62, 2**62 * 333_333 // 10**6),
    ],
)
def test_what_is_kept_is_rounded_down(rollover: Rollover, left_ucr: int, kept_ucr: int) -> None:
    """A share of what is left, or at most an amount, in integers."""
    assert rollover.allowed_ucr(left_ucr) == kept_ucr


def test_milestones_are_no_parts_until_they_are_confirmed() -> None:
    """They keep their place in the numbering."""
    grant = Grant("g", 3, 0, 9, tranches=(Tranche(1, None, "a"), Tranche(2, None, "b", 5)))
    assert parts(grant) == ()
    assert milestones(grant)["b"] == ("g/2", Tranche(2, None, "b", 5))


@pytest.mark.parametrize(
    ("part", "name", "belongs"),
    [
        ("g/1", "g", True),
        ("g/1.7", "g", True),
        ("g/1.7", "g/1", True),
        ("g/11", "g/1", False),
        ("g.7", "g", False),
        ("g2", "g", False),
    ],
)
def test_a_name_means_its_parts(part: str, name: str, belongs: bool) -> None:
    """A grant is all its tranches, a tranche what was advanced from it too; not its namesakes."""
    assert belongs_to(part, name) is belongs


def tranched(text: str) -> Program:
    """The good file with these tranches for acme."""
    return good('tranches = "none"', text)


def test_a_program_with_tranches_is_read_back_from_the_book() -> None:
    """JSON and back gives the same program, tranches, rollover and milestones among it."""
    for text in (
        'tranches = "monthly", rollover = { credits = "5" }',
        'tranches = [{ milestone = "demo", credits = "60000", by = 2027-03-01 }]',
        'tranches = [{ at = 2027-01-05, credits = "60000" }], rollover = { share = "0.25" }',
    ):
        program = tranched(text)
        assert Program.from_json(program.to_json()) == program
