"""When the hook of a notice is run, on a clock that the test moves: once, in time, and whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from exporters.ctl.api import REFUSED, UNREACHABLE, ApiError
from exporters.ctl.on_notice.notice_watch import (
    FINISHED_KEPT,
    WatchedNotice,
    merge_live,
    next_due,
    quiet_for_s,
)
from exporters.ctl.on_notice.state_file import StateFile
from exporters.ctl.on_notice.watch_loop import POLL_S, Hook, WatchLoop, WatchTarget
from quotas.model.units import format_instant
from scheduler.clock import ManualClock

BEFORE_S = 600
NAMES = frozenset({"trainer"})


def notice(id: int = 1, deadline_s: int = 2000, **changes: Any) -> dict[str, Any]:
    """A live notice about the server trainer, as the API tells it."""
    return {
        "id": id,
        "server": "s1",
        "server_name": "trainer",
        "rule": "credits",
        "mode": "enforce",
        "state": "open",
        "sent": format_instant(0),
        "deadline": format_instant(deadline_s),
        "text": "credits are used up",
        **changes,
    }


@dataclass
class WatchHarness:
    """An API, a clock and a hook in one: what is live, what was asked, what ran."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(0))
    live: list[dict[str, Any]] = field(default_factory=list)
    fault: ApiError | None = None
    answer: ApiError | None = None
    status: int = 0
    waits: list[int] = field(default_factory=list)
    ran: list[tuple[int, int]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    on_hook: Callable[[], None] = lambda: None

    def get(self, path: str, wait_s: int = 0, **query: str | int) -> Any:
        """Live notices in pages of one, or an event feed in which waiting moves the clock."""
        if self.fault:
            raise self.fault
        if path == "events":
            self.waits += [wait_s] if wait_s else []
            self.clock.move_to(self.clock.now_s() + wait_s)
            return {"items": [], "next": query["cursor"]}
        at = int(query.get("cursor", 0))
        following = str(at + 1) if len(self.live) > at + 1 else None
        return {"items": self.live[at : at + 1], "next": following}

    def post(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        """An acknowledgement."""
        if self.answer:
            raise self.answer
        self.acknowledged.append(f"{path} {key}")

    def now_s(self) -> int:
        """The clock's."""
        return self.clock.now_s()

    def wait(self, seconds: float) -> None:
        """Waiting without the API moves the clock too."""
        self.clock.move_to(self.clock.now_s() + int(seconds))

    def hook(self, notice: WatchedNotice) -> int:
        """The hook: notes when it ran."""
        self.ran.append((notice.id, self.now_s()))
        self.on_hook()
        return self.status

    def watch_loop(self, folder: Path) -> WatchLoop:
        """A process that begins, with what was remembered in the folder."""
        memory = StateFile(folder / "kept.json")
        hook = Hook(self.hook, nullcontext)
        watched = WatchTarget(NAMES, BEFORE_S)
        return WatchLoop(self, watched, memory, self, hook, self.said.append)


def until(watch_loop: WatchLoop, watch_harness: WatchHarness, at_s: int) -> None:
    """Rounds until an instant is reached."""
    while watch_harness.now_s() < at_s:
        watch_loop.poll_once()
        watch_loop.wait_for_news()
    watch_loop.poll_once()


def test_the_hook_runs_once_before_the_deadline_and_is_acknowledged(tmp_path: Path) -> None:
    """To the second, ten minutes ahead; long polls before, never past the instant."""
    watch_harness = WatchHarness(live=[notice(deadline_s=2000)])
    until(watch_harness.watch_loop(tmp_path), watch_harness, 3000)
    assert watch_harness.ran == [(1, 2000 - BEFORE_S)]
    assert watch_harness.acknowledged == ["notices/1/acknowledge on-notice-1"]
    assert max(watch_harness.waits) == POLL_S


def test_a_restart_does_not_run_it_twice(tmp_path: Path) -> None:
    """Another process with the same file knows that it ran, and owes no answer."""
    watch_harness = WatchHarness(live=[notice(deadline_s=500)])
    watch_harness.watch_loop(tmp_path).poll_once()
    watch_harness.watch_loop(tmp_path).poll_once()
    assert watch_harness.ran == [(1, 0)]
    assert len(watch_harness.acknowledged) == 1


def test_a_hook_that_never_ended_is_run_again(tmp_path: Path) -> None:
    """The machine died while it ran: the next process runs it, while the notice holds."""
    watch_harness = WatchHarness(live=[notice(deadline_s=500)], on_hook=_die)
    with pytest.raises(KeyboardInterrupt):
        watch_harness.watch_loop(tmp_path).poll_once()
    watch_harness.on_hook = lambda: None
    watch_harness.watch_loop(tmp_path).poll_once()
    assert [id for id, _ in watch_harness.ran] == [1, 1]


def _die() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, True),
        ({"server": "trainer", "server_name": "other"}, True),
        ({"server": None, "server_name": None}, True),
        ({"server": "s2", "server_name": "other"}, False),
        ({"mode": "shadow"}, False),
    ],
    ids=["its name", "its id", "the whole startup", "another server", "shadow"],
)
def test_whose_notice_it_is(tmp_path: Path, changes: dict[str, Any], runs: bool) -> None:
    """By name or id, or all of the startup; not another's, and nothing that only is recorded."""
    watch_harness = WatchHarness(live=[notice(deadline_s=500, **changes)])
    watch_harness.watch_loop(tmp_path).poll_once()
    assert bool(watch_harness.ran) == runs


