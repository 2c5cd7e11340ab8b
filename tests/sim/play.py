"""One seed's play: a world, a program over its startups, a daemon, in lock-step."""

from __future__ import annotations

import random
from dataclasses import dataclass

from quotas.book import Book
from quotas.book.commit import apply_program
from quotas.program import DEFAULT_ZONES, Cohort, Grant, Pool, Program, Startup, Tenure
from quotas.units import DAY_S, HOUR_S
from scheduler.clock import ManualClock
from scheduler.cycle import Cycle, Report
from scheduler.timing import Timing
from simulator.world import World

from .cloud import WorldCloud, draw_windows

START_S = 1_799_107_200
"""2027-01-05T00:00:00Z."""
DAYS = 10
HEALED_S = START_S + 9 * DAY_S
END_S = START_S + DAYS * DAY_S
POLL_S = 3 * HOUR_S
DATED_H100 = ("H100-1-80G", "H100-2-80G", "H100-SXM-2-80G", "H100-SXM-4-80G", "H100-SXM-8-80G")


def program_for(world: World, seed: int) -> Program:
    """Every project a startup: some with little credit, one with a limit of GPUs."""
    chance = random.Random(f"{seed}/program")
    startups = tuple(
        Startup(
            project.name,
            "spring",
            (Tenure(project.id, 0),),
            limit={"h100": chance.choice([None, None, 4])},
            grants=(
                Grant(
                    f"{project.name}-1",
                    chance.choice([200, 800, 3_000, 50_000]) * 1_000_000,
                    START_S,
                    END_S,
                ),
                Grant(f"{project.name}-2", 50_000_000, START_S + 3 * DAY_S, START_S + 6 * DAY_S),
            ),
        )
        for project in world.projects
    )
    flavors = tuple(f"{kind}@fr-par-2" for kind in DATED_H100)
    return Program(
        "sim",
        10**13,
        mode="enforce",
        zones=DEFAULT_ZONES,
        pools=(Pool("h100", ((0, 40),), "on-demand", flavors),),
        cohorts=(Cohort("spring", START_S, END_S, startups),),
    )


@dataclass
class Play:
    """A seed's world and daemon. Crashes drop the daemon's every object but book and world."""

    seed: int

    def __post_init__(self) -> None:
        self.world = World.build(self.seed, START_S, DAYS)
        windows = draw_windows(self.seed, START_S, HEALED_S, DEFAULT_ZONES)
        self.cloud = WorldCloud(self.world, windows)
        self.clock = ManualClock(START_S)
        self.book = Book.in_memory()
        self.program = program_for(self.world, self.seed)
        apply_program(self.book, self.program, START_S, "sim")
        self._crashes = random.Random(f"{self.seed}/crashes")
        self._crash_chance = self._crashes.choice([0.0, 0.05]) if self.seed else 0.0
        self.cycle = self._daemon()
        self.reports: list[Report] = []

    def _daemon(self) -> Cycle:
        return Cycle(
            cloud=self.cloud,
            book=self.book,
            clock=self.clock,
            holder="sim",
            timing=Timing(),
            publish=lambda _: None,
        )

    def run(self, until_s: int) -> None:
        """Cycles at each poll, at each edge that the daemon names, and a minute after a stop."""
        while self.clock.now_s() < until_s:
            report = self.once()
            now_s = self.clock.now_s()
            edges = report.view.edges if report.view else ()
            pause_s = 60 if report.sent else POLL_S
            self.move(min([until_s, now_s + pause_s, *(e for e in edges if e > now_s)]))

    def move(self, to_s: int) -> None:
        """Time passes, for the world first."""
        self.world.advance(to_s)
        self.clock.move_to(to_s)

    def once(self) -> Report:
        """One cycle, perhaps of a daemon that was just started again."""
        if self._crashes.random() < self._crash_chance:
            self.cycle.observer.close()
            self.cycle = self._daemon()
        report = self.cycle.run()
        self.reports.append(report)
        return report

    def settle(self, cycles: int) -> None:
        """Cycles at the daemon's own pace."""
        for _ in range(cycles):
            self.move(self.clock.now_s() + self.cycle.timing.cycle_s)
            self.once()
