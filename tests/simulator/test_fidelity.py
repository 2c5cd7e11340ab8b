"""Shapes, statuses and headers of the region's answers, compared with recordings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from .client import ZONE, Client
from .recorded import Recording, differences, newest, recordings

DROPPED = {
    "admin_password_encrypted_value": "Windows servers only",
    "admin_password_encryption_ssh_key_id": "Windows servers only",
    "placement_policy_respected": "servers in a placement group only",
    "placement_group": "an object only for servers in a placement group",
}
"""Keys of some recorded servers that the region never shows, each with the reason."""

HEADERS = ("Content-Type", "Link", "Location", "X-Total-Count", "Date", "Server", "X-Request-Id")


def ok(each: Recording) -> bool:
    """Whether a recorded answer contains a server."""
    return each.status in (200, 201) and "server" in each.body


def on_gpu(each: Recording) -> bool:
    """Whether a recorded server has GPUs, and so the same volumes as the region's servers."""
    return ok(each) and each.body["server"]["commercial_type"].startswith(("H100", "L40S"))


def same(answer: requests.Response, recorded: Recording) -> None:
    """Assert status, headers and shape."""
    assert answer.status_code == recorded.status
    assert [name for name in HEADERS if name in answer.headers] == [
        name for name in HEADERS if name in recorded.headers
    ]
    assert answer.headers.get("Content-Type") == recorded.headers.get("Content-Type")
    if answer.content:
        assert differences(answer.json(), recorded.body) == []
    else:
        assert recorded.body == ""


def running(client: Client) -> str:
    """The id of a server that runs."""
    server_id = client.created()
    client.act(server_id, "poweron")
    client.pass_time(120)
    return server_id


def test_create_answers_as_recorded(client: Client) -> None:
    """A created GPU server has the keys, types, status and headers of the newest recording."""
    same(client.create(), newest("instance/servers_create/*.json", on_gpu))


def test_get_answers_as_recorded(client: Client) -> None:
    """A running server has the keys and types of the newest recording of a GPU server."""
    same(client.one(running(client)), newest("instance/server_get/*.json", on_gpu))


def test_newest_server_of_any_type_has_the_same_keys(client: Client) -> None:
    """The newest recorded server of any type has the same keys as ours."""
    recorded = newest("instance/server_get/*.json", ok)
    ours = client.one(running(client)).json()["server"]
    assert set(ours) == set(recorded.body["server"])


def test_list_answers_as_recorded(client: Client) -> None:
    """A list has the shape and the headers of the newest recording of a list."""
    running(client)
    is_filled = lambda each: bool(each.body["servers"])  # noqa: E731
    recorded = newest("instance/servers_list/*.json", is_filled)
    answer = client.servers("?order=creation_date_desc&page=1")
    server = recorded.body["servers"][0]
    without_ips: dict[str, object] = {"public_ip": None, "public_ips": [], "private_nics": []}
    body = {"servers": [server | without_ips]}
    assert answer.status_code == recorded.status
    assert differences(answer.json(), body) == []
    assert answer.headers["X-Total-Count"] == "1"
    assert answer.headers["Link"] == (
        '</servers?page=1&per_page=50&order=creation_date_desc>; rel="last"'
    )


def test_an_empty_list_links_to_page_zero(client: Client) -> None:
    """The last page of an empty list is page 0, as recorded in five zones."""
    is_empty = lambda each: not each.body["servers"] and "project" not in each.url  # noqa: E731
    recorded = newest("instance/servers_list/*.json", is_empty)
    answer = client.servers("?" + recorded.url.partition("?")[2], zone="fr-par-3")
    assert answer.headers["Link"] == recorded.headers["Link"]
    assert answer.headers["X-Total-Count"] == recorded.headers["X-Total-Count"] == "0"


def test_patch_answers_as_recorded(client: Client) -> None:
    """A PATCH answers with the whole server, in the newest recorded shape."""
    is_plain = lambda each: ok(each) and len(each.body["server"]) == 36  # noqa: E731
    recorded = newest("instance/server_patch/*.json", is_plain)
    answer = client.one(running(client), "PATCH", {"tags": ["a"]})
    assert answer.status_code == recorded.status
    assert set(answer.json()["server"]) == set(recorded.body["server"])