def test_a_known_deadline_is_kept_without_the_api(tmp_path: Path) -> None:
    """The API is gone, over a restart too: the hook runs in time; the answer follows later."""
    watch_harness = WatchHarness(live=[notice(deadline_s=2000)])
    watch_harness.watch_loop(tmp_path).poll_once()
    watch_harness.fault = ApiError("cannot be reached", UNREACHABLE)
    until(watch_harness.watch_loop(tmp_path), watch_harness, 1900)
    assert watch_harness.ran == [(1, 2000 - BEFORE_S)]
    assert watch_harness.acknowledged == [] and len(watch_harness.said) == 3
    watch_harness.fault = None
    watch_harness.watch_loop(tmp_path).poll_once()
    assert len(watch_harness.acknowledged) == 1


def test_a_moved_deadline_moves_the_hook(tmp_path: Path) -> None:
    """Snoozed: it runs before the new deadline. Cancelled: it does not run."""
    watch_harness = WatchHarness(live=[notice(1, 2000), notice(2, 2000)])
    watch_loop = watch_harness.watch_loop(tmp_path)
    watch_loop.poll_once()
    watch_harness.live = [notice(1, 4000)]
    until(watch_loop, watch_harness, 4000)
    assert watch_harness.ran == [(1, 4000 - BEFORE_S)]


def test_a_hook_that_fails_is_not_acknowledged(tmp_path: Path) -> None:
    """Somebody must hear of it: the notice stays unanswered, and the hook is not run again."""
    watch_harness = WatchHarness(live=[notice(deadline_s=500)], status=3)
    for _ in range(3):
        watch_harness.watch_loop(tmp_path).poll_once()
    assert len(watch_harness.ran) == 1 and watch_harness.acknowledged == []
    assert "failed with status 3" in watch_harness.said[-1]


def test_a_refused_answer_is_said_once(tmp_path: Path) -> None:
    """A token without scope request: the hook runs, the sentence is logged, and that is all."""
    watch_harness = WatchHarness(
        live=[notice(deadline_s=500)], answer=ApiError("needs request", REFUSED)
    )
    for _ in range(3):
        watch_harness.watch_loop(tmp_path).poll_once()
    assert [said for said in watch_harness.said if "not acknowledged" in said] == [
        "notice 1: not acknowledged: needs request"
    ]


def test_a_refusal_ends_the_command_unless_a_deadline_is_known(tmp_path: Path) -> None:
    """A wrong token ends the command; one revoked later does not cost the checkpoint."""
    watch_harness = WatchHarness(fault=ApiError("is revoked", REFUSED))
    with pytest.raises(ApiError, match="is revoked"):
        watch_harness.watch_loop(tmp_path).poll_once()
    watch_harness.fault, watch_harness.live = None, [notice(deadline_s=2000)]
    watch_loop = watch_harness.watch_loop(tmp_path)
    watch_loop.poll_once()
    watch_harness.fault = ApiError("is revoked", REFUSED)
    with pytest.raises(ApiError):
        until(watch_loop, watch_harness, 3000)
    assert watch_harness.ran == [(1, 2000 - BEFORE_S)]


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """One sentence that names --state; nothing is overwritten."""
    (tmp_path / "kept.json").write_text("[]")
    with pytest.raises(ApiError, match=r"--state .* cannot be used"):
        WatchHarness().watch_loop(tmp_path)
    assert (tmp_path / "kept.json").read_text() == "[]"


def test_memory_is_bounded() -> None:
    """What is over is remembered so far back; what holds is never forgotten."""
    over = [WatchedNotice(id, 0, "", "", "", "done", "sent") for id in range(FINISHED_KEPT + 50)]
    known = merge_live(over, [notice(5)], NAMES)
    assert len(known) == FINISHED_KEPT + 1 and known[0].id == 5 and known[0].state == "done"


def test_the_first_deadline_comes_first() -> None:
    """Of several that are due, the one with the least time left."""
    known = merge_live((), [notice(1, 900), notice(2, 700), notice(3, 5000)], NAMES)
    first = next_due(known, BEFORE_S, 400)
    assert first is not None and first.id == 2
    assert next_due(known, BEFORE_S, 0) is None
    assert quiet_for_s(known, BEFORE_S, 0, 1000) == 100
