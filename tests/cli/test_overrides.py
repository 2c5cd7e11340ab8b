"""Overrides on the command line: kept with a reason, listed, or refused with a fix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quotas.book import Book
from quotas.book.actions.notices import acknowledge, send_test_notice
from quotas.book.cycle.commit import apply_program
from quotas.state.overrides import shadow_start_s
from scheduler.clock import SystemClock
from tests.builders import YEAR_S, a_program, a_startup
from tests.cli.command import run_in_process


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A book with acme and birch in it."""
    book = Book.open(tmp_path)
    apply_program(book, a_program(), 0, "tests")
    book.close()
    return tmp_path


def test_words_are_kept_and_audited(state: Path) -> None:
    """The audit log has each action with actor, subject, reason, and the state before."""
    at = ("--state", state, "--reason", "fraud")
    assert run_in_process("level", "acme", "stopped", *at).code == 0
    assert run_in_process("level", "acme", "open", *at).code == 0
    assert run_in_process("freeze", *at, "--for", "2h").code == 0
    assert run_in_process("exempt", "birch", *at, "--for", "1d").code == 0
    assert run_in_process("maintenance", *at, "--for", "2h").code == 0
    actions = run_in_process("audit", "--state", state, "--json").json
    commands = [
        (operator_action["command"], operator_action["subject"])
        for operator_action in reversed(actions)
    ]
    assert ("apply", "") in commands
    assert ("exempt", "birch") in commands
    reopened = next(d for d in actions if d["command"] == "level" and d["after"] == "open")
    assert reopened["before"].startswith("stopped by")
    assert "fraud" in run_in_process("audit", "--state", state).out
    shown = run_in_process("status", "--state", state, "--json").json
    assert [override["kind"] for override in shown["overrides"]] == [
        "exempt",
        "freeze",
        "maintenance",
    ]
    assert "freeze: on until" in run_in_process("status", "--state", state).out


def test_a_freeze_can_be_ended(state: Path) -> None:
    """--end ends the override, and a second --end is refused."""
    at = ("--state", state, "--reason", "test")
    assert run_in_process("freeze", "acme", *at, "--for", "1d").code == 0
    assert run_in_process("freeze", "acme", *at, "--end").code == 0
    assert run_in_process("status", "--state", state, "--json").json["overrides"] == []
    assert run_in_process("freeze", "acme", *at, "--end").code == 1


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        pytest.param(
            ("level", "nobody", "closed", "--reason", "x"),
            1,
            "no startup of the program",
            id="the startup is unknown",
        ),
        pytest.param(
            ("level", "acme", "ajar", "--reason", "x"),
            2,
            "open, closed or stopped",
            id="the level is unknown",
        ),
        pytest.param(
            ("level", "acme", "closed", "--reason", " "),
            2,
            "--reason is one line",
            id="the reason is blank",
        ),
        pytest.param(
            ("exempt", "acme", "--reason", "x"), 2, "--for 2h", id="the duration is missing"
        ),
        pytest.param(
            ("exempt", "acme", "--reason", "x", "--for", "soon"),
            2,
            "not a duration",
            id="the duration cannot be read",
        ),
        pytest.param(
            ("exempt", "acme", "--reason", "x", "--for", "900d"),
            2,
            "give 1s to 366d",
            id="the duration is too long",
        ),
        pytest.param(
            ("exempt", "s9", "--reason", "x", "--for", "1d"),
            1,
            "no startup of the program",
            id="the server is unknown",
        ),
        pytest.param(("approve", "--reason", "x"), 2, "--all", id="no decision is named"),
        pytest.param(
            ("approve", "7", "--reason", "x"),
            1,
            "no such stop is deferred",
            id="the decision deferred no stop",
        ),
        pytest.param(
            ("approve", "--all", "--reason", "x"),
            1,
            "no such stop is deferred",
            id="no stop is deferred",
        ),
    ],
)
def test_refusals_name_the_fix_and_keep_nothing(
    state: Path, command: tuple[str, ...], code: int, says: str
) -> None:
    """A refusal is one sentence with its exit code, and writes no override (I24)."""
    ran = run_in_process(*command, "--state", state)
    assert (ran.code, says in ran.sentence) == (code, True), ran.sentence
    assert [d["command"] for d in run_in_process("audit", "--state", state, "--json").json] == [
        "apply"
    ]


