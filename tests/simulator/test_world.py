"""The laws of the world: states, billing, quotas, stock and prices."""

from __future__ import annotations

import pytest

from simulator.world.faults import Fault, FaultKind
from simulator.world.lifecycle import allowed_actions
from simulator.world.model import Project, Refusal, Server, TruthRun
from simulator.world.offers.catalogue import OFFERS, ZONES
from simulator.world.offers.market import PriceChange
from simulator.world.region import World

START_S = 1_799_107_200
DAY_S = 86_400
ZONE = "fr-par-2"
H100 = "H100-1-80G"


def empty(seed: int = 1) -> tuple[World, Project]:
    """A world with one startup that does nothing by itself."""
    world = World.build(seed, START_S, workloads=())
    return world, world.add_startup("one")


def make(world: World, project: Project, kind: str = H100) -> str:
    """The id of a new server."""
    return world.create_server(ZONE, project.id, kind, "one").id


def started(world: World, project: Project, kind: str = H100) -> str:
    """The id of a new, running server."""
    server_id = make(world, project, kind)
    world.act(ZONE, server_id, "poweron")
    world.advance(world.now_s + 100)
    assert world.server(ZONE, server_id).state == "running"
    return server_id


def duration_s(world: World, server_id: str, action: str, until: str) -> int:
    """The seconds until an action reaches a state."""
    began_s = world.now_s
    world.act(ZONE, server_id, action)
    while world.server(ZONE, server_id).state != until:
        world.advance(world.now_s + 1)
    return world.now_s - began_s


def test_h100_takes_the_recorded_time() -> None:
    """A server is up in 10 to 31 s, and down in 37 to 47 s or, rarely, 188 s."""
    world, project = empty()
    server_id = make(world, project)
    ups, downs = [], []
    for _ in range(300):
        ups.append(duration_s(world, server_id, "poweron", "running"))
        world.advance(world.now_s + 3 * 3600)
        downs.append(duration_s(world, server_id, "poweroff", "stopped"))
    assert (min(ups), max(ups)) == (10, 31)
    assert set(downs) <= {*range(37, 48), 188}
    assert 188 in downs


def test_a_run_is_billed_from_starting_to_stopping() -> None:
    """A true run begins at the poweron and ends at the poweroff, to the second."""
    world, project = empty()
    server_id = make(world, project)
    world.advance(START_S + 1000)
    world.act(ZONE, server_id, "poweron")
    world.advance(START_S + 5000)
    world.act(ZONE, server_id, "poweroff")
    world.advance(START_S + 9000)
    expected = TruthRun(server_id, project.id, ZONE, H100, START_S + 1000, START_S + 5000)
    assert world.truth() == [expected]


def test_an_open_run_has_no_end() -> None:
    """A running server has a run without an end."""
    world, project = empty()
    started(world, project)
    assert [run.end_s for run in world.truth()] == [None]


def test_guest_shutdown_goes_on_being_billed() -> None:
    """A shutdown inside the guest leads to stopped in place, within the same run."""
    world, project = empty()
    server_id = started(world, project)
    assert world.guest_shutdown(ZONE, server_id).state == "stopped in place"
    world.advance(world.now_s + DAY_S)
    assert [run.end_s for run in world.truth()] == [None]
    assert world.scratch_lost == ()


def test_standby_can_be_powered_off_and_on() -> None:
    """A server stopped in place allows poweron and poweroff, and keeps its node."""
    world, project = empty()
    server_id = started(world, project)
    node = world.server(ZONE, server_id).node
    world.guest_shutdown(ZONE, server_id)
    world.act(ZONE, server_id, "poweron")
    world.advance(world.now_s + 60)
    assert world.server(ZONE, server_id).node == node
    world.guest_shutdown(ZONE, server_id)
    world.act(ZONE, server_id, "poweroff")
    world.advance(world.now_s + 300)
    assert world.server(ZONE, server_id).state == "stopped"


def test_poweroff_erases_scratch() -> None:
    """Only a poweroff or a terminate erases the scratch disks."""
    world, project = empty()
    server_id = started(world, project)
    for action in ("stop_in_place", "poweron", "reboot"):
        world.act(ZONE, server_id, action)
        world.advance(world.now_s + 200)
    assert not world.scratch_lost
    world.act(ZONE, server_id, "poweroff")
    world.advance(world.now_s + 300)
    (loss,) = world.scratch_lost
    assert (loss.server_id, loss.size_bytes) == (server_id, 3 * 10**12)


