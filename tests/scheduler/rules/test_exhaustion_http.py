"""Credits end close to zero over HTTP: Scaleway's SDK, a simulated region, SQLite.

The cycle is the daemon's own, a stop takes 5 s that are billed, notices come at 60 s and 10 s, and
the one server is an SXM-8 at 25.3308 credits an hour. The test moves the region's clock and the
daemon's clock together.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from quotas.book import Book
from quotas.book.actions.overrides import set_override
from quotas.book.cycle.commit import apply_program
from quotas.book.schema.tables import NOTICE
from quotas.book.verify.verify import verify
from quotas.model.program import Cohort, Grant, Policy, Pool, Program, Startup, Tenure
from quotas.state.overrides import Override
from quotas.view import View
from scheduler.clock import ManualClock
from scheduler.clouds.scaleway import ScalewayCloud
from scheduler.cycle import Cycle
from scheduler.timing import Timing
from simulator.process import Running, running
from tests.simulator.client import Client

from ..harness import RATE, TYPE, ZONE

STOP_S, HOUR_S, DAY_S = 5, 3600, 86_400
GRANTED_UCR = 10_000_000


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    """A region without servers of its own, whose clock only the test moves."""
    with running("--clock", "controller", "--seed", "3", "--no-workload") as region:
        yield region


class HttpHarness:
    """One startup in the region, a book on disk, a daemon's cycle; time stands unless moved."""

    def __init__(self, region: Running, folder: Path, project: int, stop_latency_s: int) -> None:
        self.client = Client(region)
        self.client.project = region.projects[project]
        self.clock = ManualClock(int(datetime.fromisoformat(region.start).timestamp()))
        self.clock.move_to(max(self.clock.now_s(), self.client.now_s()))
        self.up_since_s = self.clock.now_s()
        self.book = Book.open(folder)
        apply_program(self.book, self._program(stop_latency_s), self.up_since_s, "test")
        self.view: View | None = None
        self.cycle = Cycle(
            cloud=ScalewayCloud.connect(
                access_key=region.access_key,
                secret_key=region.secret_key,
                organization_id=region.organization_id,
                api_url=region.url,
                monotonic=self.clock.monotonic,
                sleep=lambda _: None,
            ),
            book=self.book,
            clock=self.clock,
            holder="a",
            timing=Timing(),
            publish=self._see,
        )
        self.report = self.cycle.run()

    def _program(self, stop_latency_s: int) -> Program:
        now_s = self.clock.now_s()
        grant = Grant("g1", GRANTED_UCR, now_s, now_s + 60 * DAY_S)
        tenure = Tenure(self.client.project.id, 0)
        acme = Startup("acme", "c", (tenure,), grants=(grant,))
        policy = Policy(
            minimum_notice_s=60,
            stop_latency_s=stop_latency_s,
            exhaustion_notices_s=(60, 10),
            disruption_budget_ppm=1_000_000,
        )
        return Program(
            "p",
            10**12,
            mode="enforce",
            pools=(Pool("h100", ((0, 40),), "on-demand", (f"{TYPE}@{ZONE}",)),),
            cohorts=(Cohort("c", now_s, now_s + 60 * DAY_S, (acme,)),),
            policy=policy,
        )

    def _see(self, view: View) -> None:
        self.view = view

    def start(self) -> str:
        """A server that runs at once, and whose poweroff leaves it billed for 5 s."""
        self.client.pass_time(1)  # between two sweeps, so that its first second is known
        name = self.client.created(TYPE)
        on, off = [[0, "running", "booted"]], [[0, "running", "booted"], [STOP_S, "stopped", ""]]
        for action, moves in (("poweron", on), ("poweroff", off)):
            self.client.control("POST", "script", server_id=name, action=action, moves=moves)
        assert self.client.act(name, "poweron").status_code == 202
        return name

    def run(self, seconds: int) -> None:
        """Move both clocks on, and run a cycle."""
        self.client.pass_time(seconds)
        self.clock.move_to(self.client.now_s())
        self.report = self.cycle.run()

    def run_to_the_end(self, name: str) -> None:
        """Run a cycle at every edge until the server is stopped and all its use is posted."""
        for _ in range(90):
            self.run(self.cycle.next_due_s(self.report) - self.clock.now_s())
            if self.client.state(name) == "stopped":
                break
        assert self.client.state(name) == "stopped", self.report.sentence
        self.run(30)

    def measure(self) -> None:
        """Three stops that an operator ordered, each of which took 5 s."""
        names = [self.start() for _ in range(3)]
        self.run(60)
        for value in ("stopped", "open"):
            override = Override("level", "acme", value, self.clock.now_s(), None, "ann", "a test")
            set_override(self.book, override)
            while value == "stopped" and {self.client.state(n) for n in names} != {"stopped"}:
                self.run(STOP_S)
        self.run(STOP_S)

    def truth_ucr(self) -> int:
        """The cost at list price by the region's own truth."""
        runs = self.client.control("GET", "truth")["runs"]
        own = [run for run in runs if run["project_id"] == self.client.project.id]
        assert all(run["end_s"] is not None for run in own)
        return sum(RATE * (run["end_s"] - run["start_s"]) // HOUR_S for run in own)

    def landed_ucr(self) -> int:
        """Credits left of the grant by the book; negative for what the sponsor paid."""
        assert self.view is not None
        (own,) = self.view.status.startups
        assert own.balance.accrued_ucr == 0
        return own.balance.posted_ucr - sum(self.view.status.overdraft.values())

    def told(self) -> list[tuple[str, int]]:
        """The startup's announcements about credits, in order, each with its lead time."""
        with self.book.reading() as connection:
            rows = connection.execute(NOTICE.select().order_by(NOTICE.c.id)).mappings().all()
        of = [row for row in rows if row["rule"] in ("runway", "credits")]
        return [(str(row["rule"]), row["deadline_s"] - row["opened_s"]) for row in of]


def test_one_server_lands_at_zero(process: Running, tmp_path: Path) -> None:
    """Credits end within +0.45 and -0.02, by book and region, and every step is announced."""
    bench = HttpHarness(process, tmp_path, 0, STOP_S)
    bench.run_to_the_end(bench.start())
    assert -20_000 <= bench.landed_ucr() <= 450_000
    assert -20_000 <= GRANTED_UCR - bench.truth_ucr() <= 450_000
    assert bench.told() == [("runway", 60), ("runway", 10), ("credits", 60)]
    assert verify(bench.book).fault is None


def test_it_lands_closer_once_its_stops_were_measured(process: Running, tmp_path: Path) -> None:
    """The policy reserves a minute for a stop; after three stops of 5 s, 7 s are reserved."""
    landed = []
    for project, is_measured in ((1, False), (2, True)):
        bench = HttpHarness(process, tmp_path / str(project), project, 60)
        if is_measured:
            bench.measure()
            assert bench.view is not None
            assert bench.view.status.stop_latency_s == {f"{TYPE}@{ZONE}": 7}
        bench.run_to_the_end(bench.start())
        landed.append(bench.landed_ucr())
        assert abs(GRANTED_UCR - bench.truth_ucr() - landed[-1]) <= RATE // HOUR_S
        assert verify(bench.book).fault is None
    default_ucr, measured_ucr = landed
    assert -20_000 <= measured_ucr <= 450_000
    assert measured_ucr < default_ucr
