"""The five workloads do what their names say, and accept refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from simulator.world.model import Server, TruthRun
from simulator.world.offers.catalogue import OFFERS, ZONES
from simulator.world.region import World
from simulator.world.workloads.behaviours import default_workloads

START_S = 1_799_107_200
DAY_S = 86_400
HOUR_S = 3600
ZONE = "fr-par-2"
SEEDS = range(1, 9)
ENDLESS_S = 2**40


def played(seed: int, days: int = 183) -> World:
    """The default world after some days."""
    world = World.build(seed, START_S, days)
    world.advance(world.ends_s)
    return world


def runs_of(world: World, name: str) -> list[TruthRun]:
    """The true runs of one startup."""
    (project,) = (project for project in world.projects if project.name == name)
    return [run for run in world.truth() if run.project_id == project.id]


def gpus(run: TruthRun) -> int:
    """GPUs of a run."""
    return OFFERS[run.zone][run.commercial_type].gpus


def h100_peak(world: World) -> int:
    """The most H100 GPUs that ran at one instant."""
    changes = [
        change
        for run in world.truth()
        if run.commercial_type.startswith("H100")
        for change in ((run.start_s, gpus(run)), (run.end_s or ENDLESS_S, -gpus(run)))
    ]
    total = highest = 0
    for _, change in sorted(changes):
        total += change
        highest = max(highest, total)
    return highest


def on_at(run: TruthRun, at_s: int) -> bool:
    """Whether a run covers an instant."""
    return run.start_s <= at_s < (run.end_s or ENDLESS_S)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cohort_fits_its_pool(seed: int) -> None:
    """The highest demand of the five startups is above 16 and at most 40 H100 GPUs."""
    assert 16 < h100_peak(played(seed)) <= 40


@pytest.mark.parametrize("seed", SEEDS)
def test_everyone_runs_something(seed: int) -> None:
    """Each startup has runs, and some are outside the main zone."""
    world = played(seed, 30)
    assert all(runs_of(world, workload.name) for workload in default_workloads(seed))
    assert {run.zone for run in world.truth()} == {"fr-par-1", "fr-par-2", "pl-waw-2"}


@pytest.mark.parametrize("seed", SEEDS)
def test_cumulus_is_idle_over_weekends(seed: int) -> None:
    """The office-hours startup runs nothing on weekends, and something on Wednesdays."""
    runs = runs_of(played(seed), "cumulus-bio")
    noons = [START_S + day * DAY_S + 12 * HOUR_S for day in range(1, 180)]
    for noon_s in noons:
        weekday = datetime.fromtimestamp(noon_s, UTC).weekday()
        if weekday in (5, 6):
            assert not any(on_at(run, noon_s) for run in runs)
        if weekday == 2:
            assert any(on_at(run, noon_s) for run in runs)


def test_echo_shuts_down_in_the_guest() -> None:
    """The forgetful startup's server is stopped in place for about a day, and is billed."""
    world = World.build(1, START_S)
    standby_h = 0
    for _ in range(60 * 24):
        world.advance(world.now_s + HOUR_S)
        standby_h += any(server.state == "stopped in place" for server in world.servers(ZONE))
    assert standby_h > 300
    longest_s = max(
        (run.end_s or world.now_s) - run.start_s for run in runs_of(world, "echo-agents")
    )
    assert longest_s > 3 * DAY_S


def test_delta_grows_and_insists() -> None:
    """It adds servers over time, and restarts stopped servers within hours."""
    world = World.build(1, START_S)
    world.advance(START_S + 60 * DAY_S)
    mine = servers_of(world, "delta-robotics")
    assert len(mine) >= 5
    for server in mine:
        if server.state == "running":
            world.act(ZONE, server.id, "poweroff")
    world.advance(world.now_s + 300)
    assert all(server.state == "stopped" for server in servers_of(world, "delta-robotics"))
    world.advance(world.now_s + 12 * HOUR_S)
    assert any(server.state == "running" for server in servers_of(world, "delta-robotics"))


