"""When the hook of a notice is run, on a clock that the test moves: once, in time, and whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from exporters.ctl.api import REFUSED, UNREACHABLE, ApiError
from exporters.ctl.on_notice.identity import Identity, named_server
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
TRAINER = named_server(["trainer"])
SERVER = {"id": "s1", "name": "trainer"}


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
    servers: list[dict[str, Any]] = field(default_factory=lambda: [SERVER])
    identity: Identity = TRAINER
    fault: ApiError | None = None
    answer: ApiError | None = None
    status: int = 0
    waits: list[int] = field(default_factory=list)
    ran: list[tuple[int, int]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    on_hook: Callable[[], None] = lambda: None

    def get(self, path: str, wait_s: int = 0, **query: str | int) -> Any:
        """The servers, or the live notices in pages of one."""
        if self.fault:
            raise self.fault
        if path == "servers":
            return {"items": self.servers}
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
        """Waiting moves the clock."""
        self.waits.append(int(seconds))
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
        watched = WatchTarget(lambda: self.identity, BEFORE_S)
        return WatchLoop(self, watched, memory, self, hook, self.said.append)


def until(watch_loop: WatchLoop, watch_harness: WatchHarness, at_s: int) -> None:
    """Rounds until an instant is reached."""
    while watch_harness.now_s() < at_s:
        watch_loop.poll_once()
        watch_loop.wait_for_news()
    watch_loop.poll_once()


def test_the_hook_runs_once_before_the_deadline_and_is_acknowledged(tmp_path: Path) -> None:
    """To the second, ten minutes ahead; the waits before never pass the instant."""
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
    assert watch_harness.acknowledged == []
    assert [said for said in watch_harness.said if "cannot be reached" in said] == [
        "cannot be reached; trying again, and keeping to the deadlines that are known"
    ]
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
    assert any("failed with status 3" in said for said in watch_harness.said)


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


def test_a_file_that_is_not_ours_is_left_alone_and_the_hook_runs(tmp_path: Path) -> None:
    """One sentence that names --state; nothing is overwritten, and the checkpoint is saved."""
    (tmp_path / "kept.json").write_text("[]")
    watch_harness = WatchHarness(live=[notice(deadline_s=500)])
    watch_harness.watch_loop(tmp_path).poll_once()
    assert watch_harness.ran == [(1, 0)] and len(watch_harness.acknowledged) == 1
    assert any("kept.json cannot be used" in said for said in watch_harness.said)
    assert (tmp_path / "kept.json").read_text() == "[]"


def test_the_hook_runs_though_the_state_file_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be made: said once, the hook runs once, and it is acknowledged."""
    folder = Path("/proc/none")
    watch_harness = WatchHarness(live=[notice(deadline_s=500)])
    watch_loop = watch_harness.watch_loop(folder)
    until(watch_loop, watch_harness, 400)
    assert watch_harness.ran == [(1, 0)] and len(watch_harness.acknowledged) == 1
    faults = [said for said in watch_harness.said if "--state" in said]
    assert len(faults) == 1 and "a restart runs their hooks again" in faults[0]


@pytest.mark.parametrize(
    "broken",
    [{"id": 2}, {**notice(2), "deadline": "soon"}, None],
    ids=["missing fields", "no instant", "no object"],
)
def test_an_answer_that_cannot_be_read_stops_no_known_hook(tmp_path: Path, broken: Any) -> None:
    """The API is up but talks nonsense: the known deadline is kept, and the nonsense is said."""
    watch_harness = WatchHarness(live=[notice(deadline_s=2000)])
    watch_loop = watch_harness.watch_loop(tmp_path)
    watch_loop.poll_once()
    watch_harness.live = [broken]
    until(watch_loop, watch_harness, 1900)
    assert watch_harness.ran == [(1, 2000 - BEFORE_S)]
    assert any("cannot be read" in said for said in watch_harness.said)


def test_a_machine_that_is_no_server_is_said_at_once(tmp_path: Path) -> None:
    """In the first round, once, with what to do and the startup's servers; then who it is."""
    other = {"id": "s2", "name": "other"}
    watch_harness = WatchHarness(servers=[other])
    watch_loop = watch_harness.watch_loop(tmp_path)
    for _ in range(3):
        watch_loop.poll_once()
    assert watch_harness.said == [
        "waiting for notices about --server trainer",
        "no running server of yours is this machine (--server trainer), so notices about it are "
        "missed: name it with --server; yours are other",
    ]
    watch_harness.servers = [other, SERVER]
    for _ in range(2):
        watch_loop.poll_once()
    assert watch_harness.said[2:] == ["this machine is trainer (s1)"]


def test_a_server_that_is_renamed_stays_this_machine(tmp_path: Path) -> None:
    """Found once by its name, it is known by its id from then on."""
    watch_harness = WatchHarness()
    watch_loop = watch_harness.watch_loop(tmp_path)
    watch_loop.poll_once()
    watch_harness.live = [notice(deadline_s=500, server_name="renamed")]
    watch_loop.poll_once()
    assert watch_harness.ran == [(1, 0)]


def test_another_refusal_is_said_again(tmp_path: Path) -> None:
    """An expired token after an outage does not hide behind the sentence about the outage."""
    watch_harness = WatchHarness(live=[notice(deadline_s=9000)])
    watch_loop = watch_harness.watch_loop(tmp_path)
    watch_loop.poll_once()
    for sentence, code in (("cannot be reached", UNREACHABLE), ("is expired", REFUSED)):
        watch_harness.fault = ApiError(sentence, code)
        watch_loop.poll_once()
        watch_loop.poll_once()
    assert [said.partition(";")[0] for said in watch_harness.said[-2:]] == [
        "cannot be reached",
        "is expired",
    ]


def test_memory_is_bounded() -> None:
    """What is over is remembered so far back; what holds is never forgotten."""
    over = [WatchedNotice(id, 0, "", "", "", "done", "sent") for id in range(FINISHED_KEPT + 50)]
    known = merge_live(over, [notice(5)], TRAINER)
    assert len(known) == FINISHED_KEPT + 1 and known[0].id == 5 and known[0].state == "done"


def test_the_first_deadline_comes_first() -> None:
    """Of several that are due, the one with the least time left."""
    known = merge_live((), [notice(1, 900), notice(2, 700), notice(3, 5000)], TRAINER)
    first = next_due(known, BEFORE_S, 400)
    assert first is not None and first.id == 2
    assert next_due(known, BEFORE_S, 0) is None
    assert quiet_for_s(known, BEFORE_S, 0, 1000) == 100
