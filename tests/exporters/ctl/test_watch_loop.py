"""When the hook of a notice is run, told with a clock that is moved: once, in time, and whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from exporters.ctl.api import REFUSED, UNREACHABLE, ApiError
from exporters.ctl.on_notice.notice_watch import KEPT, Promise, due, merged, quiet_s
from exporters.ctl.on_notice.state_file import Memory
from exporters.ctl.on_notice.watch_loop import POLL_S, Follower, Hook, Watched
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
        "given": format_instant(0),
        "deadline": format_instant(deadline_s),
        "text": "credits are used up",
        **changes,
    }


@dataclass
class World:
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

    def hook(self, promise: Promise) -> int:
        """The hook: notes when it ran."""
        self.ran.append((promise.id, self.now_s()))
        self.on_hook()
        return self.status

    def follower(self, folder: Path) -> Follower:
        """A process that begins, with what was remembered in the folder."""
        memory = Memory(folder / "kept.json")
        hook = Hook(self.hook, nullcontext)
        watched = Watched(NAMES, BEFORE_S)
        return Follower(self, watched, memory, self, hook, self.said.append)


def until(follower: Follower, world: World, at_s: int) -> None:
    """Rounds until an instant is reached."""
    while world.now_s() < at_s:
        follower.act()
        follower.rest()
    follower.act()


def test_the_hook_runs_once_before_the_deadline_and_is_acknowledged(tmp_path: Path) -> None:
    """To the second, ten minutes ahead; long polls before, never past the instant."""
    world = World(live=[notice(deadline_s=2000)])
    until(world.follower(tmp_path), world, 3000)
    assert world.ran == [(1, 2000 - BEFORE_S)]
    assert world.acknowledged == ["notices/1/acknowledge on-notice-1"]
    assert max(world.waits) == POLL_S


def test_a_restart_does_not_run_it_twice(tmp_path: Path) -> None:
    """Another process with the same file knows that it ran, and owes no answer."""
    world = World(live=[notice(deadline_s=500)])
    world.follower(tmp_path).act()
    world.follower(tmp_path).act()
    assert world.ran == [(1, 0)]
    assert len(world.acknowledged) == 1


def test_a_hook_that_never_ended_is_run_again(tmp_path: Path) -> None:
    """The machine died while it ran: the next process runs it, while the notice holds."""
    world = World(live=[notice(deadline_s=500)], on_hook=_die)
    with pytest.raises(KeyboardInterrupt):
        world.follower(tmp_path).act()
    world.on_hook = lambda: None
    world.follower(tmp_path).act()
    assert [id for id, _ in world.ran] == [1, 1]


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
    world = World(live=[notice(deadline_s=500, **changes)])
    world.follower(tmp_path).act()
    assert bool(world.ran) == runs


def test_a_known_deadline_is_kept_without_the_api(tmp_path: Path) -> None:
    """The API is gone, over a restart too: the hook runs in time; the answer follows later."""
    world = World(live=[notice(deadline_s=2000)])
    world.follower(tmp_path).act()
    world.fault = ApiError("cannot be reached", UNREACHABLE)
    until(world.follower(tmp_path), world, 1900)
    assert world.ran == [(1, 2000 - BEFORE_S)]
    assert world.acknowledged == [] and len(world.said) == 3
    world.fault = None
    world.follower(tmp_path).act()
    assert len(world.acknowledged) == 1


def test_a_moved_deadline_moves_the_hook(tmp_path: Path) -> None:
    """Snoozed: it runs before the new deadline. Cancelled: it does not run."""
    world = World(live=[notice(1, 2000), notice(2, 2000)])
    follower = world.follower(tmp_path)
    follower.act()
    world.live = [notice(1, 4000)]
    until(follower, world, 4000)
    assert world.ran == [(1, 4000 - BEFORE_S)]


def test_a_hook_that_fails_is_not_acknowledged(tmp_path: Path) -> None:
    """Somebody must hear of it: the notice stays unanswered, and the hook is not run again."""
    world = World(live=[notice(deadline_s=500)], status=3)
    for _ in range(3):
        world.follower(tmp_path).act()
    assert len(world.ran) == 1 and world.acknowledged == []
    assert "failed with status 3" in world.said[-1]


def test_a_refused_answer_is_said_once(tmp_path: Path) -> None:
    """A token without scope request: the hook runs, the sentence is told, and that is all."""
    world = World(live=[notice(deadline_s=500)], answer=ApiError("needs request", REFUSED))
    for _ in range(3):
        world.follower(tmp_path).act()
    assert [said for said in world.said if "not acknowledged" in said] == [
        "notice 1: not acknowledged: needs request"
    ]


def test_a_refusal_ends_the_command_unless_a_deadline_is_known(tmp_path: Path) -> None:
    """A wrong token is told at once; one revoked under way does not cost the checkpoint."""
    world = World(fault=ApiError("is revoked", REFUSED))
    with pytest.raises(ApiError, match="is revoked"):
        world.follower(tmp_path).act()
    world.fault, world.live = None, [notice(deadline_s=2000)]
    follower = world.follower(tmp_path)
    follower.act()
    world.fault = ApiError("is revoked", REFUSED)
    with pytest.raises(ApiError):
        until(follower, world, 3000)
    assert world.ran == [(1, 2000 - BEFORE_S)]


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """One sentence that names --state; nothing is overwritten."""
    (tmp_path / "kept.json").write_text("[]")
    with pytest.raises(ApiError, match=r"--state .* cannot be used"):
        World().follower(tmp_path)
    assert (tmp_path / "kept.json").read_text() == "[]"


def test_memory_is_bounded() -> None:
    """What is over is remembered so far back; what holds is never forgotten."""
    over = [Promise(id, 0, "", "", "", "done", "given") for id in range(KEPT + 50)]
    known = merged(over, [notice(5)], NAMES)
    assert len(known) == KEPT + 1 and known[0].id == 5 and known[0].state == "done"


def test_the_first_deadline_comes_first() -> None:
    """Of several that are due, the one with the least time left."""
    known = merged((), [notice(1, 900), notice(2, 700), notice(3, 5000)], NAMES)
    first = due(known, BEFORE_S, 400)
    assert first is not None and first.id == 2
    assert due(known, BEFORE_S, 0) is None
    assert quiet_s(known, BEFORE_S, 0, 1000) == 100
