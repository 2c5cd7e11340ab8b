"""Acknowledging and snoozing notices on the command line: once, within bounds, recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quotas.book import Book
from quotas.book.actions import notices
from quotas.book.cycle.commit import apply_program, commit
from quotas.book.cycle.state import load_state
from scheduler.clock import SystemClock
from tests.builders import a_notice
from tests.quotas.book.book_builders import digest, lease_of, result_of
from tests.scheduler.jobs.test_deliver import told

from .command import environment, run_in_process


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A book with one open notice to acme about s1, due an hour from now."""
    now_s = SystemClock().now_s()
    changes = {"rule": "limit", "opened_s": now_s, "deadline_s": now_s + 3600}
    book = Book.open(tmp_path)
    apply_program(book, told(), now_s, "tests")
    notice = a_notice(id=None, **changes)
    commit(book, result_of(transfers=[], notices=[notice]), lease_of(book, now_s=now_s), now_s)
    book.close()
    return tmp_path


def first(state: Path) -> Any:
    """The first notice that the command lists."""
    return run_in_process("notice", "list", "--state", state, "--json").json[0]


def test_a_notice_is_acknowledged_once(state: Path) -> None:
    """The first acknowledgement stays, with its author; a second one changes nothing."""
    number = first(state)["id"]
    env = environment(USER="ann", SUDO_USER="")
    ran = run_in_process("notice", "ack", number, "--state", state, "--json", env=env)
    assert ran.code == 0 and ran.json["acknowledged_by"] == "ann"
    book = Book.open_existing(state)
    before = digest(book)
    again = run_in_process("notice", "ack", number, "--state", state, env=environment(USER="bob"))
    assert again.code == 0 and "acknowledged by ann" in again.out
    assert digest(book) == before
    assert "ann acknowledged notice" in run_in_process("explain", "acme", "--state", state).out


def test_a_snooze_moves_the_deadline_later_within_its_bounds(state: Path) -> None:
    """Two hours may be taken in all: 90 minutes, not 31 more, but 30; both are recorded."""
    number, due = first(state)["id"], load_state(Book.open_existing(state)).notices[0].deadline_s
    args = ["notice", "snooze", number, "--reason", "demo", "--state", state, "--for"]
    assert run_in_process(*args, "90m").code == 0
    refused = run_in_process(*args, "31m")
    assert refused.code == 1 and "00:30:00 are left" in refused.sentence
    assert run_in_process(*args, "30m").code == 0
    assert load_state(Book.open_existing(state)).notices[0].deadline_s == due + 7200
    assert run_in_process(*args, "1m").code == 1
    kinds = [sent["kind"] for sent in first(state)["messages"]]
    assert kinds.count("snoozed") == 4
    assert (
        "moved the deadline by 00:30:00" in run_in_process("explain", "acme", "--state", state).out
    )


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        pytest.param(
            ["ack", "99"], 1, "no notice 99 is in the book", id="the acknowledged notice is unknown"
        ),
        pytest.param(
            ["snooze", "99", "--for", "1h", "--reason", "x"],
            1,
            "no notice 99",
            id="the snoozed notice is unknown",
        ),
        pytest.param(
            ["snooze", "1", "--for", "soon", "--reason", "x"],
            2,
            "is not a duration",
            id="the duration cannot be read",
        ),
        pytest.param(
            ["snooze", "1", "--for", "1h", "--reason", " "],
            2,
            "--reason is one line",
            id="the reason is blank",
        ),
        pytest.param(
            ["snooze", "1", "--for", "1s", "--reason", "x"],
            1,
            "out of bounds",
            id="the snooze is too short",
        ),
        pytest.param(["test", "nobody"], 1, "no startup 'nobody'", id="the startup is unknown"),
    ],
)
def test_a_refused_answer_changes_nothing(
    state: Path, arguments: list[str], code: int, sentence: str
) -> None:
    """A refusal is one sentence with the exit code of its kind, and writes no row (I24)."""
    book = Book.open_existing(state)
    before = digest(book)
    ran = run_in_process("notice", *arguments, "--state", state)
    assert ran.code == code and sentence in ran.sentence
    assert digest(book) == before


def test_a_test_notice_reaches_every_channel_and_its_answer_is_kept(state: Path) -> None:
    """`tested` is None until somebody acknowledges, and that instant afterwards."""
    book = Book.open_existing(state)
    ran = run_in_process("notice", "test", "acme", "--state", state, "--json")
    assert ran.code == 0 and notices.last_tested_s(book, "acme") is None
    found = {
        row["id"]: row for row in run_in_process("notice", "list", "--state", state, "--json").json
    }
    sent = found[ran.json["id"]]["messages"]
    assert [each["to"] for each in sent] == ["cto@example.com", "ops@example.com"]
    assert run_in_process("notice", "ack", ran.json["id"], "--state", state).code == 0
    assert notices.last_tested_s(book, "acme") == load_acknowledged(book, ran.json["id"])
    assert notices.last_tested_s(book, "birch") is None


def load_acknowledged(book: Book, number: int) -> int:
    """The instant of a notice's acknowledgement, from its row."""
    with book.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT acknowledged_s FROM notice WHERE id = ?", (number,)
        )
        return int(rows.scalar_one())


def test_a_startups_webhook_secret_is_shown_to_the_operator(state: Path) -> None:
    """The webhook secret is stable and differs by startup; without a setting there is none."""
    env = environment(COHORTD_WEBHOOK_SECRET="0123456789abcdef")
    acme = run_in_process("notice", "secret", "acme", env=env).out
    assert acme == run_in_process("notice", "secret", "acme", env=env).out
    assert acme != run_in_process("notice", "secret", "birch", env=env).out and len(acme) == 65
    assert run_in_process("notice", "secret", "acme").code == 2


def test_status_shows_what_was_not_sent_and_what_was_given_up(state: Path) -> None:
    """A due, unsent message is counted with its age; a dead letter stays visible."""
    before = run_in_process("status", "--state", state, "--json").json["messages"]
    assert before == {"unsent": 0, "unsent_since": None, "failed": 0}
    assert run_in_process("notice", "test", "acme", "--state", state).code == 0
    book = Book.open_existing(state)
    with book.writing() as connection:
        connection.exec_driver_sql("UPDATE outbox SET state = 'failed' WHERE audience = 'operator'")
    found = run_in_process("status", "--state", state, "--json").json["messages"]
    assert (found["unsent"], found["failed"]) == (1, 1) and found["unsent_since"] is not None
    assert "1 due and not sent, 1 given up" in run_in_process("status", "--state", state).out
