"""Prices on the command line: the rate in force is shown, changed once, or refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from quotas.book.cycle.catalogues import save_catalogue
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.lease import seize
from quotas.book.cycle.state import load_state
from quotas.book.schema.tables import RUN
from quotas.book.session import Book
from quotas.book.transfers import post
from quotas.ledger.transfers import charge_transfer
from quotas.model.observation import Offer
from quotas.model.units import Period, format_instant
from tests.builders import FLAVOR, TYPE, Z, a_grant, a_program, a_run, a_startup
from tests.cli.command import CommandResult, environment, run_in_process
from tests.quotas.book.book_builders import amounts, digest

HOUR_S = 3_600
START_S = int(time.time()) // HOUR_S * HOUR_S - 48 * HOUR_S
END_S = START_S + 100 * 24 * HOUR_S
RATE = 3_600_000
WHY = ("--reason", "because")
FROM = format_instant(START_S + HOUR_S // 2)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A book in which acme's s1 was charged 2 hours at the listed 3.60."""
    grant = a_grant("g1", 100_000_000, effective_s=START_S, expires_s=END_S)
    book = Book.open(tmp_path)
    whole = a_program(
        a_startup("acme", grants=(grant,)), a_startup("birch"), starts_s=START_S, ends_s=END_S
    )
    apply_program(book, whole, START_S, "tests")
    offer = Offer(Z, TYPE, 1, RATE, 0)
    save_catalogue(book, seize(book, "tests", START_S, 60), [offer], START_S)
    run = a_run(start_s=START_S, rate_ucr_per_h=RATE)
    with book.writing() as connection:
        values = {name: getattr(run, name) for name in run.__slots__}
        done = {**values, "end_s": START_S + 2 * HOUR_S, "posted_until_s": START_S + 2 * HOUR_S}
        connection.execute(RUN.insert().values(**done))
    for hour in range(2):
        period = Period(START_S + hour * HOUR_S, START_S + (hour + 1) * HOUR_S)
        made = charge_transfer("spring", run, period, load_state(book).grants)
        assert made is not None
        with book.writing() as connection:
            post(connection, [made], recorded_s=period.end_s, epoch=1, actor="cohortd")
    book.close()
    return tmp_path


def on(state: Path, *words: object) -> CommandResult:
    """Run a command on the book as olga."""
    return run_in_process(*words, "--state", state, env=environment(USER="olga", SUDO_USER=""))


def accept(state: Path, rate: str, *more: object, from_: str = FROM) -> CommandResult:
    """Accept a rate of the flavor from half an hour after the start."""
    return on(state, "price", "accept", FLAVOR, rate, "--from", from_, *WHY, *more)


def in_book(state: Path) -> tuple[dict[str, int], str]:
    """Balances by account, and the digest of every row."""
    book = Book.open_existing(state)
    try:
        return amounts(book), digest(book)
    finally:
        book.close()


def listed(state: Path, *more: object) -> Any:
    """The rows of `price list`."""
    return on(state, "price", "list", "--json", *more).json


def test_a_cheaper_price_from_the_past_goes_back_to_the_grants(state: Path) -> None:
    """1.80 for the last 90 of 120 minutes refunds 2.70 once, exactly as previewed."""
    before = in_book(state)[1]
    shown = accept(state, "1.80", "--dry-run", "--json")
    assert (shown.code, in_book(state)[1]) == (0, before)
    acme = shown.json["startups"]["acme"]
    assert (acme["seconds"], acme["old"], acme["new"]) == (5_400, "5.40", "2.70")
    assert (acme["difference"], acme["posted"]) == ("-2.70", "-2.70")
    done = accept(state, "1.80", "--json")
    assert {**done.json, "dry_run": True} == shown.json
    balances, after = in_book(state)
    assert balances["usage:acme"] == 4_500_000 and balances["grant:acme:g1"] == 95_500_000
    again = accept(state, "1.80")
    assert again.code == 1 and "nothing is left to correct" in again.sentence
    assert in_book(state)[1] == after
    assert on(state, "verify", "--json").json["ok"]


def test_a_dearer_price_from_the_past_is_the_sponsors_by_default(state: Path) -> None:
    """A higher price keeps the startup's charge; 1.5 hours of 1.80 go to price-difference."""
    done = accept(state, "5.40", "--json").json
    assert done["startups"]["acme"]["posted"] == "0.00" and done["price_difference"] == "2.70"
    balances, _ = in_book(state)
    assert balances["usage:acme"] == 7_200_000
    assert balances["price-difference:spring"] == -2_700_000
    assert balances["provider:spring"] == 2_700_000


def test_a_dearer_price_is_drawn_from_grants_only_when_told_so(state: Path) -> None:
    """--to startup charges the startup the difference that the sponsor had borne."""
    accept(state, "5.40")
    done = accept(state, "5.40", "--to", "startup", "--json").json
    assert done["startups"]["acme"]["posted"] == "2.70" and done["price_difference"] == "-2.70"
    balances, _ = in_book(state)
    assert balances["grant:acme:g1"] == 100_000_000 - 9_900_000
    assert balances["price-difference:spring"] == balances["provider:spring"] == 0
    assert on(state, "verify", "--json").json["ok"]


