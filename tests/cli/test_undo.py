"""Undoing a mistaken stop: an override, a refund and a day of exemption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from freezegun import freeze_time

from quotas.book import Book
from quotas.book.actions import overrides as override_actions
from quotas.book.actions.overrides import set_override, undo
from quotas.book.verify.verify import verify
from quotas.state.overrides import Override
from tests.cli.command import CommandResult, run_in_process
from tests.scheduler.harness import NOTICE_S, RATE, T0, Harness, server

DAY_S = 86_400
GRANT = "grant:acme:g1"


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Harness]:
    """A book on disk in which an operator's override stopped acme's one server, seen off."""
    harness = Harness(book=Book.open(tmp_path))
    harness.cloud.add(server())
    harness.run()
    set_override(
        harness.book, Override("level", "acme", "stopped", T0, None, "ann", "the wrong startup")
    )
    harness.run_until(T0 + 30 + NOTICE_S + 30)
    assert harness.cloud.stops == ["s1"]
    harness.cloud.add(replace(harness.cloud.servers["s1"], state="stopped"))
    harness.run(30)
    yield harness
    harness.book.close()


def number(harness: Harness) -> int:
    """The number of the decision that stopped the server."""
    return next(int(str(row["id"])) for row in harness.all("decision") if row["verb"] == "stop")


def typed(harness: Harness, state: Path) -> CommandResult:
    """Run `cohortd undo` while the machine's clock shows the harness's time."""
    with freeze_time(datetime.fromtimestamp(harness.clock.now_s(), UTC)):
        return run_in_process("undo", number(harness), "--state", state, "--reason", "a mistake")


def test_the_command_refunds_exactly_the_minimum_notice(stopped: Harness, tmp_path: Path) -> None:
    """60 s of an SXM-8 are refunded to the grant, and the books still verify."""
    left = stopped.rows("balance")[GRANT]
    ran = typed(stopped, tmp_path)
    assert ran.code == 0, ran.err
    back = stopped.rows("balance")[GRANT] - left
    assert abs(back - RATE * NOTICE_S / 3600) < 1, "rounded to the micro-credit"
    assert f"for {NOTICE_S} s of server s1 go back" in ran.out
    assert verify(stopped.book).fault is None


def test_a_second_undo_repeats_the_first(stopped: Harness, tmp_path: Path) -> None:
    """A repeated undo gives one override, one refund and the same sentence."""
    first = typed(stopped, tmp_path)
    rows = [len(stopped.all(table)) for table in ("override", "transfer")]
    stopped.clock.move_to(stopped.clock.now_s() + 600)
    assert typed(stopped, tmp_path).out == first.out
    assert [len(stopped.all(table)) for table in ("override", "transfer")] == rows


def test_override_and_refund_are_one_transaction(
    stopped: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database fails at the refund, the override is not kept either."""

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(override_actions, "perform_in_transaction", fail)
    before = len(stopped.all("override"))
    with pytest.raises(OSError, match="full"):
        undo(stopped.book, number(stopped), "ann", "a mistake", stopped.clock.now_s())
    assert len(stopped.all("override")) == before


def test_the_undone_server_is_back_and_exempt_for_a_day(stopped: Harness, tmp_path: Path) -> None:
    """If the wrong override remains, the server gets no notice for a day, then a full one."""
    typed(stopped, tmp_path)
    at_s = stopped.clock.now_s()
    stopped.run_until(at_s + 300)
    assert stopped.cloud.starts == ["s1"]
    stopped.run_until(at_s + DAY_S - 1, every_s=3600)
    assert stopped.cloud.stops == ["s1"]
    assert all(row["opened_s"] <= at_s for row in stopped.all("notice"))
    stopped.run(1)
    notice = stopped.all("notice")[-1]
    assert (notice["state"], notice["opened_s"]) == ("open", at_s + DAY_S)
    assert int(str(notice["deadline_s"])) >= at_s + DAY_S + NOTICE_S