def test_terminate_removes() -> None:
    """A terminated server allows no action, and is gone within two minutes."""
    world, project = empty()
    server_id = started(world, project)
    server = world.act(ZONE, server_id, "terminate")
    assert allowed_actions(server.state, server.state_detail) == ()
    world.advance(world.now_s + 120)
    with pytest.raises(Refusal) as refused:
        world.server(ZONE, server_id)
    assert refused.value.status == 404
    assert world.truth()[0].end_s is not None


def test_patch_moves_the_modification_date() -> None:
    """Any PATCH moves the date, even one without a change; a new detail does not."""
    world, project = empty()
    server_id = started(world, project)
    before_s = world.server(ZONE, server_id).modified_s
    world.advance(world.now_s + 100)
    assert world.server(ZONE, server_id).modified_s == before_s
    assert world.patch_server(ZONE, server_id, {}).modified_s == world.now_s
    tagged = world.patch_server(ZONE, server_id, {"tags": ["a", "b"], "name": "two"})
    assert (tagged.tags, tagged.name, tagged.state) == (("a", "b"), "two", "running")


def test_details_change_within_a_state() -> None:
    """The detail changes from allocating to booted, but the date follows the state only."""
    world, project = empty()
    server_id = make(world, project)
    world.act(ZONE, server_id, "poweron")
    seen: dict[str, int] = {}
    for _ in range(120):
        server = world.server(ZONE, server_id)
        seen.setdefault(server.state_detail, server.modified_s)
        world.advance(world.now_s + 1)
    assert list(seen) == [
        "allocating node",
        "provisioning node",
        "starting",
        "booting kernel",
        "booted",
    ]
    assert len(set(seen.values())) == 2


def test_a_newer_action_voids_the_older_ones_steps() -> None:
    """stop_in_place while starting ends in standby, not in running."""
    world, project = empty()
    server_id = make(world, project)
    world.act(ZONE, server_id, "poweron")
    world.act(ZONE, server_id, "stop_in_place")
    world.advance(world.now_s + 600)
    assert world.server(ZONE, server_id).state == "stopped in place"


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_nothing_is_allowed_in_between(state: str) -> None:
    """A server that is starting or stopping accepts neither poweron nor poweroff."""
    world, project = empty()
    server_id = started(world, project)
    world.act(ZONE, server_id, "poweroff")
    if state == "starting":
        world.advance(world.now_s + 300)
        world.act(ZONE, server_id, "poweron")
    assert world.server(ZONE, server_id).state == state
    for action in ("poweron", "poweroff", "reboot", "terminate"):
        with pytest.raises(Refusal, match="precondition_failed"):
            world.act(ZONE, server_id, action)


def test_quota_counts_every_server_that_exists() -> None:
    """Servers count against the quota until they are deleted, whether they run or not."""
    world, project = empty()
    ids = [make(world, project, "L40S-1-48G") for _ in range(4)]
    with pytest.raises(Refusal, match="quotas_exceeded"):
        make(world, project, "L40S-1-48G")
    world.delete_server(ZONE, ids[0])
    make(world, project, "L40S-1-48G")


def test_stock_is_held_until_stopped() -> None:
    """A server in standby holds its GPU; a stopped server frees it for the next one."""
    world, project = empty()
    world.market.stock_gpus[ZONE, "H100-PCIe"] = 1
    first, second = make(world, project), make(world, project)
    world.act(ZONE, first, "poweron")
    world.advance(world.now_s + 60)
    world.guest_shutdown(ZONE, first)
    with pytest.raises(Refusal, match="out_of_stock"):
        world.act(ZONE, second, "poweron")
    world.act(ZONE, first, "poweroff")
    world.advance(world.now_s + 300)
    world.act(ZONE, second, "poweron")
    with pytest.raises(Refusal, match="out_of_stock"):
        world.act(ZONE, first, "poweron")


