"""The rehearsal: six months in a minute, with the real cycle and a simulated region in step.

Both share one clock: the region is moved to an instant, then one cycle runs there. A cycle runs
at every poll and at every edge that cohortd itself predicts. cohortd learns nothing from the
simulator except what the API answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from quotas.book import Book
from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.holds import HoldCommand, SettleCommand
from quotas.book.actions.refunds import RefundCommand
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.config.load import parse_program
from quotas.ledger.corrections import Refused
from quotas.metering.runs import Catalogue
from quotas.model.program import Program
from quotas.model.units import DAY_S, HOUR_S, UCR_PER_CREDIT, format_instant
from quotas.view import View
from scheduler.checks.first_file import startup_name
from scheduler.clock import ManualClock, monotonic
from scheduler.clouds.scaleway import ScalewayCloud
from scheduler.cycle import Cycle, CycleReport
from scheduler.demo.lending import Lending
from scheduler.demo.scenarios import Scenarios
from scheduler.demo.tieout import Truth
from scheduler.timing import Timing
from simulator.process import Running

CONTROL_TIMEOUT_S = 30
GRANTS = (110_000, 40_000, 60_000, 9_000, 25_000)
"""Credits for 183 days, startup by startup; the overspender's will not last."""
FLAVORS = (
    "H100-1-80G@fr-par-2",
    "H100-2-80G@fr-par-2",
    "H100-SXM-2-80G@fr-par-2",
    "H100-SXM-4-80G@fr-par-2",
    "H100-SXM-8-80G@fr-par-2",
)
AFTER_THE_END_S = 2 * HOUR_S
NOMINAL = (8, 4, 6, 4, 2)
"""GPUs of pool h100, startup by startup: what the second and the fourth run above is borrowed."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One cycle of the rehearsal as it is watched; the one before was at `earlier_s`."""

    now_s: int
    earlier_s: int
    starts_s: int
    ends_s: int
    report: CycleReport
    view: View | None
    finished_scenarios: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RehearsalResult:
    """What a rehearsal leaves: the program, the book, and the region's own truth."""

    program: Program
    catalogue: Catalogue
    truth: tuple[Truth, ...]
    cycles: int
    wall_seconds: float
    lending: Lending
    scenarios: Scenarios


