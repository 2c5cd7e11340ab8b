"""The status that people read, compared with the book."""

from __future__ import annotations

from exporters.api.startup_reads import StartupReads
from quotas.book.cycle.state import load_state
from quotas.book.reads.status import read_status
from quotas.model.units import format_instant
from scheduler.views.status import status_of
from tests.scheduler.harness import T0, Harness, server
from tests.scheduler.scenarios import accept_lower_price


def test_people_are_shown_since_when_a_server_is_on() -> None:
    """`cohortd status` and the API name the start, not the instant of the last price."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run_until(T0 + 3600, 300)
    accept_lower_price(harness)
    harness.run(30)
    now_s = harness.clock.now_s()
    (line,) = status_of(harness.book, now_s)["startups"][0]["servers"]
    program_status = read_status(load_state(harness.book), now_s, 30)
    (item,) = StartupReads("acme", program_status).servers().items
    assert len(harness.all("run")) == 2
    assert line["since"] == item.since == format_instant(T0)
