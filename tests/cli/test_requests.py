"""Requests on the command line: each opens once, shows its place, or is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from quotas.book.cycle.commit import apply_program
from quotas.book.schema.tables import OFFER, REQUEST, RUN
from quotas.book.session import Book
from quotas.model.observation import Offer
from quotas.model.program import Pool
from tests.builders import (
    BIG_FLAVOR,
    BIG_TYPE,
    FLAVOR,
    RATE,
    TYPE,
    Z,
    a_grant,
    a_program,
    a_run,
    a_startup,
)
from tests.cli.command import CommandResult, run_in_process
from tests.quotas.book.book_builders import digest

HOUR_S = 3_600
START_S = int(time.time()) // HOUR_S * HOUR_S - 48 * HOUR_S
END_S = START_S + 100 * 24 * HOUR_S


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Acme runs 8 of the pool's 8 GPUs in servers of 2; 4 of them are birch's nominal quota."""
    term = {"effective_s": START_S, "expires_s": END_S}
    acme, birch = (
        a_startup(
            name,
            nominal={"h100": 4},
            limit={"h100": 8},
            flavors={"h100": (BIG_FLAVOR,)},
            grants=(a_grant(f"{name}-1", 10**10, **term),),
        )
        for name in ("acme", "birch")
    )
    pool = Pool("h100", ((0, 8),), flavors=(FLAVOR, BIG_FLAVOR))
    book = Book.open(tmp_path)
    program = a_program(acme, birch, pools=(pool,), starts_s=START_S, ends_s=END_S)
    apply_program(book, program, START_S, "tests")
    with book.writing() as connection:
        for kind, gpus in ((TYPE, 1), (BIG_TYPE, 2)):
            sold = Offer(Z, kind, gpus, RATE, 0)
            row = {"flavor": sold.flavor, "gpus": gpus, "scratch_bytes": 0}
            connection.execute(OFFER.insert().values(**row))
        for number in range(4):
            run = a_run(f"s{number}", START_S, flavor=BIG_FLAVOR, gpus=2)
            values = {name: getattr(run, name) for name in run.__slots__}
            connection.execute(RUN.insert().values(**values))
    book.close()
    return tmp_path


def ask(state: Path, *words: object) -> CommandResult:
    """Run `cohortd request` with these arguments on this book."""
    return run_in_process("request", *words, "--state", state)


def test_a_start_that_was_refused_for_quota_is_said(state: Path) -> None:
    """With --refused-for quota the request says so in both forms; other reasons are refused."""
    ran = ask(state, "birch", "h100", 4, "--for", "2h", "--refused-for", "quota", "--json")
    assert ran.code == 0 and ran.json["refused_for"] == "quota"
    with Book.open_existing(state).reading() as connection:
        (row,) = connection.execute(REQUEST.select()).mappings()
    assert row["quota_gpus"] == 8, "what runs in the pool when it is said"
    plain = ask(state, "birch", "h100", 4, "--for", "2h", "--json")
    assert plain.json["refused_for"] is None
    other = ask(state, "acme", "h100", 4, "--for", "2h", "--refused-for", "luck")
    assert other.code == 1 and "only 'quota' is said here" in other.sentence


def test_a_request_opens_and_stands_in_line(state: Path) -> None:
    """The answer shows place and obstacle in text and JSON, and status shows the request."""
    ran = ask(state, "birch", "h100", 4, "--for", "2h", "--reason", "a deadline")
    assert ran.code == 0, ran.err
    assert "request 1: birch asks for 4 GPUs of h100 for 2h; place 1 of 1" in ran.out
    (line,) = ask(state, "list", "--json").json["requests"]
    assert (line["id"], line["startup"], line["gpus"], line["state"]) == (1, "birch", 4, "open")
    assert (line["position"], line["waits_for"], line["reason"]) == (1, "capacity", "a deadline")
    status = run_in_process("status", "--state", state, "--json").json
    assert status["requests"] == [line]
    (birch,) = [s for s in status["shares"] if s["startup"] == "birch"]
    assert (birch["demand"], birch["share"], birch["usage"]) == (4, 4, 0)