def test_refund_and_correction_in_either_order_return_what_was_paid(state: Path) -> None:
    """A refund after a correction refunds all; a correction after a refund corrects nothing."""
    window = ("--from", format_instant(START_S), "--to", format_instant(START_S + HOUR_S))
    on(state, "refund", "--server", "s1", *window, *WHY)
    half = accept(state, "1.80", "--json").json["startups"]["acme"]
    assert (half["seconds"], half["posted"]) == (HOUR_S, "-1.80")
    rest = ("--from", format_instant(START_S), "--to", format_instant(END_S))
    refund = on(state, "refund", "--startup", "acme", *rest, *WHY, "--json").json
    assert refund["refunded"] == "1.80"
    balances, _ = in_book(state)
    assert balances["usage:acme"] == 0 and balances["grant:acme:g1"] == 100_000_000
    assert on(state, "verify", "--json").json["ok"]


def test_a_price_from_the_future_changes_nothing_that_is_charged(state: Path) -> None:
    """A future price is planned, listed beside the rate in force, and used from its instant."""
    tomorrow = format_instant(END_S)
    assert accept(state, "3.00", from_=tomorrow).code == 0
    (row,) = listed(state)
    assert (row["credits_per_hour"], row["source"]) == ("3.60", "catalogue")
    assert row["planned"] == [{"credits_per_hour": "3.00", "from": tomorrow}]
    (later,) = listed(state, "--as-of", format_instant(END_S + 1))
    assert (later["credits_per_hour"], later["source"], later["since"]) == (
        "3.00",
        "olga",
        tomorrow,
    )
    assert (later["listed"], later["differs"]) == ("3.60", True)
    assert "listed at 3.60" in on(state, "price", "list", "--as-of", tomorrow).out


def test_as_of_answers_what_the_book_said_then(state: Path) -> None:
    """A correction of the past does not change what was known before it."""
    accept(state, "1.80")
    then = format_instant(START_S + HOUR_S)
    assert [row["credits_per_hour"] for row in listed(state, "--as-of", then)] == ["3.60"]
    assert [row["credits_per_hour"] for row in listed(state)] == ["1.80"]
    assert listed(state, "--as-of", format_instant(START_S - 1)) == []


def test_a_key_repeats_the_first_answer(state: Path) -> None:
    """A key repeats the answer of a correction, and is refused for another command."""
    for rate, from_, key in (("1.80", FROM, "k1"), ("2", format_instant(END_S), "k2")):
        first = accept(state, rate, "--key", key, "--json", from_=from_)
        before = in_book(state)[1]
        assert accept(state, rate, "--key", key, "--json", from_=from_).json == first.json
        other = on(state, "grant", "birch", "1", "--id", "b1", *WHY, "--key", key)
        assert other.code == 1 and "choose a new key" in other.sentence
        assert in_book(state)[1] == before


BAD: list[tuple[tuple[str, ...], int, str]] = [
    *(((FLAVOR, rate, "--from", FROM), 2, "the amount") for rate in ("0", "-1", "0.0000001")),
    *(((FLAVOR, rate, "--from", FROM), 2, "the amount") for rate in ("NaN", "x", "1e99")),
    (("H9@fr-par-2", "3", "--from", FROM), 1, f"known are {FLAVOR}"),
    ((FLAVOR, "7.21", "--from", FROM), 1, f"--confirm {FLAVOR}"),
    ((FLAVOR, "1.79", "--from", FROM), 1, f"--confirm {FLAVOR}"),
    ((FLAVOR, "7.21", "--from", FROM, "--confirm", "other"), 1, f"--confirm {FLAVOR}"),
    ((FLAVOR, "3.60", "--from", FROM), 1, "already"),
    ((FLAVOR, "3", "--from", "2001-01-01T00:00:00Z"), 1, "before any cohort"),
    ((FLAVOR, "3", "--from", "2027-01-01T00:00:00"), 2, "no zone"),
    ((FLAVOR, "3", "--from", FROM, "--to", "nobody"), 2, "--to"),
]


@pytest.mark.parametrize(("words", "code", "why"), BAD)
def test_a_bad_price_is_one_sentence_and_no_change(
    state: Path, words: tuple[str, ...], code: int, why: str
) -> None:
    """A refusal exits 1 or 2 with one line that says why and what to give, and changes no row."""
    before = in_book(state)[1]
    ended = on(state, "price", "accept", *words, *WHY)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.count("\n") == 1 and why in ended.err
    assert in_book(state)[1] == before


def test_a_price_far_from_the_last_needs_its_flavor_confirmed(state: Path) -> None:
    """With the flavor's own name in --confirm, the price is put in force."""
    assert accept(state, "10", "--confirm", FLAVOR, from_=format_instant(END_S)).code == 0