def servers_of(world: World, name: str) -> list[Server]:
    """A startup's servers in the main zone."""
    (project,) = (project for project in world.projects if project.name == name)
    return [server for server in world.servers(ZONE) if server.project_id == project.id]


def test_acme_leaves_a_stopped_server_until_its_next_plan() -> None:
    """A steady training that was stopped restarts at its next planned start, and not at once."""
    world = World.build(1, START_S)
    world.advance(START_S + 2 * DAY_S)
    (trainer,) = servers_of(world, "acme-speech")
    world.act(ZONE, trainer.id, "poweroff")
    world.advance(world.now_s + 6 * HOUR_S)
    assert servers_of(world, "acme-speech")[0].state == "stopped"
    world.advance(world.now_s + 10 * DAY_S)
    later = [run for run in runs_of(world, "acme-speech") if run.start_s > START_S + 2 * DAY_S]
    assert later


def full(world: World) -> None:
    """Leave no GPU in stock."""
    for offer in OFFERS[ZONE].values():
        world.market.stock_gpus[ZONE, offer.family] = 0


def forbidden(world: World) -> None:
    """Allow no server by quota."""
    for offer in OFFERS[ZONE].values():
        world.market.quota_servers[offer.commercial_type] = 0


@pytest.mark.parametrize("obstacle", [full, forbidden])
def test_refusals_are_obeyed(obstacle: Callable[[World], None]) -> None:
    """Without stock or quota no startup runs in the zone or fails; with them, all of them run."""
    world = World.build(1, START_S)
    stock, quota = dict(world.market.stock_gpus), dict(world.market.quota_servers)
    obstacle(world)
    world.advance(START_S + 10 * DAY_S)
    assert not [run for run in world.truth() if run.zone == ZONE]
    world.market.stock_gpus, world.market.quota_servers = stock, quota
    world.advance(START_S + 30 * DAY_S)
    assert len({run.project_id for run in world.truth() if run.zone == ZONE}) == 5


def test_workloads_have_streams_of_their_own() -> None:
    """A startup does the same alone as among others: each has its own random stream."""
    whole = played(3, 60)
    for workload in default_workloads(3):
        alone = World.build(3, START_S, 60, [workload])
        alone.advance(alone.ends_s)
        planned = {run.start_s for run in runs_of(whole, workload.name)}
        assert {run.start_s for run in runs_of(alone, workload.name)} == planned


def test_nobody_plans_after_the_end() -> None:
    """After its last day a world no longer changes; running servers keep running."""
    world = played(1, 30)
    world.advance(world.now_s + DAY_S)
    before = [server for zone in ZONES for server in world.servers(zone)]
    world.advance(world.now_s + 30 * DAY_S)
    assert [server for zone in ZONES for server in world.servers(zone)] == before


def test_a_workload_obeys_iam() -> None:
    """A workload starts nothing while it lacks the permissions to start and create."""
    world = World.build(1, START_S, 60)
    world.advance(START_S + 20 * DAY_S)
    (project,) = (each for each in world.projects if each.name == "cumulus-bio")
    (policy,) = (each for each in world.iam.policies.values() if each.name == project.name)
    whole = {"permission_set_names": policy.rules[0].permission_set_names}
    left = {"permission_set_names": ["InstancesReadOnly", "InstancesServerStop"]}
    projects = {"project_ids": [project.id]}
    world.iam.set_rules(policy.id, [left | projects], world.now_s)
    world.advance(START_S + 40 * DAY_S)
    starts = [run.start_s for run in runs_of(world, project.name)]
    assert starts and max(starts) <= START_S + 20 * DAY_S + HOUR_S
    world.iam.set_rules(policy.id, [whole | projects], world.now_s)
    world.advance(world.ends_s)
    assert max(run.start_s for run in runs_of(world, project.name)) > START_S + 40 * DAY_S