def test_options_may_come_first_and_open_may_be_written(state: Path) -> None:
    """`--for` before the startup, or the word `open`, makes the same request."""
    first = ask(state, "--for", "2h", "birch", "h100", 2, "--json")
    second = ask(state, "open", "birch", "h100", 2, "--for", "2h", "--json")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert [first.json["id"], second.json["id"]] == [1, 2]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(
            ("ghost", "h100", 2, "--for", "1h"),
            1,
            "ghost is no startup of the program",
            id="the startup is unknown",
        ),
        pytest.param(
            ("birch", "b300", 2, "--for", "1h"),
            1,
            "pool b300 is not in the program",
            id="the pool is unknown",
        ),
        pytest.param(
            ("birch", "h100", 3, "--for", "1h"),
            1,
            "3 GPUs is no multiple of 2",
            id="the GPUs are no whole servers",
        ),
        pytest.param(
            ("birch", "h100", 10, "--for", "1h"),
            1,
            "more than birch's limit of 8 in h100",
            id="the GPUs are above the limit",
        ),
        pytest.param(
            ("birch", "h100", -2, "--for", "1h"),
            1,
            "-2 GPUs is not above 0",
            id="the GPUs are negative",
        ),
        pytest.param(
            ("birch", "h100", 2, "--for", "200d"),
            1,
            "is beyond the end of the cohort at",
            id="the time is beyond the cohort",
        ),
        pytest.param(
            ("birch", "h100", 2, "--for", "soon"),
            2,
            "--for 'soon' is not a duration",
            id="the duration cannot be read",
        ),
        pytest.param(
            ("birch", "h100", 2, "--for", "1h", "--reason", ""),
            2,
            "--reason is one line",
            id="the reason is empty",
        ),
        pytest.param(
            ("withdraw", 7),
            1,
            "there is no request 7; 'cohortd request list' shows them",
            id="the withdrawn request is unknown",
        ),
    ],
)
def test_a_refusal_is_one_sentence_and_changes_nothing(
    state: Path, words: tuple[object, ...], code: int, says: str
) -> None:
    """I24: exit 1 if the program refuses, 2 if an argument cannot be read; no row is written."""
    before = digest(Book.open_existing(state))
    ran = ask(state, *words)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert digest(Book.open_existing(state)) == before


def test_dry_run_writes_nothing(state: Path) -> None:
    """A dry run checks and shows the request, and does not change the book."""
    before = digest(Book.open_existing(state))
    ran = ask(state, "birch", "h100", 4, "--for", "2h", "--dry-run")
    assert (ran.code, ran.out[:9]) == (0, "would ask")
    assert digest(Book.open_existing(state)) == before


def test_a_key_opens_one_request(state: Path) -> None:
    """The same key and arguments repeat the answer; other arguments are refused."""
    words = ("birch", "h100", 4, "--for", "2h", "--key", "k1", "--json")
    assert [ask(state, *words).json["id"] for _ in range(2)] == [1, 1]
    other = ask(state, "birch", "h100", 2, "--for", "2h", "--key", "k1")
    assert (other.code, "choose a new key" in other.err) == (1, True)


def test_a_request_is_withdrawn_once(state: Path) -> None:
    """A withdrawn request leaves the queue at once, stays listed, and is not withdrawn twice."""
    ask(state, "birch", "h100", 4, "--for", "2h")
    assert ask(state, "withdraw", 1).code == 0
    assert "no request is open" in ask(state, "list").out
    (line,) = ask(state, "list", "--all", "--json").json["requests"]
    assert line["state"] == "withdrawn"
    again = ask(state, "withdraw", 1)
    assert (again.code, "is withdrawn already" in again.err) == (1, True)
