"""A queue of future events, in order of instant and then of planning."""

from __future__ import annotations

import heapq
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A server enters a state, unless a newer action has changed its course."""

    server_id: str
    epoch: int
    state: str
    state_detail: str


@dataclass(frozen=True, slots=True)
class Wake:
    """A startup looks at its servers and follows its workload."""

    startup: str


Event = Step | Wake


class EventQueue:
    """Future events. Equal instants play in the order in which they were planned."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Event]] = []
        self._sequence = 0

    def schedule(self, at_s: int, event: Event) -> None:
        """Plan an event."""
        heapq.heappush(self._heap, (at_s, self._sequence, event))
        self._sequence += 1

    def next_s(self) -> int | None:
        """The instant of the next event; None if nothing is planned."""
        return self._heap[0][0] if self._heap else None

    def pop(self) -> tuple[int, Event]:
        """Take the next event, with its instant."""
        at_s, _, event = heapq.heappop(self._heap)
        return at_s, event
