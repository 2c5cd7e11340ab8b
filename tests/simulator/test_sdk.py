"""The official SDK works with the region; only its address changes."""

from __future__ import annotations

from datetime import datetime

import pytest
from scaleway import Client as Sdk  # type: ignore[import-untyped]
from scaleway import ScalewayException
from scaleway.account.v3 import AccountV3ProjectAPI  # type: ignore[import-untyped]
from scaleway.instance.v1 import InstanceV1API, ListServersRequestOrder  # type: ignore[import-untyped]
from scaleway.instance.v1.custom_api import InstanceUtilsV1API  # type: ignore[import-untyped]
from scaleway.instance.v1.types import ServerAction  # type: ignore[import-untyped]

from simulator.process import Running, running

from .client import H100, ZONE, Client


def sdk(region: Running, secret_key: str | None = None) -> Sdk:
    """The SDK's client; only the address and the key are ours."""
    made = Sdk(
        access_key=region.access_key,
        secret_key=secret_key or region.secret_key,
        api_url=region.url,
        default_organization_id=region.organization_id,
    )
    made.validate()
    return made


@pytest.fixture
def api(client: Client) -> InstanceV1API:
    """Instance v1 with the operator's key."""
    return InstanceV1API(sdk(client.region))


def test_the_sdk_reads_servers(api: InstanceV1API, client: Client) -> None:
    """Lists and reads return what was created, with dates and a total that is a string."""
    server_id = client.created(tags=["a", "b"])
    listed = api.list_servers(zone=ZONE, per_page=100, tags=["b", "a"])
    assert str(listed.total_count) == "1"
    server = api.get_server(zone=ZONE, server_id=server_id).server
    assert server is not None
    assert (server.id, server.state, server.commercial_type) == (server_id, "stopped", H100)
    assert server.tags == ["a", "b"]
    assert isinstance(server.modification_date, datetime)
    assert server.modification_date.timestamp() == client.now_s()


def test_the_sdk_filters(api: InstanceV1API, client: Client) -> None:
    """Each filter shortens the list, and a filter without a match empties it."""
    server_id = client.created(name="alpha-1")
    client.created("L4-1-24G", name="beta")
    project = client.project.id

    def count(**filters: object) -> int:
        return len(api.list_servers(zone=ZONE, **filters).servers)

    assert count() == count(organization=client.region.organization_id) == 2
    assert count(project=project) == 2
    assert count(project=client.region.projects[1].id) == 0
    assert count(name="alpha") == count(commercial_type=H100) == count(servers=[server_id]) == 1
    assert count(state="running") == 0
    assert count(tags=["none"]) == 0


def test_the_sdk_pages(api: InstanceV1API, client: Client) -> None:
    """Pages cover every server once, in the requested order; per_page is at most 100."""
    made = [client.created("DEV1-S", name=f"s{index}") for index in range(7)]
    order = ListServersRequestOrder.CREATION_DATE_ASC
    pages = [
        [s.id for s in api.list_servers(zone=ZONE, per_page=3, page=n, order=order).servers]
        for n in (1, 2, 3, 4)
    ]
    assert pages == [made[:3], made[3:6], made[6:], []]
    assert [s.id for s in api.list_servers(zone=ZONE).servers] == made[::-1]
    assert "per_page=100" in client.servers("?per_page=900").headers["Link"]


def test_the_sdk_stops_and_starts(api: InstanceV1API, client: Client) -> None:
    """Actions through the SDK change the state, and the allowed actions are listed."""
    server_id = client.created()
    task = api.server_action(zone=ZONE, server_id=server_id, action=ServerAction.POWERON).task
    assert task is not None and task.status == "pending"
    client.pass_time(60)
    allowed = api.list_server_actions(zone=ZONE, server_id=server_id).actions
    assert allowed == ["poweroff", "terminate", "reboot", "stop_in_place", "backup"]
    api.server_action(zone=ZONE, server_id=server_id, action=ServerAction.POWEROFF)
    client.pass_time(200)
    assert client.state(server_id) == "stopped"
    api.delete_server(zone=ZONE, server_id=server_id)
    with pytest.raises(ScalewayException) as error:
        api.get_server(zone=ZONE, server_id=server_id)
    assert error.value.status_code == 404


def test_the_sdk_creates(client: Client) -> None:
    """A server is created through the SDK by a startup's own key."""
    own = sdk(client.region, client.project.secret_key)
    made = InstanceUtilsV1API(own).create_server(
        zone=ZONE, commercial_type=H100, name="mine", project=client.project.id, protected=False
    )
    assert made.server is not None
    assert client.state(made.server.id) == "stopped"


def test_the_sdk_reads_prices(api: InstanceV1API) -> None:
    """Three pages of types hold all 136, with the H100 and its price."""
    pages = [api.list_servers_types(zone=ZONE, page=number).servers for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [50, 50, 36]
    prices = {name: kind.hourly_price for page in pages for name, kind in page.items()}
    assert prices[H100] == 2.8665
    assert prices["H100-SXM-8-80G"] == 25.3308
    stock = api.get_server_types_availability(zone=ZONE, per_page=100).servers
    assert stock["B300-SXM-8-288G"].availability == "shortage"


def test_the_sdk_reads_projects(client: Client) -> None:
    """All projects are listed, with their organization."""
    projects = AccountV3ProjectAPI(sdk(client.region)).list_projects_all()
    assert {project.id for project in projects} == {each.id for each in client.region.projects}
    assert {project.organization_id for project in projects} == {client.region.organization_id}


def test_six_months_of_five_startups() -> None:
    """The default world plays six months, and the SDK sees its servers on the way."""
    with running("--clock", "controller", "--seed", "2") as region:
        client = Client(region)
        api = InstanceV1API(sdk(region))
        seen = set()
        for _ in range(26):
            client.pass_time(7 * 86_400)
            seen |= {server.state for server in api.list_servers(zone=ZONE, per_page=100).servers}
        truth = client.control("GET", "truth")
    assert {"running", "stopped", "stopped in place"} <= seen
    assert len({run["project_id"] for run in truth["runs"]}) == 5
    assert truth["prices"]["H100-1-80G@fr-par-2"][-1][1] == 2_866_500
