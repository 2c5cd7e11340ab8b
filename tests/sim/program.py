"""What does the operator of a play put in force, and what does he do to the books?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quotas.book.commit import apply_program
from quotas.book.deeds import perform
from quotas.book.requests import open_request
from quotas.corrections import Refused, void_transfer
from quotas.division import step_of
from quotas.leavers import with_leavers
from quotas.orders import Deed, GrantOrder, RefundOrder, VoidOrder
from quotas.program import Cohort, Grant, Pool, Program, Startup, Tenure
from quotas.requests import Ask, open_by
from quotas.units import DAY_S

from .memory import Memory
from .region import Region
from .script import BIG, NAMES, SMALL, START_S, ZONES, Event, Script

FLAVORS = tuple(f"{kind}@{ZONES[1]}" for kind in (*SMALL, *BIG))
FLAVORS += tuple(f"{kind}@{ZONES[2]}" for kind in SMALL)


def program_of(script: Script, region: Region) -> Program:
    """The program that the script begins with: a startup for each project."""
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
    grants = (
        Grant(f"{name}-1", first, START_S, script.end_s),
        Grant(f"{name}-2", second, START_S + DAY_S, middle_s, priority=number % 2),
    )
    return Startup(
        name,
        "spring",
        (Tenure(region.project_of[name], 0),),
        nominal={"h100": script.nominal[number]},
        limit={"h100": script.limits[number]},
        grants=grants,
    )


class Office:
    """The operator's side of a play, over either book."""

    def __init__(self, book: Any, program: Program, region: Region) -> None:
        self.book, self.program, self.region = book, program, region
        self.applied: list[tuple[int, Program]] = []
        self._apply(program, START_S)

    def does(self, event: Event, now_s: int) -> None:
        """What the event says; what the books refuse is not done."""
        try:
            getattr(self, f"_{event.verb}")(now_s, *event.args)
        except Refused:
            return

    def _apply(self, program: Program, now_s: int) -> None:
        self.program = program
        in_force = with_leavers(program, (before for _, before in self.applied))
        self.applied.append((now_s, in_force))
        if isinstance(self.book, Memory):
            self.book.apply(in_force, now_s)
        else:
            apply_program(self.book, program, now_s, "operator")

    def _grant(self, now_s: int, name: str, id: str, credits: int, days: int) -> None:
        ends_s = min(now_s + days * DAY_S, self.program.cohort("spring").ends_s)
        order = GrantOrder(name, id, credits * 1_000_000, effective_s=now_s, expires_s=ends_s)
        if self.program.startup(name) is None:
            return
        if isinstance(self.book, Memory):
            self.book.grant("spring", name, id, order.amount_ucr, (0, now_s, ends_s), now_s)
        else:
            perform(self.book, Deed(order, "more", "operator", now_s, id))

    def _void(self, now_s: int, name: str, id: str) -> None:
        if not isinstance(self.book, Memory):
            perform(self.book, Deed(VoidOrder(name, id), "less", "operator", now_s, f"void-{id}"))
            return
        grants = {(g.startup, g.id): g for g in self.book.state().grants}
        if (name, id) in grants:
            void = void_transfer(id, [grants[name, id]], f"void-{id}", now_s, "less")
            self.book.post([void], now_s, 0, "operator")

    def _refund(self, now_s: int, name: str, back_s: int) -> None:
        if not isinstance(self.book, Memory):
            from_s = max(now_s - back_s, START_S)
            perform(self.book, Deed(RefundOrder(from_s, now_s, startup=name), "back", "op", now_s))

    def _request(self, now_s: int, name: str, gpus: int, duration_s: int) -> None:
        ask = Ask(name, "h100", gpus, duration_s, "", "cto", now_s)
        if not isinstance(self.book, Memory):
            open_request(self.book, ask)
            return
        catalogue = self.book.state().catalogue
        startup = self.program.startup(name)
        step = step_of(startup, self.program.pools[0], catalogue) if startup else 1
        live = [r for r in self.book.requests.values() if r.is_live and r.startup == name]
        made = open_by(self.program, ask, step, live)
        id = len(self.book.requests) + 1
        self.book.requests[id] = replace(made, id=id)

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
        """The fourth startup's project becomes the first one's."""
        (cohort,) = self.program.cohorts
        startups = {s.name: s for s in cohort.startups}
        giver, heir = startups.get("delta"), startups.get("acme")
        if giver is None or heir is None or not giver.projects:
            return
        (tenure,) = giver.projects
        startups["delta"] = replace(giver, projects=(replace(tenure, until_s=now_s),))
        passed = Tenure(tenure.project_id, now_s)
        startups["acme"] = replace(heir, projects=(*heir.projects, passed))
        self._with(now_s, tuple(startups.values()))
