"""A daemon in which something of every kind happens, one cycle for each scrape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporters.metrics import Metrics
from quotas.state.snapshot import Decision
from quotas.view import View
from tests.scheduler.harness import Harness, program, server

SCRAPES = 12


class Scenario:
    """A daemon whose every cycle is one scrape: a limit is passed, announced and carried out."""

    def __init__(self, folder: Path) -> None:
        book = folder / "cohortd.db"
        book.write_bytes(b"book")
        self.metrics = Metrics(book)
        self.harness = Harness(program(limit=8, notice_s=60))
        self.steps = 0
        self.harness.cycle.publish = self._publish
        self.harness.cloud.add(server("kept"))
        self.metrics.verified(1)
        self.metrics.bypasses(0)
        self.metrics.delivery("sent")
        self.metrics.delivery("failed")

    def _publish(self, view: View) -> None:
        self.harness.views.append(view)
        if self.steps == 1:
            broken = Decision("acme", "kept", "limit", "breach", "test", {})
            view = replace(view, decisions=(*view.decisions, broken))
        self.metrics.publish(view)

    def step(self) -> bytes:
        """One cycle, half a minute later, and what is scraped then."""
        self.steps += 1
        if self.steps > SCRAPES:
            return self.metrics.render()  # what follows is read at leisure
        now_s = self.harness.clock.now_s()
        if self.steps in (2, SCRAPES - 1):
            self.harness.cloud.add(server(f"too-many-{self.steps}", since_s=now_s))
        report = self.harness.run(30)
        self.metrics.cycle(report.outcome, 0.03, self.harness.clock.now_s())
        self.metrics.request("list_servers", "ok", 0.1)
        self.metrics.request("list_servers", "key_refused", 0.1)
        return self.metrics.render()