def test_availability_follows_the_stock() -> None:
    """The free stock reads available, scarce or shortage; on some days other customers take it."""
    world, _ = empty()
    words = set()
    for _ in range(120):
        words.add(world.availability(OFFERS[ZONE]["H100-SXM-8-80G"]))
        world.advance(world.now_s + DAY_S)
    assert words == {"available", "scarce", "shortage"}
    assert world.availability(OFFERS[ZONE]["B300-SXM-8-288G"]) == "shortage"


def test_prices_change_on_a_date() -> None:
    """A price holds from its instant on, in its zone only; earlier instants keep the old price."""
    change = PriceChange(H100, START_S + DAY_S, 3_000_000, ZONE)
    world = World.build(1, START_S, workloads=())
    world.market.change_price(change)
    assert world.market.rate_ucr_per_h(OFFERS[ZONE][H100], START_S + DAY_S - 1) == 2_866_500
    assert world.market.rate_ucr_per_h(OFFERS[ZONE][H100], START_S + DAY_S) == 3_000_000
    assert world.market.rate_ucr_per_h(OFFERS["pl-waw-2"][H100], START_S + DAY_S) == 2_866_500
    world.advance(START_S + 2 * DAY_S)
    offer = next(o for o in world.offers(ZONE) if o.commercial_type == H100)
    assert offer.rate_ucr_per_h == 3_000_000
    assert world.market.rate_ucr_per_h(OFFERS[ZONE][H100], START_S) == 2_866_500


def test_gpus_are_sold_where_they_are() -> None:
    """Three of the ten zones sell GPUs, and two of them H100."""
    gpu_zones = [zone for zone in ZONES if any(offer.gpus for offer in OFFERS[zone].values())]
    assert gpu_zones == ["fr-par-1", "fr-par-2", "pl-waw-2"]
    assert [zone for zone in ZONES if H100 in OFFERS[zone]] == ["fr-par-2", "pl-waw-2"]
    assert OFFERS[ZONE]["H100-SXM-8-80G"].gpus == 8
    assert len(OFFERS[ZONE]) == 136


def test_a_stuck_server_stays_in_stopping() -> None:
    """A stuck server leaves stopping when its fault ends, and is not billed until then."""
    world, project = empty()
    server_id = started(world, project)
    until_s = world.now_s + DAY_S
    world.faults.add(Fault(FaultKind.STUCK_STOPPING, zone=ZONE, count=1, until_s=until_s))
    world.act(ZONE, server_id, "poweroff")
    stopped_s = world.now_s
    world.advance(until_s - 1)
    assert world.server(ZONE, server_id).state == "stopping"
    world.advance(until_s + 60)
    assert world.server(ZONE, server_id).state == "stopped"
    assert world.truth()[0].end_s == stopped_s


@pytest.mark.parametrize("stuck_s", range(7_200, 7_260, 7))
def test_a_server_stuck_in_a_reboot_comes_up_in_the_end(stuck_s: int) -> None:
    """The steps after stopping wait with it, and then follow in order at their intervals."""
    world, project = empty()
    server_id = started(world, project)
    until_s = world.now_s + stuck_s
    world.faults.add(Fault(FaultKind.STUCK_STOPPING, zone=ZONE, count=1, until_s=until_s))
    world.act(ZONE, server_id, "reboot")
    seen = ["stopping"]
    for now_s in range(world.now_s, until_s + 300):
        world.advance(now_s)
        server = world.server(ZONE, server_id)
        seen += [server.state] if server.state != seen[-1] else []
        assert server.state == "stopping" or now_s >= until_s
    assert seen == ["stopping", "starting", "running"]


def test_unknown_things_are_refused() -> None:
    """An unknown type, project, action or server raises Refusal and changes nothing."""
    world, project = empty()
    server_id = make(world, project)
    for ask in (
        lambda: make(world, project, "H900"),
        lambda: world.create_server(ZONE, "nobody", H100, "x"),
        lambda: world.act(ZONE, server_id, "explode"),
        lambda: world.act("fr-par-9", server_id, "poweron"),
        lambda: world.guest_shutdown(ZONE, server_id),
    ):
        with pytest.raises(Refusal):
            ask()
    assert isinstance(world.server(ZONE, server_id), Server)
    assert world.truth() == []


def test_secrets_stay_out_of_repr() -> None:
    """The text of a project does not show its key."""
    _, project = empty()
    assert project.secret_key not in repr(project)
