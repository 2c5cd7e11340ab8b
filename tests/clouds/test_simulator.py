"""The adapter against the simulated region, a process of its own, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import requests

from quotas.model.observation import Cause, Complete, Partial, Server, Unknown
from scheduler.clouds.base import Conflict, KeyRefused, NotFound
from scheduler.clouds.scaleway import ScalewayCloud
from scheduler.clouds.transport import Limits
from simulator.process import Running, running

from .scripted_http import SECRET_KEY, ZONE, Clock, server_id

NOON_S = 12 * 3600
FAULTS = [
    ("rate_limited", Cause.THROTTLED),
    ("bad_gateway", Cause.FAULT),
    ("zone_outage", Cause.FAULT),
    ("empty_object", Cause.MALFORMED),
    ("revoked_key", Cause.KEY_REFUSED),
    ("hang", Cause.UNREACHABLE),
    ("partial_page", Cause.INCONSISTENT),
    ("duplicate_server", Cause.INCONSISTENT),
    ("count_mismatch", Cause.INCONSISTENT),
]


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    """A region whose clock only the test moves, at noon of its third day."""
    with running("--clock", "controller", "--seed", "1") as region:
        control(region, "clock", now_s=start_s(region) + 2 * 86_400 + NOON_S)
        yield region


@pytest.fixture
def region(process: Running) -> Iterator[Running]:
    """The region without faults, before and after each test."""
    yield process
    requests.delete(f"{process.control_url}/faults", timeout=10)


def start_s(region: Running) -> int:
    """The first instant of the region's world."""
    return int(datetime.fromisoformat(region.start).timestamp())


def control(region: Running, what: str, **body: Any) -> dict[str, Any]:
    """Ask the region's control endpoint."""
    answer = requests.post(f"{region.control_url}/{what}", json=body, timeout=60)
    assert answer.ok, answer.text
    said: dict[str, Any] = answer.json()
    return said


def cloud(region: Running, **options: Any) -> ScalewayCloud:
    """The adapter with the operator's key."""
    settings: dict[str, Any] = {"secret_key": region.secret_key, "limits": Limits(read_s=10)}
    clock = Clock()
    return ScalewayCloud.connect(
        access_key=region.access_key,
        organization_id=region.organization_id,
        api_url=region.url,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
        **settings | options,
    )


def ran(region: Running, zone: str) -> set[str]:
    """The servers that run in a zone by the region's own truth."""
    runs = requests.get(f"{region.control_url}/truth", timeout=60).json()["runs"]
    return {run["server_id"] for run in runs if run["zone"] == zone and run["end_s"] is None}


def billable(region: Running) -> tuple[Server, ...]:
    """The billable servers of the main zone, by a sweep that must be Complete."""
    sweep = cloud(region).sweep(ZONE, 7)
    assert isinstance(sweep, Complete)
    return tuple(server for server in sweep.servers if server.is_billable)


def test_every_zone_is_complete(region: Running) -> None:
    """Each zone of the region is read whole, with servers of its own projects only."""
    ours = {project.id for project in cloud(region).projects()}
    assert ours >= {project.id for project in region.projects}
    for zone in region.zones:
        sweep = cloud(region).sweep(zone, 7)
        assert isinstance(sweep, Complete), sweep
        assert {server.project_id for server in sweep.servers} <= ours


def test_billable_servers_are_the_truth(region: Running) -> None:
    """The billable servers of a sweep are those that the region itself counts as running."""
    seen = {server.id for server in billable(region)}
    assert seen and seen == ran(region, ZONE)


def test_prices_are_read_exactly(region: Running) -> None:
    """The catalogue has the type with eight H100, with its GPUs and its price in micro-credits."""
    offers = {offer.commercial_type: offer for offer in cloud(region).offers(ZONE)}
    sxm = offers["H100-SXM-8-80G"]
    assert (sxm.gpus, sxm.rate_ucr_per_h) == (8, 25_330_800)


def test_power_off_and_on_are_seen(region: Running) -> None:
    """A running server that is powered off is seen stopped, and may be started again."""
    server = next(s for s in billable(region) if "poweroff" in s.allowed_actions)
    ours = cloud(region)
    ours.power_off(ZONE, server.id)
    assert ours.server(ZONE, server.id).state in ("stopping", "stopped")
    now_s = requests.get(f"{region.control_url}/clock", timeout=10).json()["now_s"]
    control(region, "clock", now_s=now_s + 300)
    stopped = ours.server(ZONE, server.id)
    assert stopped.state == "stopped" and not stopped.is_billable
    assert now_s <= stopped.modified_s <= now_s + 300
    with pytest.raises(Conflict):
        ours.power_off(ZONE, server.id)
    ours.power_on(ZONE, server.id)
    assert ours.server(ZONE, server.id).is_billable


def test_guest_shutdown_is_still_billable(region: Running) -> None:
    """A server shut down inside its guest stands in place, and is billable."""
    server = next(s for s in billable(region) if s.state == "running")
    control(region, "guest-shutdown", zone=ZONE, server_id=server.id)
    now_s = requests.get(f"{region.control_url}/clock", timeout=10).json()["now_s"]
    control(region, "clock", now_s=now_s + 120)
    standing = cloud(region).server(ZONE, server.id)
    assert standing.state == "stopped in place" and standing.is_billable


def test_missing_server_is_not_found(region: Running) -> None:
    """A server that never existed is NotFound."""
    with pytest.raises(NotFound):
        cloud(region).server(ZONE, server_id(1))


def test_wrong_key_is_refused(region: Running) -> None:
    """A key that the region does not know is KeyRefused, and its zone Unknown."""
    stranger = cloud(region, secret_key=SECRET_KEY)
    with pytest.raises(KeyRefused):
        stranger.projects()
    sweep = stranger.sweep(ZONE, 7)
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.KEY_REFUSED


@pytest.mark.parametrize(("kind", "cause"), FAULTS)
def test_fault_is_never_a_complete_sweep(region: Running, kind: str, cause: Cause) -> None:
    """While a fault lasts the zone is Partial or Unknown for its cause; then Complete again."""
    control(region, "faults", kind=kind, path="/servers")
    sweep = cloud(region, limits=Limits(read_s=0.2, attempts=2)).sweep(ZONE, 7)
    assert isinstance(sweep, (Partial, Unknown)) and sweep.cause is cause
    requests.delete(f"{region.control_url}/faults", timeout=10)
    assert isinstance(cloud(region).sweep(ZONE, 7), Complete)


def test_one_throttled_request_is_survived(region: Running) -> None:
    """A single 429 is retried: the sweep is Complete."""
    control(region, "faults", kind="rate_limited", count=1)
    assert isinstance(cloud(region).sweep(ZONE, 7), Complete)


def test_unknown_state_is_billable(region: Running) -> None:
    """An unknown state is read, and is billable."""
    control(region, "faults", kind="unknown_state")
    known = {"running", "stopped", "stopped in place", "starting", "stopping", "locked"}
    odd = [server for server in billable(region) if server.state not in known]
    assert odd
