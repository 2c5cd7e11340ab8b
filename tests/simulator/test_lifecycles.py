"""Recorded lives of servers go through the same states in the region, in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest

from simulator.world.lifecycle import Move
from simulator.world.model import Refusal
from simulator.world.region import World

from .recorded import RECORDED, Recording, load_lifecycle

ABSENT = "absent"
START_S = 1_799_107_200
LIVES = sorted(path.name for path in (RECORDED / "lifecycles").glob("*.json"))
SERVED = ("action-server", "server-state", "server-migrate", "test-create-server-simple-w")
GPU_LIVES = [name for name in LIVES if name.startswith("gpu_") and "scratch" in name]
NAMES = [*GPU_LIVES, *(name for name in LIVES if name.startswith(SERVED))] or [ABSENT]
LONGEST_S = 240


@dataclass(frozen=True)
class Seen:
    """The state of a server in a recording, or that the server is gone."""

    at_s: int
    state: str
    detail: str


def recorded_states(name: str) -> list[tuple[str, list[Seen]]]:
    """The life of the recording's first server: each action, and the states after it."""
    if name == ABSENT:
        pytest.skip(f"service: no recordings under {RECORDED}")
    story: list[tuple[str, list[Seen]]] = []
    server_id = ""
    for each in load_lifecycle(name):
        path = each.url.partition("?")[0]
        server = each.body.get("server") if isinstance(each.body, dict) else None
        if each.method == "POST" and path.endswith("/servers"):
            server_id = server_id or each.body["server"]["id"]
            story = story or [("create", [_seen(each, server)])]
        elif server_id and path.endswith(f"/{server_id}/action") and each.method == "POST":
            story.append((_action(each), []))
        elif server_id and path.endswith(f"/servers/{server_id}") and each.method == "GET":
            story[-1][1].append(_seen(each, server))
    return story


def _action(each: Recording) -> str:
    return str(each.sent.get("action") or "") if isinstance(each.sent, dict) else ""


def _seen(each: Recording, server: dict[str, str] | None) -> Seen:
    at_s = int(datetime.fromisoformat(each.at).timestamp())
    if server is None:
        return Seen(at_s, "gone", "")
    return Seen(at_s, server["state"], server["state_detail"])


def inferred(action: str, seen: list[Seen]) -> str:
    """An action without a recorded body is known from the state that follows."""
    by_state = {"starting": "poweron", "stopping": "poweroff"}
    return action or by_state[seen[0].state]


def distinct(states: list[str]) -> list[str]:
    """A sequence without repetitions in a row."""
    return [state for i, state in enumerate(states) if i == 0 or states[i - 1] != state]


def played(world: World, server_id: str, zone: str, action: str) -> list[Seen]:
    """The server in each second after an action."""
    seen = []
    world.act(zone, server_id, action)
    for _ in range(LONGEST_S):
        seen.append(observed(world, zone, server_id))
        world.advance(world.now_s + 1)
    return seen


def observed(world: World, zone: str, server_id: str) -> Seen:
    """The server's current state."""
    try:
        server = world.server(zone, server_id)
    except Refusal:
        return Seen(world.now_s, "gone", "")
    return Seen(world.now_s, server.state, server.state_detail)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_lives_play_in_the_same_order(name: str) -> None:
    """The same actions lead through the same states in the same order, with known details."""
    story = recorded_states(name)
    world = World.build(3, START_S, workloads=())
    project = world.add_startup("one")
    kind = "H100-1-80G" if name.startswith("gpu_") else "DEV1-S"
    server_id = world.create_server("fr-par-2", project.id, kind, "one").id
    assert story[0][1][0].state == "stopped"
    for action, seen in story[1:]:
        ours = played(world, server_id, "fr-par-2", inferred(action, seen))
        assert distinct([s.state for s in seen]) == distinct([s.state for s in ours])
        theirs = {(s.state, s.detail) for s in seen}
        assert theirs <= {(s.state, s.detail) for s in ours}


@pytest.mark.parametrize("name", [name for name in NAMES if "2025" in name] or [ABSENT])
def test_a_recorded_course_is_replayed_second_by_second(name: str) -> None:
    """A scripted action follows the recorded instants, and the run lasts as recorded."""
    story = recorded_states(name)
    world = World.build(3, START_S, workloads=())
    project = world.add_startup("one")
    server_id = world.create_server("fr-par-2", project.id, "H100-1-80G", "one").id
    offset_s = START_S - story[1][1][0].at_s
    for action, seen in story[1:]:
        begins_s = seen[0].at_s
        course = tuple(Move(s.at_s - begins_s, s.state, s.detail) for s in seen)
        world.advance(begins_s + offset_s)
        world.script(server_id, inferred(action, seen), course)
        world.act("fr-par-2", server_id, inferred(action, seen))
        for each in seen:
            world.advance(each.at_s + offset_s)
            assert observed(world, "fr-par-2", server_id).state == each.state
    (run,) = world.truth()
    assert run.end_s is not None
    assert run.end_s - run.start_s == story[2][1][0].at_s - story[1][1][0].at_s
