"""The operator of a play: programs that it puts in force, and actions on the books."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.advances import AdvanceCommand, SelfAdvanceCommand, take_ahead
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, MilestoneCommand, VoidCommand
from quotas.book.actions.holds import HoldCommand, SettleCommand, VoidHoldCommand
from quotas.book.actions.notices import acknowledge, snooze
from quotas.book.actions.overrides import set_override
from quotas.book.actions.prices import PriceCommand
from quotas.book.actions.refunds import RefundCommand, TransferCommand
from quotas.book.actions.requests import open_request
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.ledger.corrections import Refused, void_transfer
from quotas.ledger.holds import Hold, HoldEnding
from quotas.model.former_members import with_former_members
from quotas.model.program import Cohort, Grant, Pool, Program, Rollover, Startup, Tenure, Tranche
from quotas.model.units import DAY_S
from quotas.rules.registry import SNOOZABLE
from quotas.shares.allocation import step_of
from quotas.state.notices import Notice
from quotas.state.overrides import Override
from quotas.state.requests import RequestSpec, request_from
from simulator.world.offers.catalogue import OFFERS

from ..scenario import milestones
from ..scenario.script import BIG, NAMES, SMALL, START_S, ZONES, Event, Script
from . import memory_actions
from .memory_book import InMemoryBook
from .region import Region

REAL_ONLY = ("refund", "move", "advance", "ahead", "accept", "confirm")
"""Verbs that the book in memory does not know: drawn in every seed, done on the real book."""
FLAVORS = tuple(f"{kind}@{ZONES[1]}" for kind in (*SMALL, *BIG))
FLAVORS += tuple(f"{kind}@{ZONES[2]}" for kind in SMALL)


def program_of(script: Script, region: Region) -> Program:
    """The program at the script's start: one startup for each project."""
    startups = tuple(_startup(script, region, number) for number in range(len(NAMES)))
    return Program(
        "sim",
        10**13,
        timezone="Europe/Paris",
        mode=script.mode,
        zones=ZONES,
        pools=(Pool("h100", ((0, script.capacity),), "on-demand", FLAVORS),),
        cohorts=(Cohort("spring", START_S, script.end_s, startups),),
    )


def _startup(script: Script, region: Region, number: int) -> Startup:
    name = NAMES[number]
    first, second = (credits * 1_000_000 for credits in script.credits[number])
    middle_s = START_S + (script.end_s - START_S) // 2
    kind = script.tranches[number] if script.tranches else ""
    grants: tuple[Grant, ...] = (
        Grant(
            f"{name}-1",
            first,
            START_S,
            script.end_s,
            tranches=_thirds(first, script) if kind else (),
            rollover=Rollover(500_000) if kind == "half" else None,
        ),
        Grant(f"{name}-2", second, START_S + DAY_S, middle_s, priority=number % 2),
    )
    if any(script.milestones) and script.milestones[number]:
        waits = milestones.grant_of(name, script.milestones[number], script.end_s)
        grants = (*grants, waits)
    return Startup(
        name,
        "spring",
        (Tenure(region.project_of[name], 0),),
        nominal={"h100": script.nominal[number]},
        limit={"h100": script.limits[number]},
        grants=grants,
        auto_resume=bool(script.resumes and script.resumes[number]),
    )


def _thirds(amount_ucr: int, script: Script) -> tuple[Tranche, ...]:
    """Three tranches, from the start and after each third of the cohort."""
    third_s, part_ucr = (script.end_s - START_S) // 3, amount_ucr // 3
    last = Tranche(amount_ucr - 2 * part_ucr, START_S + 2 * third_s)
    return (Tranche(part_ucr, START_S), Tranche(part_ucr, START_S + third_s), last)


