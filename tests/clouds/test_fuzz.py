"""Any answer of a server is read correctly or becomes a typed error; Complete is never wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quotas.model.observation import Complete, Partial, Unknown
from scheduler.clouds.base import CloudError

from .recordings import ABSENT, paths, read
from .scripted_http import ORGANIZATION, ZONE, Reply, harness, server_id, server_json

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["running", ZONE, ORGANIZATION, "2026-11-01T00:00:00Z", "1", 0, [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)

Bodies = list[dict[str, Any]]


def _recorded(folder: str, wanted: str, status: int = 200) -> Bodies:
    """Recorded bodies with a key, where this machine has them."""
    found = (read(path) for path in paths(folder) if path != ABSENT)
    return [
        r.body
        for r in found
        if isinstance(r.body, dict) and r.status == status and wanted in r.body
    ]


LISTS = [
    {"servers": [server_json(n) for n in range(4)]},
    *_recorded("instance/servers_list", "servers"),
]
SERVERS = [{"server": server_json(1)}, *_recorded("instance/server_get", "server")[::8]]
PROJECTS = [
    {
        "projects": [{"id": server_id(1), "name": "a", "organization_id": ORGANIZATION}],
        "total_count": 1,
    },
    *_recorded("account", "projects"),
]
OFFERS = [
    {"servers": {f"T{n}": {"gpu": n, "hourly_price": 1.5} for n in range(4)}},
    *_recorded("instance/products_servers/price_history", "servers")[::6],
]


def _ways(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value, not deeper than a server's own keys."""
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(len(value) if isinstance(value, list) else 0)
    )
    inner = [found for key in keys if len(way) < 3 for found in _ways(value[key], (*way, key))]
    return [(*way, key) for key in keys] + inner


@st.composite
def mutated(draw: st.DrawFn, bodies: Bodies) -> tuple[dict[str, Any], bytes]:
    """A valid body, and its bytes after keys were dropped, values changed or bytes cut."""
    body = draw(st.sampled_from(bodies))
    changed = copy.deepcopy(body)
    for _ in range(draw(st.integers(0, 3))):
        ways = _ways(changed)
        if not ways:
            break
        *inside, last = draw(st.sampled_from(ways))
        holder = changed
        for key in inside:
            holder = holder[key]
        if draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = draw(ANYTHING)
    content = json.dumps(changed).encode()
    if draw(st.integers(0, 4)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    return body, content


def _organization(body: dict[str, Any]) -> str:
    """The organization of the first thing in a body."""
    first = next(iter(body.get("servers") or body.get("projects") or [body.get("server")]), None)
    found = first or {}
    return str(found.get("organization") or found.get("organization_id") or ORGANIZATION)


def _zone(body: dict[str, Any]) -> str:
    """The zone of the first server in a body."""
    first = next(iter(body.get("servers") or [body.get("server")]), None)
    return str((first or {}).get("zone", ZONE))


@QUICK
@given(mutated(LISTS))
def test_sweep_of_mutated_listing(case: tuple[dict[str, Any], bytes]) -> None:
    """A mutated listing is never a Complete sweep with fewer servers than the count says."""
    body, content = case
    total = len(body["servers"])
    reply = Reply(200, content, {"X-Total-Count": str(total)})
    sweep = harness(reply, organization=_organization(body)).cloud.sweep(_zone(body), 7)
    assert isinstance(sweep, (Complete, Partial, Unknown))
    if isinstance(sweep, Complete):
        assert len({server.id for server in sweep.servers}) == total


@QUICK
@given(mutated(SERVERS))
def test_server_from_mutated_answer(case: tuple[dict[str, Any], bytes]) -> None:
    """A mutated server is the server asked for, or a typed error."""
    body, content = case
    asked = body["server"]["id"]
    cloud = harness(Reply(200, content), organization=_organization(body)).cloud
    try:
        assert cloud.server(_zone(body), asked).id == asked
    except CloudError as refused:
        assert str(refused)


@QUICK
@given(mutated(OFFERS))
def test_offers_from_mutated_catalogue(case: tuple[dict[str, Any], bytes]) -> None:
    """A mutated catalogue yields rates above zero or none, as many as announced, or an error."""
    body, content = case
    total = len(body["servers"])
    cloud = harness(Reply(200, content, {"X-Total-Count": str(total)})).cloud
    try:
        offers = cloud.offers(ZONE)
    except CloudError:
        return
    assert len(offers) == total
    assert all(o.rate_ucr_per_h is None or o.rate_ucr_per_h > 0 for o in offers)
    assert all(o.gpus >= 0 and o.scratch_bytes >= 0 for o in offers)


@QUICK
@given(mutated(PROJECTS))
def test_projects_from_mutated_answer(case: tuple[dict[str, Any], bytes]) -> None:
    """A mutated list of projects is whole by its own count, or a typed error."""
    body, content = case
    try:
        projects = harness(Reply(200, content), organization=_organization(body)).cloud.projects()
    except CloudError:
        return
    assert len(projects) == json.loads(content)["total_count"]


@QUICK
@given(
    status=st.integers(200, 599),
    content=st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps(value).encode()),
    total=st.none() | st.text(st.characters(codec="ascii", min_codepoint=32), max_size=6),
    wait=st.none() | st.text(st.characters(codec="ascii", min_codepoint=32), max_size=6),
)
def test_any_reply_at_all(status: int, content: bytes, total: str | None, wait: str | None) -> None:
    """Any status, body and headers give a valid answer or a typed error for every call."""
    headers = {"X-Total-Count": total, "Retry-After": wait, "Date": wait}
    sent = {key: value for key, value in headers.items() if value is not None}
    cloud = harness(Reply(status, content, sent)).cloud
    assert cloud.sweep(ZONE, 7).zone == ZONE
    for call in (
        lambda: cloud.offers(ZONE),
        cloud.projects,
        lambda: cloud.server(ZONE, server_id(1)),
        lambda: cloud.power_off(ZONE, server_id(1)),
    ):
        try:
            call()
        except CloudError as refused:
            assert str(refused)
