"""Faults strike in the requested way and place, and within their limits."""

from __future__ import annotations

import pytest
import requests

from simulator.world.faults import Fault, FaultKind, Faults

from .client import ZONE, Client
from .recorded import newest

LIST = f"/instance/v1/zones/{ZONE}/servers"


def fault(client: Client, kind: str, **limits: object) -> None:
    """Put a fault in force."""
    client.control("POST", "faults", kind=kind, **limits)


def test_rate_limited_is_an_empty_429(client: Client) -> None:
    """A 429 is as recorded: no body, no Retry-After, and Envoy's header."""
    recorded = newest("errors/429/block_GET_*.json")
    fault(client, "rate_limited", count=1)
    answer = client.servers()
    assert (answer.status_code, answer.text) == (recorded.status, recorded.body)
    assert answer.headers["X-Envoy-Ratelimited"] == recorded.headers["X-Envoy-Ratelimited"]
    assert "Retry-After" not in answer.headers
    assert client.servers().status_code == 200


def test_bad_gateway_is_html(client: Client) -> None:
    """A 502 has an HTML page as its body, not JSON."""
    fault(client, "bad_gateway", count=1)
    answer = client.servers()
    assert answer.status_code == 502
    assert answer.headers["Content-Type"].startswith("text/html")


def test_empty_object_is_a_200(client: Client) -> None:
    """A 200 with an empty object."""
    fault(client, "empty_object", count=1)
    answer = client.servers()
    assert (answer.status_code, answer.json()) == (200, {})


def test_hang_never_answers(client: Client) -> None:
    """A request that hangs ends at the client's timeout; the next one is answered."""
    fault(client, "hang", count=1)
    with pytest.raises(requests.Timeout):
        requests.get(client.region.url + LIST, timeout=0.2)
    assert client.servers().status_code == 200


def test_slow_answers_in_the_end(client: Client) -> None:
    """A slow request is answered, after longer than an impatient client waits."""
    fault(client, "slow", count=2, delay_s=1)
    with pytest.raises(requests.Timeout):
        requests.get(client.region.url + LIST, timeout=0.2)
    assert client.servers().status_code == 200


def test_zone_outage_is_of_that_zone(client: Client) -> None:
    """One zone fails for reads and prices, while other zones and the account answer."""
    fault(client, "zone_outage", zone=ZONE)
    assert client.servers().status_code == 503
    assert client.ask("GET", f"/instance/v1/zones/{ZONE}/products/servers").status_code == 503
    assert client.servers(zone="pl-waw-2").status_code == 200
    assert client.ask("GET", "/account/v3/projects").status_code == 200


def test_a_revoked_key_is_denied(client: Client) -> None:
    """Every request is a 401, until the fault is cleared."""
    fault(client, "revoked_key")
    assert client.servers().status_code == 401
    assert client.servers().json()["type"] == "denied_authentication"
    client.control("DELETE", "faults")
    assert client.servers().status_code == 200


def test_lists_can_lie(client: Client) -> None:
    """Partial pages, duplicates, wrong counts and unknown states each last one request."""
    ids = {client.created("DEV1-S"), client.created("DEV1-S")}
    fault(client, "partial_page", count=1)
    partial = client.servers()
    assert len(partial.json()["servers"]) == 1
    assert partial.headers["X-Total-Count"] == "2"
    fault(client, "duplicate_server", count=1)
    listed = [server["id"] for server in client.servers().json()["servers"]]
    assert (len(listed), set(listed)) == (3, ids)
    fault(client, "count_mismatch", count=1)
    assert client.servers().headers["X-Total-Count"] == "3"
    fault(client, "unknown_state", count=1)
    states = {server["state"] for server in client.servers().json()["servers"]}
    assert "hibernated" in states
    honest = client.servers()
    assert {server["id"] for server in honest.json()["servers"]} == ids
    assert honest.headers["X-Total-Count"] == "2"


def test_a_missing_price_is_no_zero(client: Client) -> None:
    """The price key is absent, for GPU types only."""
    fault(client, "missing_price", count=1)
    path = f"/instance/v1/zones/{ZONE}/products/servers"
    types = client.ask("GET", path).json()["servers"]
    assert "hourly_price" not in types["H100-1-80G"]
    assert types["DEV1-S"]["hourly_price"] == 0.008976
    assert "hourly_price" in client.ask("GET", path).json()["servers"]["H100-1-80G"]


def test_a_stale_read_shows_the_time_before(client: Client) -> None:
    """For a while after an action, reads show the state before it."""
    server_id = client.created()
    fault(client, "stale_read", delay_s=5)
    client.act(server_id, "poweron")
    assert client.state(server_id) == "stopped"
    assert client.servers().json()["servers"][0]["state"] == "stopped"
    client.pass_time(6)
    assert client.state(server_id) == "starting"


def test_a_stuck_server_is_shown_stopping(client: Client) -> None:
    """The server stays in stopping until the fault ends."""
    server_id = client.created()
    client.act(server_id, "poweron")
    client.pass_time(60)
    fault(client, "stuck_stopping", count=1)
    client.act(server_id, "poweroff")
    client.pass_time(86_400)
    assert client.state(server_id) == "stopping"
    client.control("DELETE", "faults")
    client.pass_time(60)
    assert client.state(server_id) == "stopped"


def test_faults_can_be_bad(client: Client) -> None:
    """An unknown kind or limit of a fault is a 400, and adds no fault."""
    for body in ({"kind": "fire"}, {"kind": "slow", "colour": 1}, {}):
        url = f"{client.region.control_url}/faults"
        assert requests.post(url, json=body, timeout=10).status_code == 400
    assert client.control("GET", "faults")["faults"] == []


def test_a_fault_keeps_to_its_limits() -> None:
    """Zone, path, method, count and instants all limit a fault."""
    faults = Faults()
    kind = FaultKind.SLOW
    limits = Fault(kind, zone=ZONE, path="/servers", method="GET", count=2, from_s=10, until_s=20)
    faults.add(limits)
    assert faults.take(kind, 9, ZONE, LIST, "GET") is None
    assert faults.take(kind, 20, ZONE, LIST, "GET") is None
    assert faults.take(kind, 15, "fr-par-1", LIST, "GET") is None
    assert faults.take(kind, 15, ZONE, "/account", "GET") is None
    assert faults.take(kind, 15, ZONE, LIST, "POST") is None
    assert faults.take(FaultKind.HANG, 15, ZONE, LIST, "GET") is None
    assert faults.take(kind, 10, ZONE, LIST, "GET") is not None
    assert faults.take(kind, 19, ZONE, LIST, "GET") is not None
    assert faults.take(kind, 19, ZONE, LIST, "GET") is None
    assert faults.listed == ()


def test_a_fault_that_never_strikes_is_refused() -> None:
    """A count below one is refused."""
    with pytest.raises(ValueError, match="at least once"):
        Faults().add(Fault(FaultKind.SLOW, count=0))
