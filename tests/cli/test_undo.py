"""A stop that was a mistake, taken back with the command: word, refund and a day in peace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quotas.book import Book
from quotas.book.actions import undo as undo_module
from quotas.book.actions.overrides import say
from quotas.book.actions.undo import undo
from quotas.book.verify.verify import verify
from quotas.decisions.overrides import Word
from scheduler.cli.stops import overrides
from tests.cli.command import Ran, here
from tests.scheduler.harness import NOTICE_S, RATE, T0, Rig, server

DAY_S = 86_400
GRANT = "grant:acme:g1"


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A book on disk in which an operator's word stopped acme's one server, seen off."""
    rig = Rig(book=Book.open(tmp_path))
    monkeypatch.setattr(overrides, "SystemClock", lambda: rig.clock)
    rig.cloud.add(server())
    rig.run()
    say(rig.book, Word("level", "acme", "stopped", T0, None, "ann", "the wrong startup"))
    rig.run_until(T0 + 30 + NOTICE_S + 30)
    assert rig.cloud.stops == ["s1"]
    rig.cloud.add(replace(rig.cloud.servers["s1"], state="stopped"))
    rig.run(30)
    yield rig
    rig.book.close()


def number(rig: Rig) -> int:
    """Of the decision that stopped the server."""
    return next(int(str(row["id"])) for row in rig.all("decision") if row["verb"] == "stop")


def typed(rig: Rig, state: Path) -> Ran:
    """An operator types it."""
    return here("undo", number(rig), "--state", state, "--reason", "a mistake")


def test_the_command_refunds_exactly_the_minimum_notice(stopped: Rig, tmp_path: Path) -> None:
    """60 s of an SXM-8 at its rate come back to the grant, and the books still verify."""
    left = stopped.rows("balance")[GRANT]
    ran = typed(stopped, tmp_path)
    assert ran.code == 0, ran.err
    back = stopped.rows("balance")[GRANT] - left
    assert abs(back - RATE * NOTICE_S / 3600) < 1, "rounded to the micro-credit"
    assert f"for {NOTICE_S} s of server s1 go back" in ran.out
    assert verify(stopped.book).fault is None


def test_a_second_undo_repeats_the_first(stopped: Rig, tmp_path: Path) -> None:
    """One word, one refund, the same sentence, however often it is typed."""
    first = typed(stopped, tmp_path)
    rows = [len(stopped.all(table)) for table in ("word", "transfer")]
    stopped.clock.move_to(stopped.clock.now_s() + 600)
    assert typed(stopped, tmp_path).out == first.out
    assert [len(stopped.all(table)) for table in ("word", "transfer")] == rows


def test_word_and_refund_are_one_transaction(stopped: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails at the refund has not kept the word either."""

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(undo_module, "perform_in", fail)
    words = len(stopped.all("word"))
    with pytest.raises(OSError, match="full"):
        undo(stopped.book, number(stopped), "ann", "a mistake", stopped.clock.now_s())
    assert len(stopped.all("word")) == words


def test_the_undone_server_is_back_and_exempt_for_a_day(stopped: Rig, tmp_path: Path) -> None:
    """The wrong word still stands: nothing is said to the server for a day, then a full notice."""
    typed(stopped, tmp_path)
    at_s = stopped.clock.now_s()
    stopped.run_until(at_s + 300)
    assert stopped.cloud.starts == ["s1"]
    stopped.run_until(at_s + DAY_S - 1, every_s=3600)
    assert stopped.cloud.stops == ["s1"]
    assert all(row["given_s"] <= at_s for row in stopped.all("notice"))
    stopped.run(1)
    notice = stopped.all("notice")[-1]
    assert (notice["state"], notice["given_s"]) == ("open", at_s + DAY_S)
    assert int(str(notice["deadline_s"])) >= at_s + DAY_S + NOTICE_S
