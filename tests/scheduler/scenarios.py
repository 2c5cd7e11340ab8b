"""Scenarios that several tests of the scheduler start from, and steps that continue them."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.actions.action import Command, OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.overrides import undo as take_back
from quotas.book.actions.prices import PriceCommand
from quotas.book.actions.requests import open_request
from quotas.model.program import Cohort, Grant, Program, Startup, Tenure
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.requests import RequestSpec
from scheduler.clouds.base import Throttled
from tests.scheduler.harness import (
    END,
    OTHER,
    RATE,
    T0,
    TYPE,
    ZONE,
    Harness,
    override,
    program,
    server,
)

CREDIT = 1_000_000


def run_command(harness: Harness, command: Command) -> None:
    """An operator performs a command now."""
    perform_action(harness.book, OperatorAction(command, "a test", "ann", harness.clock.now_s()))


def turn(harness: Harness, name: str, state: str) -> None:
    """A startup turns a server on or off now, and a cycle sees it."""
    now_s = harness.clock.now_s()
    harness.cloud.add(replace(harness.cloud.servers[name], state=state, modified_s=now_s))
    harness.run(30)


def with_acme(base: Program, **changes: object) -> Program:
    """The harness's program with changes to acme."""
    (cohort,) = base.cohorts
    startups = (replace(cohort.startups[0], **changes),)  # type: ignore[arg-type]  # its fields
    return replace(base, cohorts=(replace(cohort, startups=startups),))


def last_notice(harness: Harness) -> dict[str, object]:
    """The newest notice of a server."""
    return [row for row in harness.all("notice") if row["server_id"]][-1]


def notice_length_s(harness: Harness) -> int:
    """The length of the newest notice of a server."""
    return int(str(last_notice(harness)["deadline_s"])) - int(str(last_notice(harness)["opened_s"]))


def exhausted_harness(of: Program | None = None) -> Harness:
    """A harness whose one server was stopped by the credits rule and seen off."""
    harness = Harness(of or program(credits=50, notice_s=1800))
    harness.cloud.add(server())
    harness.run_until(T0 + 2 * HOUR_S, 150)
    assert harness.cloud.stops == ["s1"]
    turn(harness, "s1", "stopped")
    assert last_notice(harness)["state"] == "executed"
    return harness


def throttle(harness: Harness, calls: list[str], times: int) -> None:
    def refuse(_: str) -> None:
        if len(calls) <= times:
            raise Throttled("429")

    harness.cloud.on_stop = harness.cloud.on_start = refuse


def stopped_harness(of: Program | None = None) -> Harness:
    """A harness whose one server was stopped by an override and seen off."""
    harness = Harness(of)
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 150)
    assert harness.cloud.stops == ["s1"]
    finish_stopping(harness)
    return harness


def finish_stopping(harness: Harness) -> None:
    """Every stopping server is now stopped, and a cycle sees it."""
    for each in list(harness.cloud.servers.values()):
        if each.state == "stopping":
            harness.cloud.add(replace(each, state="stopped"))
    harness.run(30)


def undo_last_stop(harness: Harness) -> None:
    """An operator takes the last stop back."""
    decision = next(row for row in harness.all("decision") if row["verb"] == "stop")
    take_back(harness.book, int(str(decision["id"])), "ann", "a test", harness.clock.now_s())


def lending_harness(backing: str = "on-demand", gpus: int = 16, nominal: int = 0) -> Harness:
    """Acme's 16 GPUs fill a pool of 16; 8 of them are birch's nominal quota."""
    base = program()
    acme = replace(base.cohorts[0].startups[0], nominal={"h100": nominal}, limit={})
    birch = Startup(
        "birch",
        "c",
        (Tenure(OTHER, 0),),
        nominal={"h100": 8},
        grants=(Grant("g2", 10**10, T0, END),),
    )
    pool = replace(base.pools[0], capacity=((0, gpus),), backing=backing)  # type: ignore[arg-type]
    cohorts = (Cohort("c", T0, END, (acme, birch)),)
    policy = replace(base.policy, disruption_budget_ppm=1_000_000)
    harness = Harness(replace(base, pools=(pool,), cohorts=cohorts, policy=policy))
    harness.cloud.add(server("old"))
    harness.run()
    harness.cloud.add(server("new", T0 + 20))
    harness.run(30)
    return harness


def request_back(harness: Harness, refused: str = "") -> None:
    """Birch requests its nominal quota, and names the reason why its start was refused."""
    now_s = harness.clock.now_s()
    ask = RequestSpec("birch", "h100", 8, DAY_S, "training", "birch", now_s, refused=refused)
    open_request(harness.book, ask)


def with_policy(**changes: int) -> Program:
    """The harness's program with changes to its policy."""
    base = program()
    return replace(base, policy=replace(base.policy, **changes))


def verbs_of(harness: Harness) -> list[str]:
    """The verbs of all decisions on servers, in order."""
    return [str(row["verb"]) for row in harness.all("decision") if row["server_id"]]


def accept_lower_price(harness: Harness) -> None:
    """An operator accepts a lower price for the last ten minutes."""
    command = PriceCommand(f"{TYPE}@{ZONE}", RATE - 1_000_000, harness.clock.now_s() - 600)
    perform_action(harness.book, OperatorAction(command, "listed", "ann", harness.clock.now_s()))
