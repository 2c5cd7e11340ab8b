"""The ground truth that metering is compared with: true runs, and erased scratch disks."""

from __future__ import annotations

from dataclasses import replace

from simulator.world.model import ScratchLost, Server, TruthRun


class GroundTruth:
    """A record of billable intervals, kept at every change of state."""

    def __init__(self) -> None:
        self._closed: list[TruthRun] = []
        self._open: dict[str, TruthRun] = {}
        self.scratch_lost: list[ScratchLost] = []

    def note(self, before: Server, after: Server, at_s: int) -> None:
        """Record the effect of a change of state."""
        if after.is_billable and before.id not in self._open:
            self._open[after.id] = TruthRun(
                after.id, after.project_id, after.zone, after.commercial_type, at_s, None
            )
        elif not after.is_billable and before.id in self._open:
            run = self._open.pop(before.id)
            if run.start_s < at_s:
                self._closed.append(replace(run, end_s=at_s))
        if after.state == "stopped" and before.state != "stopped" and before.scratch_bytes:
            self.scratch_lost.append(ScratchLost(before.id, at_s, before.scratch_bytes))

    def runs(self) -> list[TruthRun]:
        """All runs by start, then by server."""
        every = [*self._closed, *self._open.values()]
        return sorted(every, key=lambda run: (run.start_s, run.server_id))
