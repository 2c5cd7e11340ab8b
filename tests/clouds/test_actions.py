"""Single servers, actions, offers and projects: the requests sent and the answers accepted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from scheduler.clouds.base import Cloud, CloudError, Malformed, Project
from scheduler.clouds.scaleway import ScalewayCloud

from .scripted_http import ORGANIZATION, ZONE, Reply, harness, server_id, server_json

TASK = {"id": server_id(0), "description": "fake task", "status": "pending", "progress": 0}


def answered(body: object, status: int = 200, total: int | None = None) -> Reply:
    """A reply with a JSON body."""
    headers = {} if total is None else {"X-Total-Count": str(total)}
    return Reply(status, json.dumps(body).encode(), headers)


def offered(**changes: object) -> Reply:
    """A catalogue with one GPU type."""
    offer = {"gpu": 1, "gpu_info": {}, "hourly_price": 2.8665, "scratch_storage_max_size": 3}
    return answered({"servers": {"H100-1-80G": offer | changes}}, total=1)


def test_it_is_a_cloud() -> None:
    """The adapter satisfies the interface."""
    cloud: Cloud = harness(Reply()).cloud
    assert isinstance(cloud, ScalewayCloud)


@pytest.mark.parametrize("action", ["poweroff", "poweron"])
def test_action_is_asked_as_the_sdk_does(action: str) -> None:
    """An action is one POST with its name; it succeeds with 202 and a task."""
    far = harness(answered({"task": TASK}, 202))
    act = far.cloud.power_off if action == "poweroff" else far.cloud.power_on
    act(ZONE, server_id(1))
    [request] = far.adapter.asked
    assert str(request.url).endswith(f"/instance/v1/zones/{ZONE}/servers/{server_id(1)}/action")
    assert json.loads(request.body or "") == {"action": action}


@pytest.mark.parametrize(
    "reply",
    [
        answered({"task": TASK}, 200),
        answered({}, 202),
        answered({"task": None}, 202),
        answered({"task": {}}, 202),
        Reply(202, b""),
    ],
)
def test_action_without_202_and_task_is_not_believed(reply: Reply) -> None:
    """Anything but 202 with a task is Malformed."""
    with pytest.raises(Malformed):
        harness(reply).cloud.power_off(ZONE, server_id(1))


@pytest.mark.parametrize(
    "bad", ["", "../../x?y=1", server_id(1) + "/", server_id(1) + "\n", server_id(1)[:-1], "é" * 36]
)
def test_what_is_no_uuid_is_refused(bad: str) -> None:
    """Text that is not a UUID never enters a path."""
    far = harness(Reply())
    calls: list[Callable[[str, str], object]] = [
        far.cloud.server,
        far.cloud.power_off,
        far.cloud.power_on,
    ]
    for call in calls:
        with pytest.raises(ValueError, match="is not a UUID"):
            call(ZONE, bad)
        with pytest.raises(ValueError, match="is not a zone"):
            call("fr-par-2/servers/x?", server_id(1))
    assert far.adapter.asked == []


def test_another_server_is_not_believed() -> None:
    """An answer about another server is refused."""
    with pytest.raises(CloudError, match="another"):
        harness(answered({"server": server_json(2)})).cloud.server(ZONE, server_id(1))


@pytest.mark.parametrize(
    ("price", "rate"),
    [
        (2.8665, 2_866_500),
        (25.3308, 25_330_800),
        (6, 6_000_000),
        (0.0000005, None),
        (0.0000015, 2),
        (0.0000025, 2),
        (None, None),
        (0, None),
        (0.0, None),
        (-1, None),
        (True, None),
        ("2.8", None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
    ],
)
def test_price_becomes_a_rate_or_none(price: object, rate: int | None) -> None:
    """A price is rounded half-even to the micro; missing, absurd or senseless ones are None."""
    [offer] = harness(offered(hourly_price=price)).cloud.offers(ZONE)
    assert offer.rate_ucr_per_h == rate
    assert (offer.flavor, offer.gpus, offer.scratch_bytes) == ("H100-1-80G@fr-par-2", 1, 3)


def test_price_is_never_a_float() -> None:
    """A price finer than a float can tell apart is still rounded by its own digits."""
    exact = b'{"servers": {"X": {"gpu": 1, "hourly_price": 0.00000150000000000000000000001}}}'
    [offer] = harness(Reply(200, exact, {"X-Total-Count": "1"})).cloud.offers(ZONE)
    assert offer.rate_ucr_per_h == 2


def test_missing_price_leaves_the_other_facts() -> None:
    """An offer without the price key still counts its GPUs."""
    body = {"servers": {"X": {"gpu": 8, "gpu_info": {}}}}
    [offer] = harness(answered(body, total=1)).cloud.offers(ZONE)
    assert (offer.gpus, offer.rate_ucr_per_h, offer.scratch_bytes) == (8, None, 0)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        offered(gpu=None),
        offered(gpu="1"),
        offered(gpu=-1),
        offered(scratch_storage_max_size=1.5),
        answered({"servers": []}, total=0),
        answered({"servers": {"X": None}}, total=1),
        answered({"servers": {}}, total=5),
        answered({"servers": {}}),
    ],
)
def test_catalogue_that_cannot_be_whole_is_refused(reply: Reply) -> None:
    """A catalogue with a senseless offer, or fewer than it announces, is a typed error."""
    with pytest.raises(CloudError):
        harness(reply).cloud.offers(ZONE)


def project_json(number: int, **changes: object) -> dict[str, object]:
    """A project as the API shows it."""
    return {
        "id": server_id(number),
        "name": f"p{9 - number}",
        "organization_id": ORGANIZATION,
        **changes,
    }


def test_projects_come_by_name() -> None:
    """Projects are sorted by name."""
    body = {"projects": [project_json(1), project_json(2)], "total_count": 2}
    assert harness(answered(body)).cloud.projects() == (
        Project(server_id(2), "p7"),
        Project(server_id(1), "p8"),
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"projects": []},
        {"projects": [], "total_count": "0"},
        {"projects": [], "total_count": 1},
        {"projects": [project_json(1), project_json(1)], "total_count": 2},
        {"projects": [project_json(1, organization_id=server_id(3))], "total_count": 1},
        {"projects": [project_json(1, name=None)], "total_count": 1},
    ],
)
def test_projects_that_cannot_be_whole_are_refused(body: object) -> None:
    """A list of projects without its count, or with a foreign one, is a typed error."""
    with pytest.raises(CloudError):
        harness(answered(body)).cloud.projects()