def test_delete_answers_as_recorded(client: Client) -> None:
    """A DELETE answers 204 with no body."""
    same(client.one(client.created(), "DELETE"), newest("instance/server_delete/*.json"))


@pytest.mark.parametrize("action", ["poweron", "poweroff", "stop_in_place", "reboot", "terminate"])
def test_actions_answer_as_recorded(client: Client, action: str) -> None:
    """Every action answers 202 with a short task, in the newest recorded shape."""
    sent: Callable[[Recording], bool] = lambda each: (  # noqa: E731
        isinstance(each.sent, dict) and each.sent.get("action") == action and each.status == 202
    )
    recorded = newest("instance/server_action/*.json", sent)
    server_id = client.created() if action == "poweron" else running(client)
    answer = client.act(server_id, action)
    same(answer, recorded)
    assert answer.json()["task"]["description"] == recorded.body["task"]["description"]


@pytest.mark.parametrize("page", [1, 2, 3])
def test_products_answer_as_recorded(client: Client, page: int) -> None:
    """Every page of products has the recorded types, each with its shape and its price."""
    recorded = newest(f"instance/products_servers/latest/{ZONE}_*_p{page}.json")
    query = f"?page={page}"
    answer = client.ask("GET", f"/instance/v1/zones/{ZONE}/products/servers{query}", key=None)
    assert answer.headers["X-Total-Count"] == recorded.headers["X-Total-Count"]
    ours, theirs = answer.json()["servers"], recorded.body["servers"]
    assert list(ours) == list(theirs)
    for name in ours:
        assert differences(ours[name], theirs[name], name) == []
        assert ours[name]["hourly_price"] == theirs[name]["hourly_price"]
        assert {key: ours[name][key] for key in ("ncpus", "ram", "gpu", "gpu_info")} == {
            key: theirs[name][key] for key in ("ncpus", "ram", "gpu", "gpu_info")
        }


def test_product_links_are_as_recorded(client: Client) -> None:
    """The Link header of a middle page equals the recorded one."""
    recorded = newest("instance/products_servers/latest/fr-par-1_*_p2.json")
    path = "/instance/v1/zones/fr-par-1/products/servers?page=2"
    assert client.ask("GET", path).headers["Link"] == recorded.headers["Link"]


def test_availability_answers_as_recorded(client: Client) -> None:
    """Availability has the recorded shape, and only recorded words."""
    every = recordings(f"instance/products_servers_availability/{ZONE}_*.json")
    answer = client.ask("GET", f"/instance/v1/zones/{ZONE}/products/servers/availability")
    ours = answer.json()["servers"]
    assert differences(ours["H100-1-80G"], {"availability": "available"}) == []
    words = {item["availability"] for each in every for item in each.body["servers"].values()}
    assert {item["availability"] for item in ours.values()} <= words
    assert answer.headers["X-Total-Count"] == every[-1].headers["X-Total-Count"]


def test_projects_answer_as_recorded(client: Client) -> None:
    """One project, and the list of projects, have the newest recorded shapes."""
    is_one: Callable[[Recording], bool] = lambda each: "id" in each.body  # noqa: E731
    one = newest("account/GET_200_*.json", is_one)
    path = "/account/v3/projects"
    same(client.ask("GET", f"{path}/{client.project.id}"), one)
    is_list: Callable[[Recording], bool] = lambda each: "projects" in each.body  # noqa: E731
    same(client.ask("GET", path), newest("account/GET_200_*.json", is_list))


@pytest.mark.parametrize("folder", ["server_get", "servers_create", "server_patch"])
def test_every_key_ever_recorded_is_there(client: Client, folder: str) -> None:
    """The region shows every key of every recorded server, except those listed with a reason."""
    ours: dict[str, Any] = client.one(running(client)).json()["server"]
    seen = [each for each in recordings(f"instance/{folder}/*.json") if ok(each)]
    keys = {key for each in seen for key in each.body["server"]}
    assert keys - ours.keys() - DROPPED.keys() == set()
