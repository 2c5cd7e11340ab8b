"""The states of a server: the sequences and durations that Scaleway shows.

A GPU server takes 10 to 31 s to run and 37 to 47 s to stop, at worst 188 s. Details change within
a state without moving its modification date.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

STANDBY = "stopped in place"
"""Spelled with spaces, as the API answers it, and unlike its SDK."""
GONE = "gone"
"""Not a state of the API: the server no longer exists."""

ACTIONS = ("poweron", "poweroff", "stop_in_place", "reboot", "terminate")
SLOWEST_STOP_S = 188
_SLOW_STOP_IN = 200


@dataclass(frozen=True, slots=True)
class Move:
    """A state to enter, so many seconds after the action."""

    after_s: int
    state: str
    detail: str


_ALLOWED: dict[str, tuple[str, ...]] = {
    "stopped": ("poweron", "backup"),
    "running": ("poweroff", "terminate", "reboot", "stop_in_place", "backup"),
    "starting": ("stop_in_place", "backup"),
    "stopping": ("stop_in_place", "backup"),
    STANDBY: ("poweron", "poweroff", "terminate", "reboot", "backup"),
    "locked": (),
}


def allowed_actions(state: str, detail: str) -> tuple[str, ...]:
    """What the API says may be done with a server in this state."""
    return () if detail == "terminating" else _ALLOWED.get(state, ())


def moves(action: str, state: str, gpus: int, rng: random.Random) -> tuple[Move, ...]:
    """The states that follow an action, from the current state. The first is entered at once."""
    if action == "poweron":
        return _poweron(state, _start_s(gpus, rng), rng)
    if action == "poweroff":
        return _poweroff(_stop_s(gpus, rng))
    if action == "stop_in_place":
        whole_s = rng.randint(40, 48)
        return Move(0, "stopping", "stopping in place"), Move(whole_s, STANDBY, STANDBY)
    if action == "reboot":
        return _reboot(_start_s(gpus, rng), rng.randint(8, 20))
    if action == "terminate":
        return Move(0, "stopping", "terminating"), Move(_end_s(rng), GONE, "")
    raise ValueError(f"no such action: {action}")


def _poweron(state: str, whole_s: int, rng: random.Random) -> tuple[Move, ...]:
    """From stopped through a new node; from standby on the node that it still holds."""
    booted = Move(whole_s + rng.randint(15, 60), "running", "booted")
    running = Move(whole_s, "running", "booting kernel")
    if state == STANDBY:
        return Move(0, "starting", STANDBY), running, booted
    node = Move(0, "starting", "allocating node")
    found = Move(min(3, whole_s - 1), "starting", "provisioning node")
    return node, found, Move(whole_s - 1, "starting", "starting"), running, booted


def _poweroff(whole_s: int) -> tuple[Move, ...]:
    """The node is released at the end; half-way the detail still says booted."""
    half = Move(whole_s // 2, "stopping", "booted")
    return Move(0, "stopping", "stopping"), half, Move(whole_s, "stopped", "")


def _reboot(up_s: int, down_s: int) -> tuple[Move, ...]:
    """Down and up again on the same node."""
    up = Move(down_s, "starting", "rebooting")
    return Move(0, "stopping", "rebooting"), up, Move(down_s + up_s, "running", "booting kernel")


def _start_s(gpus: int, rng: random.Random) -> int:
    return rng.randint(10, 31) if gpus else max(2, min(35, int(rng.expovariate(1 / 6))))


def _stop_s(gpus: int, rng: random.Random) -> int:
    if rng.randrange(_SLOW_STOP_IN) == 0:
        return SLOWEST_STOP_S
    return rng.randint(37, 47) if gpus else rng.randint(30, 67)


def _end_s(rng: random.Random) -> int:
    return max(2, min(118, int(rng.expovariate(1 / 6))))