def demo_program(region: Running, starts_s: int, days: int) -> str:
    """The program file of the demo: the region's projects as one cohort of startups."""
    ends_s = starts_s + days * DAY_S
    lines = [
        "[program]",
        'name = "demo"',
        'mode = "enforce"',
        'budget = "350000"',
        "[pool.h100]",
        "gpus = 24",
        f"flavors = [{', '.join(repr(f) for f in FLAVORS)}]",
        "[pool.small]",
        "gpus = 16",
        'flavors = ["L4-1-24G@fr-par-1", "L40S-1-48G@pl-waw-2"]',
        "[cohort.demo]",
        f"starts = {format_instant(starts_s)}",
        f"ends = {format_instant(ends_s)}",
    ]
    taken: set[str] = set()
    for number, project in enumerate(region.projects):
        name = startup_name(project.name, taken)
        credits = max(1, GRANTS[number % len(GRANTS)] * days // 183)
        lines += [
            f"[cohort.demo.startup.{name}]",
            f'project_id = "{project.id}"',
            f"nominal = {{ h100 = {NOMINAL[number % len(NOMINAL)]} }}",
            "limit = { h100 = 16 }",
            f"grants = [{', '.join(_grants(number, name, credits, starts_s, days))}]",
        ]
    return "\n".join(lines) + "\n"


def _grants(number: int, name: str, credits: int, starts_s: int, days: int) -> list[str]:
    """One grant each; the first has a bonus that ends early, the second comes monthly."""
    terms = ', tranches = "monthly", rollover = { share = "0.5" }' if number == 1 else ""
    grants = [f'{{ id = "{name}-1", credits = "{credits}"{terms} }}']
    if number == 0:
        ends = format_instant(starts_s + days * DAY_S // 3)
        bonus = f'credits = "500", category = "bonus", priority = 1, expires = {ends}'
        grants.append(f'{{ id = "{name}-bonus", {bonus} }}')
    return grants


class Rehearsal:
    """One region, one book, one cycle, moved on together."""

    def __init__(self, region: Running, book: Book, starts_s: int, days: int, poll_s: int) -> None:
        self.region, self.book, self.poll_s = region, book, poll_s
        self.starts_s, self.ends_s = starts_s, starts_s + days * DAY_S
        self.program = parse_program(demo_program(region, starts_s, days), "demo.toml")
        apply_program(book, self.program, starts_s, "demo")
        self.clock = ManualClock(starts_s)
        self.publish: Callable[[View], None] = lambda _: None
        length_s, first = days * DAY_S, self.program.cohorts[0].startups[0].name
        early = RefundCommand(starts_s, starts_s + length_s // 20, startup=first)
        hold = HoldCommand(first, 10 * UCR_PER_CREDIT, length_s // 8)
        self.schedule: list[tuple[int, Command]] = [
            (starts_s + length_s // 4, hold),
            (starts_s + length_s // 2, early),
        ]
        self.http = requests.Session()
        self.http.trust_env = False
        self.view: View | None = None
        self.lending, self.scenarios = Lending(book), Scenarios(book)
        cloud = ScalewayCloud.connect(
            access_key=region.access_key,
            secret_key=region.secret_key,
            organization_id=region.organization_id,
            api_url=region.url,
        )
        self.cycle = Cycle(
            cloud=cloud,
            book=book,
            clock=self.clock,
            holder="demo",
            timing=Timing(),
            publish=self._see,
        )

    def play(self, watch: Callable[[Frame], None]) -> RehearsalResult:
        """Run every cycle from the cohort's start until nothing runs after its end."""
        began, cycles = monotonic(), 0
        now_s = earlier_s = self.starts_s
        while True:
            self._control("POST", "clock", now_s=now_s)
            self.clock.move_to(now_s)
            report = self.cycle.run()
            cycles += 1
            self._operate(now_s)
            self.lending.follow(self.view, now_s)
            finished = tuple(self.scenarios.follow(self.view, now_s))
            cohort = (self.starts_s, self.ends_s)
            watch(Frame(now_s, earlier_s, *cohort, report, self.view, finished))
            is_idle = self.view is not None and not any(s.runs for s in self.view.status.startups)
            if now_s >= self.ends_s + AFTER_THE_END_S and is_idle:
                break
            earlier_s, now_s = now_s, self._next_s(now_s)
        catalogue, wall_s = load_state(self.book).catalogue, monotonic() - began
        body = self._control("GET", "truth")
        truth = tuple(
            Truth(
                run["project_id"],
                f"{run['commercial_type']}@{run['zone']}",
                run["start_s"],
                body["now_s"] if run["end_s"] is None else run["end_s"],
            )
            for run in body["runs"]
        )
        region = (self.program, catalogue, truth)
        return RehearsalResult(*region, cycles, wall_s, self.lending.close(), self.scenarios)

    def _operate(self, now_s: int) -> None:
        """Act as the operator: place a hold, settle half of it, and give a refund."""
        while self.schedule and now_s >= self.schedule[0][0]:
            _, command = self.schedule.pop(0)
            operator_action = OperatorAction(command, "rehearsed", "demo", now_s)
            try:
                answer = perform_action(self.book, operator_action)
            except Refused:
                continue  # a startup without runs has no refund, one without credits no hold
            if isinstance(command, HoldCommand):
                half = SettleCommand(answer["hold"], command.amount_ucr // 2)
                self.schedule.insert(0, (now_s + command.length_s // 2, half))

    def _see(self, view: View) -> None:
        self.view = view
        self.publish(view)

    def _next_s(self, now_s: int) -> int:
        edges = self.view.edges if self.view else ()
        polls_s = self.starts_s + ((now_s - self.starts_s) // self.poll_s + 1) * self.poll_s
        return min([polls_s, *(edge for edge in edges if edge > now_s)])

    def _control(self, method: str, path: str, **body: int) -> Any:
        """One call of the region's control API, which only the demo may use."""
        url = f"{self.region.control_url}/{path}"
        answer = self.http.request(method, url, json=body or None, timeout=CONTROL_TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()
