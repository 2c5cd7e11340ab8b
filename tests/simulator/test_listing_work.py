"""The work of a listing: a page costs the servers on it, and not the servers of the zone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from simulator.api import instance, render
from simulator.api.requests import Answer, Call, RegionApp, identify
from simulator.clock import Clock
from simulator.world.faults import Fault, FaultKind
from simulator.world.iam.principals import Iam
from simulator.world.region import World

ZONE = "fr-par-2"
TYPE = "DEV1-S"
STARTUPS = 3


def fleet(servers: int) -> World:
    """A world whose startups own so many servers together, in turn."""
    world = World.build(1, 1_799_107_200, workloads=())
    world.market.quota_servers[TYPE] = servers
    projects = [world.add_startup(f"startup-{number}") for number in range(STARTUPS)]
    for number in range(servers):
        world.create_server(ZONE, projects[number % STARTUPS].id, TYPE, f"server-{number}")
    return world


def listed(world: World, key: str, **query: str) -> Answer:
    """The answer of a listing."""
    region_app = RegionApp(world, Clock.starting(world.now_s, None))
    caller = identify(world, key)
    return instance.list_servers(Call(region_app, caller, {"zone": ZONE}, QueryParams(query), {}))


def work(world: World, key: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often one page looks at all servers, at one server, and at permissions."""
    done: Counter[str] = Counter()
    with monkeypatch.context() as patched:
        for owner, name in ((World, "servers"), (World, "server"), (Iam, "may")):
            whole: Any = getattr(owner, name)

            def counted(*args: Any, _whole: Any = whole, _name: str = name) -> Any:
                done[_name] += 1
                return _whole(*args)

            patched.setattr(owner, name, counted)
        answer = listed(world, key, order="creation_date_asc", page="2", per_page="10")
    assert answer.body.count(b'"commercial_type"') == 10
    return done


@pytest.mark.parametrize("caller", ["operator", "startup"])
def test_a_page_costs_what_is_on_it(caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ten times the servers a page looks at the same ten, and at each project once."""
    works = []
    for servers in (90, 900):
        world = fleet(servers)
        key = world.operator_key if caller == "operator" else world.projects[0].secret_key
        works.append(work(world, key, monkeypatch))
    assert works[0] == works[1] == {"server": 10, "may": STARTUPS}


@pytest.mark.parametrize("order", ["creation_date_asc", "creation_date_desc"])
@pytest.mark.parametrize("page", ["1", "3", "4", "5"])
def test_the_index_lists_what_a_scan_lists(order: str, page: str) -> None:
    """After deletions every page equals the one that a look at every server finds."""
    world = fleet(40)
    for server in world.servers(ZONE)[5:12]:
        world.delete_server(ZONE, server.id)
    query = {"order": order, "page": page, "per_page": "10"}
    for key in (world.operator_key, *(project.secret_key for project in world.projects)):
        indexed = listed(world, key, **query)
        scanned = listed(world, key, **query, organization=world.organization_id)
        assert indexed.body == scanned.body
        assert indexed.headers["X-Total-Count"] == scanned.headers["X-Total-Count"]


def test_a_caller_of_several_projects_sees_these_alone() -> None:
    """A key with two of three projects lists the servers of both, in order."""
    world = fleet(9)
    reader = world.iam.add("application", "reader", world.now_s)
    key = world.iam.add_key(reader.id, world.projects[0].id, world.now_s)
    owned = [project.id for project in world.projects[:2]]
    rule = {"permission_set_names": ["InstancesReadOnly"], "project_ids": owned}
    world.iam.add_policy("reader", reader.id, [rule], world.now_s)
    expected = [server for server in world.servers(ZONE) if server.project_id in owned]
    answer = listed(world, key.secret_key, order="creation_date_asc")
    texts = [render.server_json(server, world.organization_id) for server in expected]
    assert answer.body == b'{"servers": [' + b", ".join(texts) + b"]}"


def test_stale_reads_are_found_in_every_listing() -> None:
    """While a fault is in force, a listing looks at every server: it may show old ones."""
    world = fleet(3)
    server = world.servers(ZONE)[0]
    world.act(ZONE, server.id, "poweron")
    world.faults.add(Fault(FaultKind.STALE_READ, delay_s=60))
    answer = listed(world, world.operator_key)
    assert answer.body.count(b'"state": "stopped"') == 3