class ProgramOperator:
    """The operator's side of a play, on either book."""

    def __init__(self, book: Any, program: Program, region: Region) -> None:
        self.book, self.program, self.region = book, program, region
        self.applied: list[tuple[int, Program]] = []
        self.overrides: list[Override] = []
        self.done: Counter[str] = Counter()
        self.accepted: set[tuple[str, int]] = set()
        """Rates for cohorts with fixed prices: those of their start, or corrected downwards."""
        self.confirmed: list[tuple[int, str, str]] = []
        """When the operator confirmed a milestone, whether it was refused or not."""
        self._apply(program, START_S)

    def does(self, event: Event, now_s: int) -> None:
        """Carry out the event; an action that the books refuse is counted as refused."""
        try:
            getattr(self, f"_{event.verb}")(now_s, *event.args)
        except Refused:
            self.done[f"{event.verb} refused"] += 1
            return
        self.done[event.verb] += 1

    def _apply(self, program: Program, now_s: int) -> None:
        self.program = program
        in_force = with_former_members(program, (before for _, before in self.applied))
        self.applied.append((now_s, in_force))
        if isinstance(self.book, InMemoryBook):
            self.book.apply(in_force, now_s)
        else:
            apply_program(self.book, program, now_s, "operator")

    def _grant(self, now_s: int, name: str, id: str, credits: int, days: int) -> None:
        ends_s = min(now_s + days * DAY_S, self.program.cohort("spring").ends_s)
        command = GrantCommand(name, id, credits * 1_000_000, effective_s=now_s, expires_s=ends_s)
        if self.program.startup(name) is None:
            raise Refused("it left")
        if isinstance(self.book, InMemoryBook):
            self.book.grant("spring", name, id, command.amount_ucr, (0, now_s, ends_s), now_s)
        else:
            perform_action(self.book, OperatorAction(command, "more", "operator", now_s, id))

    def _void(self, now_s: int, name: str, id: str) -> None:
        if not isinstance(self.book, InMemoryBook):
            perform_action(
                self.book,
                OperatorAction(VoidCommand(name, id), "less", "operator", now_s, f"void-{id}"),
            )
            return
        grants = {(g.startup, g.id): g for g in self.book.state().grants}
        if (name, id) not in grants:
            raise Refused("there is no such grant")
        void = void_transfer(id, [grants[name, id]], f"void-{id}", now_s, "less")
        self.book.post([void], now_s, 0, "operator")

    def _refund(self, now_s: int, name: str, back_s: int) -> None:
        if isinstance(self.book, InMemoryBook):
            raise Refused("only the real book does that")
        from_s = max(now_s - back_s, START_S)
        perform_action(
            self.book,
            OperatorAction(RefundCommand(from_s, now_s, startup=name), "back", "op", now_s),
        )

    def _request(self, now_s: int, name: str, gpus: int, duration_s: int) -> None:
        ask = RequestSpec(name, "h100", gpus, duration_s, "", "cto", now_s)
        if not isinstance(self.book, InMemoryBook):
            open_request(self.book, ask)
            return
        catalogue = self.book.state().catalogue
        startup = self.program.startup(name)
        step = step_of(startup, self.program.pools[0], catalogue) if startup else 1
        live = [r for r in self.book.requests.values() if r.is_live and r.startup == name]
        made = request_from(self.program, ask, step, live)
        id = len(self.book.requests) + 1
        self.book.requests[id] = replace(made, id=id)

    def _override(self, now_s: int, family: str, subject: str, value: str, length_s: int) -> None:
        self._keep(Override(family, subject, value, now_s, now_s + length_s, "operator", "because"))

    def _keep(self, override: Override) -> None:
        self.overrides.append(override)
        if isinstance(self.book, InMemoryBook):
            memory_actions.set_override(self.book, override)
        else:
            set_override(self.book, override)

    def _notices(self, *states: str) -> list[Notice]:
        """The notices of servers in some states, newest first."""
        if isinstance(self.book, InMemoryBook):
            found = list(self.book.notices.values())
        else:
            with self.book.reading() as connection:
                rows = connection.execute(text("SELECT * FROM notice ORDER BY id")).mappings()
                found = [Notice(**row) for row in rows]
        return [n for n in reversed(found) if n.server_id and n.state in states]

    def _undo(self, now_s: int, name: str) -> None:
        """Take back the last stop of a startup."""
        stopped = [n for n in self._notices("executed") if n.startup == name]
        if not stopped or stopped[0].mode != "enforce":
            raise Refused("nothing was stopped")
        last = stopped[0]
        override = Override(
            "undo", last.server_id, str(last.id), now_s, None, "operator", "an error"
        )
        self._keep(override)

    def _approve(self, now_s: int) -> None:
        """Let the stops go on that the disruption budget deferred."""
        held = self._notices("deferred")
        if not held:
            raise Refused("no stop is deferred")
        for notice in held:
            until_s = now_s + DAY_S
            override = Override(
                "approve", str(notice.id), "on", now_s, until_s, "operator", "known"
            )
            self._keep(override)

    def _acknowledge(self, now_s: int, name: str) -> None:
        self._answer(now_s, name, 0)

    def _snooze(self, now_s: int, name: str, for_s: int) -> None:
        self._answer(now_s, name, for_s)

    def _answer(self, now_s: int, name: str, for_s: int) -> None:
        own = [n for n in self._notices("open") if n.startup == name]
        last = next((n for n in own if n.rule in SNOOZABLE), own[0] if own else None)
        if last is None or last.id is None:
            raise Refused("there is no notice")
        if isinstance(self.book, InMemoryBook):
            memory_actions.answer(self.book, last.id, for_s, now_s)
        elif for_s:
            snooze(self.book, last.id, for_s, "busy", "cto", now_s)
        else:
            acknowledge(self.book, last.id, "cto", now_s)

    def _hold(self, now_s: int, name: str, credits: int, length_s: int) -> None:
        if isinstance(self.book, InMemoryBook):
            memory_actions.place(self.book, name, credits * 1_000_000, length_s, now_s)
        else:
            command = HoldCommand(name, credits * 1_000_000, length_s)
            perform_action(self.book, OperatorAction(command, "aside", "operator", now_s))

    def _settle(self, now_s: int, name: str, percent: int) -> None:
        hold = self._open_hold(name)
        settled_ucr = hold.amount_ucr * percent // 100
        if isinstance(self.book, InMemoryBook):
            memory_actions.end(self.book, hold.id, HoldEnding.SETTLE, settled_ucr, now_s)
        else:
            command = SettleCommand(hold.id, settled_ucr)
            perform_action(self.book, OperatorAction(command, "done", "operator", now_s))

    def _release(self, now_s: int, name: str, _: int) -> None:
        hold = self._open_hold(name)
        if isinstance(self.book, InMemoryBook):
            memory_actions.end(self.book, hold.id, HoldEnding.VOID, 0, now_s)
        else:
            perform_action(
                self.book, OperatorAction(VoidHoldCommand(hold.id), "done", "operator", now_s)
            )

    def _open_hold(self, name: str) -> Hold:
        holds = (
            self.book.state().holds
            if isinstance(self.book, InMemoryBook)
            else load_state(self.book).holds
        )
        own = [hold for hold in holds if hold.startup == name]
        if not own:
            raise Refused("there is no hold")
        return min(own, key=lambda hold: hold.placed_s)

    def _move(self, now_s: int, sender: str, to: str, credits: int) -> None:
        self._real(TransferCommand(sender, to, credits * 1_000_000), now_s)

    def _advance(self, now_s: int, name: str, credits: int) -> None:
        self._real(AdvanceCommand(name, f"{name}-1", credits * 1_000_000), now_s)

    def _ahead(self, now_s: int, name: str, credits: int) -> None:
        """Take credits of the next tranche ahead; 0 means all that is allowed."""
        if isinstance(self.book, InMemoryBook):
            raise Refused("only the real book does that")
        command = SelfAdvanceCommand(name, amount_ucr=credits * 1_000_000 or None)
        take_ahead(self.book, command, "token:cto", now_s)

    def _confirm(self, now_s: int, name: str, milestone: str) -> None:
        self.confirmed.append((now_s, name, milestone))
        self._real(MilestoneCommand(name, f"{name}-3", milestone), now_s)

    def _accept(self, now_s: int, kind: str, percent: int, back_s: int) -> None:
        listed = self.region.market.rate_ucr_per_h(OFFERS["fr-par-2"][kind], START_S)
        rate = listed * percent // 100
        command = PriceCommand(f"{kind}@fr-par-2", rate, max(START_S, now_s - back_s))
        self._real(command, now_s)
        if command.from_s == START_S or (command.from_s < now_s and percent < 100):
            self.accepted.add((command.flavor, rate))

    def _real(self, command: Command, now_s: int) -> None:
        """Perform an action that only the real book knows."""
        if isinstance(self.book, InMemoryBook):
            raise Refused("only the real book does that")
        perform_action(self.book, OperatorAction(command, "because", "operator", now_s))

    def _cut(self, now_s: int, gpus: int) -> None:
        (pool,) = self.program.pools
        pools = (replace(pool, capacity=(*pool.capacity, (now_s, gpus))),)
        self._apply(replace(self.program, pools=pools), now_s)

    def _with(self, now_s: int, startups: tuple[Startup, ...]) -> None:
        (cohort,) = self.program.cohorts
        changed = replace(cohort, startups=startups)
        self._apply(replace(self.program, cohorts=(changed,)), now_s)

    def _join(self, now_s: int, name: str) -> None:
        (cohort,) = self.program.cohorts
        grant = Grant(f"{name}-1", 5_000_000_000, now_s, cohort.ends_s)
        tenure = Tenure(self.region.project_of[name], now_s)
        new = Startup(name, "spring", (tenure,), nominal={"h100": 4}, grants=(grant,))
        self._with(now_s, (*cohort.startups, new))

    def _leave(self, now_s: int, name: str) -> None:
        (cohort,) = self.program.cohorts
        self._with(now_s, tuple(s for s in cohort.startups if s.name != name))

    def _pass(self, now_s: int) -> None:
        """Pass the fourth startup's project on to the first startup."""
        (cohort,) = self.program.cohorts
        startups = {s.name: s for s in cohort.startups}
        sender, successor = startups.get("delta"), startups.get("acme")
        if sender is None or successor is None or not sender.projects:
            raise Refused("it has no project")
        (tenure,) = sender.projects
        startups["delta"] = replace(sender, projects=(replace(tenure, until_s=now_s),))
        passed = Tenure(tenure.project_id, now_s)
        startups["acme"] = replace(successor, projects=(*successor.projects, passed))
        self._with(now_s, tuple(startups.values()))
