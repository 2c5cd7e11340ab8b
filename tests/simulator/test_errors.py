"""Refusals of the region: bodies and statuses, compared with recorded errors."""

from __future__ import annotations

import requests

from .client import ZONE, Client
from .recorded import differences, newest

NOBODY = "11111111-1111-4111-8111-111111111111"


def same(answer: requests.Response, pattern: str) -> None:
    """Assert the status and the shape of the newest recorded error."""
    recorded = newest(f"errors/{pattern}.json")
    assert answer.status_code == recorded.status
    assert differences(answer.json(), recorded.body) == []
    assert answer.json()["type"] == recorded.body["type"]
    assert answer.json()["message"] == recorded.body["message"]


def test_an_unknown_key_is_denied(client: Client) -> None:
    """An unknown key and a missing key are answered 401 denied_authentication."""
    same(client.servers(key=NOBODY), "401/*denied_authentication*")
    same(client.servers(key=None), "401/*denied_authentication*")


def test_prices_need_no_key(client: Client) -> None:
    """products/servers answers without a key."""
    path = f"/instance/v1/zones/{ZONE}/products/servers"
    assert client.ask("GET", path, key=None).status_code == 200


def test_what_is_of_another_project_is_forbidden(client: Client) -> None:
    """A startup's key may not read another's server, create in its project, or list it."""
    server_id = client.created()
    other = client.region.projects[1]
    path = f"/instance/v1/zones/{ZONE}/servers"
    same(client.ask("GET", f"{path}/{server_id}", key=other.secret_key), "403/instance_GET_perm*")
    body = {"name": "x", "commercial_type": "DEV1-S", "project": client.project.id}
    same(client.ask("POST", path, body, other.secret_key), "403/instance_GET_perm*")
    assert client.servers(key=other.secret_key).json() == {"servers": []}
    assert len(client.servers(key=client.project.secret_key).json()["servers"]) == 1


def test_a_startup_sees_its_own_project_only(client: Client) -> None:
    """The list of projects answers a startup's key with its own."""
    key = client.project.secret_key
    said = client.ask("GET", "/account/v3/projects", key=key).json()
    assert [project["id"] for project in said["projects"]] == [client.project.id]
    other = client.region.projects[1].id
    assert client.ask("GET", f"/account/v3/projects/{other}", key=key).status_code == 403


def test_what_is_not_there_is_not_found(client: Client) -> None:
    """Reading, acting on or deleting an unknown server, or reading an unknown project, is 404."""
    same(client.one(NOBODY), "404/instance_GET_not_found_instance_server_*")
    same(client.act(NOBODY, "poweron"), "404/instance_POST_not_found_instance_server_*")
    same(client.one(NOBODY, "DELETE"), "404/instance_DELETE_not_found_instance_server_*")
    path = f"/account/v3/projects/{NOBODY}"
    same(client.ask("GET", path), "404/account_GET_not_found_project_id_*")


def test_a_running_server_cannot_be_started(client: Client) -> None:
    """poweron on a server that runs is a failed precondition."""
    server_id = client.created()
    client.act(server_id, "poweron")
    client.pass_time(60)
    same(client.act(server_id, "poweron"), "400/instance_POST_precondition_failed_*")


def test_a_stopped_server_cannot_be_terminated(client: Client) -> None:
    """terminate refuses a stopped server; only DELETE removes it."""
    server_id = client.created()
    assert client.act(server_id, "terminate").status_code == 400
    assert client.one(server_id, "DELETE").status_code == 204


def test_a_running_server_cannot_be_deleted(client: Client) -> None:
    """DELETE refuses a server that is not stopped, and one that is protected."""
    server_id = client.created()
    client.one(server_id, "PATCH", {"protected": True})
    assert client.one(server_id, "DELETE").status_code == 412
    client.one(server_id, "PATCH", {"protected": False})
    client.act(server_id, "poweron")
    assert client.one(server_id, "DELETE").status_code == 400


def test_a_used_up_quota_is_a_403(client: Client) -> None:
    """A server above the quota of a type is refused in the shape of the recorded quota error."""
    for _ in range(4):
        client.created("L4-1-24G")
    same(client.create("L4-1-24G"), "403/account_POST_quotas_exceeded_*")


def test_a_zone_without_hardware_is_out_of_stock(client: Client) -> None:
    """poweron is refused when the zone has no free GPU, in the recorded shape."""
    server_id = client.created("B300-SXM-8-288G")
    same(client.act(server_id, "poweron"), "503/*out_of_stock*")
    assert client.state(server_id) == "stopped"


def test_bad_arguments_are_named(client: Client) -> None:
    """A bad filter, order, page, body or type is a 400 that names the argument."""
    bad = {"?state=stopped%20in%20place": "state", "?order=age": "order", "?page=0": "page"}
    for query, name in bad.items():
        answer = client.servers(query)
        same_shape = newest("errors/400/instance_PATCH_invalid_arguments_*.json").body
        assert answer.status_code == 400
        assert differences(answer.json(), same_shape) == []
        assert answer.json()["details"][0]["argument_name"] == name
    assert client.create("H900-1").status_code == 400


def test_what_is_not_served_is_a_404(client: Client) -> None:
    """A path without an endpoint is an unknown resource."""
    answer = client.ask("GET", "/nothing/v1")
    assert answer.status_code == 404
    assert answer.json()["type"] == "unknown_resource"
