"""The ground truth that metering is compared with: true runs, and erased scratch disks."""

from __future__ import annotations

from simulator.world.model import ScratchLost, Server, TruthRun

__all__ = ["GroundTruth", "ScratchLost"]


class GroundTruth:
    """A record of billable intervals, kept at every change of state."""

    def __init__(self) -> None:
        self._closed: list[TruthRun] = []
        self._open: dict[str, TruthRun] = {}
        self.scratch_lost: list[ScratchLost] = []

    def note(self, before: Server, after: Server, at_s: int) -> None:
        """Record the effect of a change of state."""
        if after.is_billable and before.id not in self._open:
            self._begin(after, at_s)
        elif not after.is_billable and before.id in self._open:
            self._end(before.id, at_s)
        if after.state == "stopped" and before.state != "stopped" and before.scratch_bytes:
            self.scratch_lost.append(ScratchLost(before.id, at_s, before.scratch_bytes))

    def _begin(self, server: Server, at_s: int) -> None:
        self._open[server.id] = TruthRun(
            server.id, server.project_id, server.zone, server.commercial_type, at_s, None
        )

    def _end(self, server_id: str, at_s: int) -> None:
        run = self._open.pop(server_id)
        if run.start_s < at_s:
            self._closed.append(
                TruthRun(
                    run.server_id, run.project_id, run.zone, run.commercial_type, run.start_s, at_s
                )
            )

    def runs(self) -> list[TruthRun]:
        """All runs by start, then by server."""
        every = [*self._closed, *self._open.values()]
        return sorted(every, key=lambda run: (run.start_s, run.server_id))