def test_arming_wants_seven_days_of_shadow(tmp_path: Path) -> None:
    """arm is refused with the remaining wait; --force passes, and then overrides the file."""
    book = Book.open(tmp_path)
    now_s = SystemClock().now_s()
    apply_program(book, a_program(mode="shadow", ends_s=now_s + YEAR_S), now_s, "tests")
    book.close()
    at = ("--state", tmp_path, "--reason", "go live")
    early = run_in_process("arm", *at)
    assert (early.code, "seven days of it without a break" in early.sentence) == (1, True)
    assert "test notice of acme, birch: send one with 'cohortd notice test acme'" in early.sentence
    assert run_in_process("arm", *at, "--force").code == 0
    assert run_in_process("status", "--state", tmp_path, "--json").json["mode"] == "enforce"
    assert run_in_process("arm", *at, "--force").code == 1
    assert run_in_process("disarm", *at).code == 0
    assert run_in_process("status", "--state", tmp_path, "--json").json["mode"] == "shadow"
    assert run_in_process("shadow", "--state", tmp_path, "--json").json == []


def test_arming_after_a_week_wants_every_test_notice_acknowledged(tmp_path: Path) -> None:
    """After seven days of shadow mode, arm names the startup that did not answer; then it arms."""
    book = Book.open(tmp_path)
    now_s = SystemClock().now_s()
    members = [replace(a_startup(name), contacts=("mailto://a@b.c",)) for name in ("acme", "birch")]
    of = a_program(*members, mode="shadow", ends_s=now_s + YEAR_S)
    apply_program(book, of, now_s - 8 * 86_400, "tests")
    at = ("--state", tmp_path, "--reason", "go live")
    for name, other in (("acme", "acme, birch"), ("birch", "birch")):
        ran = run_in_process("arm", *at)
        assert ran.code == 1 and f"test notice of {other}:" in ran.sentence, ran.sentence
        assert "seven days" not in ran.sentence
        given = send_test_notice(book, name, "ann", now_s)
        assert given.id is not None
        acknowledge(book, given.id, "cto", now_s)
    assert run_in_process("arm", *at).code == 0
    assert run_in_process("disarm", *at).code == 0
    again = run_in_process("arm", *at)
    assert (again.code, "seven days of it without a break" in again.sentence) == (1, True)
    book.close()


@pytest.mark.parametrize(
    ("files", "said", "since_s"),
    [
        pytest.param([(10, "shadow")], [], 10, id="shadow by file counts from its application"),
        pytest.param(
            [(10, "shadow"), (20, "shadow")], [], 10, id="a second file in shadow changes nothing"
        ),
        pytest.param(
            [(10, "shadow"), (20, "off"), (30, "shadow")],
            [],
            30,
            id="mode off starts the days again",
        ),
        pytest.param(
            [(10, "shadow")],
            [(20, "enforce")],
            None,
            id="while an override says enforce nothing counts",
        ),
        pytest.param(
            [(10, "shadow")],
            [(20, "enforce"), (30, "shadow")],
            30,
            id="an override back to shadow starts the days again",
        ),
        pytest.param(
            [(10, "enforce")],
            [(30, "shadow")],
            30,
            id="an override to shadow counts over a file in enforce",
        ),
        pytest.param(
            [(10, "shadow"), (40, "off")],
            [(30, "shadow")],
            None,
            id="a later file that says off ends the days",
        ),
        pytest.param([], [], None, id="without a program nothing counts"),
    ],
)
def test_shadow_counts_without_a_break(
    files: list[tuple[int, str]], said: list[tuple[int, str]], since_s: int | None
) -> None:
    """A break of enforce mode or mode off starts the seven days again."""
    assert shadow_start_s(files, said) == since_s


def test_only_a_stop_can_be_undone(state: Path) -> None:
    """A decision that stopped nothing is refused, and the message names where to look."""
    ran = run_in_process("undo", 1, "--state", state, "--reason", "mistake")
    assert (ran.code, "stopped no server" in ran.sentence) == (1, True)


def test_a_shortage_is_of_a_pool(state: Path) -> None:
    """A shortage is kept for an existing pool, and refused for another one."""
    at = ("--state", state, "--reason", "seen", "--for", "6h")
    assert run_in_process("shortage", "h100", *at).code == 0
    assert run_in_process("shortage", "b300", *at).code == 1
