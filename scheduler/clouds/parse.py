"""Reads answers of Scaleway: raw JSON in, our values out, or Malformed.

The SDK reads a missing state as RUNNING and a missing price as 0.0. This module refuses the whole
answer if a required key is missing or has another type.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypeVar

from quotas.model.observation import Offer, Server
from quotas.model.text import clean
from quotas.model.units import UCR_PER_CREDIT, parse_instant
from scheduler.clouds.base import Malformed, Project
from scheduler.clouds.pages import Inconsistent, Page
from scheduler.clouds.replies import Reply

MICRO = Decimal("0.000001")
HIGHEST_PRICE = Decimal(1_000_000)
"""A price above this many credits per hour is absurd, and is not used as a rate."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""JSON allows these characters, but no database stores all of them. They are replaced, so that one
server's name does not stop every cycle."""
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ZONE = re.compile(r"[a-z]{2}-[a-z]{3}-[0-9]")

JsonObject = dict[str, object]
Value = TypeVar("Value")


def checked_uuid(text: str) -> str:
    """The same text if it may enter a path as an id. Raises ValueError."""
    return _matching(UUID, text, "a UUID")


def checked_zone(text: str) -> str:
    """The same text if it may enter a path as a zone. Raises ValueError."""
    return _matching(_ZONE, text, "a zone such as fr-par-2")


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is not {what}")
    return text


def servers_page(answer: Reply, zone: str, organization_id: str) -> Page[Server]:
    """Read a page of list_servers. Raises Malformed, or Inconsistent for a foreign server."""
    rows = list_of(json_object(answer.body), "servers")
    servers = (_server(row, zone, organization_id) for row in rows)
    return Page(tuple((server.id, server) for server in servers), header_total(answer))


def one_server(answer: Reply, zone: str, server_id: str, organization_id: str) -> Server:
    """Read get_server. Raises Malformed, or Inconsistent when it is another server."""
    server = _server(object_of(json_object(answer.body), "server"), zone, organization_id)
    if server.id != server_id.lower():
        raise Inconsistent("the answer shows another server than the requested one")
    return server


def _server(raw: JsonObject, zone: str, organization_id: str) -> Server:
    check_organization(raw, "organization", organization_id)
    if _zone_of(raw) != zone:
        raise Inconsistent("the answer shows a server of another zone")
    return Server(
        id=uuid_of(raw, "id"),
        zone=zone,
        project_id=uuid_of(raw, "project"),
        name=text_of(raw, "name"),
        commercial_type=nonempty_text_of(raw, "commercial_type"),
        state=nonempty_text_of(raw, "state"),
        state_detail="" if raw.get("state_detail") is None else text_of(raw, "state_detail"),
        created_s=_instant_of(raw, "creation_date"),
        modified_s=_instant_of(raw, "modification_date"),
        allowed_actions=texts_of(raw, "allowed_actions"),
    )


def _zone_of(raw: JsonObject) -> str:
    """The server's zone; `location` is null while it has no hypervisor."""
    if "zone" in raw:
        return text_of(raw, "zone")
    return text_of(object_of(raw, "location"), "zone_id")


def offers_page(answer: Reply, zone: str) -> Page[Offer]:
    """Read a page of products/servers. Raises Malformed."""
    rows = object_of(json_object(answer.body), "servers")
    offers = (_offer(clean(name), row, zone) for name, row in rows.items())
    return Page(tuple((offer.commercial_type, offer) for offer in offers), header_total(answer))


def stock_page(answer: Reply) -> Page[str]:
    """Read a page of products/servers/availability. Raises Malformed."""
    rows = object_of(json_object(answer.body), "servers")
    items = ((clean(name), text_of(json_object(row), "availability")) for name, row in rows.items())
    return Page(tuple(items), header_total(answer))


def _offer(name: str, row: object, zone: str) -> Offer:
    raw = json_object(row)
    gpus = _count_of(raw, "gpu")
    if raw.get("gpu_info") is not None and not gpus:
        # A GPU type with a count of 0 would escape every quota.
        raise Malformed(f"the offer {name!r} describes a GPU, but counts none")
    return Offer(
        zone=zone,
        commercial_type=name,
        gpus=gpus,
        rate_ucr_per_h=rate_ucr_per_h(raw.get("hourly_price")),
        scratch_bytes=_count_of(raw, "scratch_storage_max_size"),
    )


def rate_ucr_per_h(price: object) -> int | None:
    """A catalogue price as a rate, rounded half-even to the micro; None if it is not plausible."""
    if isinstance(price, bool) or not isinstance(price, (int, Decimal)):
        return None
    amount = Decimal(price)
    if not amount.is_finite() or not 0 < amount <= HIGHEST_PRICE:
        return None
    rounded = amount.quantize(MICRO, ROUND_HALF_EVEN)
    return int(rounded * UCR_PER_CREDIT) or None


def projects_page(answer: Reply, organization_id: str) -> Page[Project]:
    """Read a page of list_projects. Raises Malformed, or Inconsistent for a foreign one."""
    rows, total = counted_list(answer, "projects")
    for row in rows:
        check_organization(row, "organization_id", organization_id)
    projects = (Project(id=uuid_of(row, "id"), name=text_of(row, "name")) for row in rows)
    return Page(tuple((project.id, project) for project in projects), total)


def check_task(answer: Reply) -> None:
    """Check that Scaleway accepted an action and answers its task. Raises Malformed."""
    uuid_of(object_of(json_object(answer.body), "task"), "id")


def header_total(answer: Reply) -> int:
    """X-Total-Count. Without it, no Instance listing is known to be complete. Raises Malformed."""
    if answer.total_count is None or not re.fullmatch(r"[0-9]{1,9}", answer.total_count):
        raise Malformed("the answer has no X-Total-Count")
    return int(answer.total_count)


def check_organization(raw: JsonObject, key: str, organization_id: str) -> None:
    """Check that the answer shows nothing of another organization. Raises Inconsistent."""
    if uuid_of(raw, key) != organization_id:
        raise Inconsistent("the answer shows something of another organization")


def json_object(value: object) -> JsonObject:
    """The value as a JSON object. Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"the answer has {type(value).__name__} instead of an object")
    return value


def _value_of(raw: JsonObject, key: str, kind: type[Value], what: str) -> Value:
    """A required value of a type. No JSON type here is a boolean. Raises Malformed."""
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise Malformed(f"{key!r} is missing or not {what}")
    return value


def object_of(raw: JsonObject, key: str) -> JsonObject:
    """A required object. Raises Malformed."""
    return _value_of(raw, key, dict, "an object")


def list_of(raw: JsonObject, key: str) -> list[JsonObject]:
    """A required list of objects. Raises Malformed."""
    return [json_object(row) for row in _value_of(raw, key, list, "a list")]


def counted_list(answer: Reply, key: str) -> tuple[list[JsonObject], int]:
    """A page of a listing, and its total_count. Raises Malformed."""
    body = json_object(answer.body)
    return list_of(body, key), _value_of(body, "total_count", int, "a count")


def text_of(raw: JsonObject, key: str) -> str:
    """A required string, cleaned for people. Raises Malformed."""
    return clean(_value_of(raw, key, str, "a text"))


def exact_text_of(raw: JsonObject, key: str) -> str:
    """A required string that cohortd sends back as it is. Raises Malformed."""
    return _UNSTORABLE.sub("\ufffd", _value_of(raw, key, str, "a text"))


def nonempty_text_of(raw: JsonObject, key: str) -> str:
    """A required string that is not empty. Raises Malformed."""
    value = text_of(raw, key)
    if not value:
        raise Malformed(f"{key!r} is empty")
    return value


def uuid_of(raw: JsonObject, key: str) -> str:
    """A required UUID, in lower case. Raises Malformed."""
    value = text_of(raw, key)
    if not UUID.fullmatch(value):
        raise Malformed(f"{key!r} is not a UUID")
    return value.lower()


def _instant_of(raw: JsonObject, key: str) -> int:
    try:
        instant_s = parse_instant(text_of(raw, key))
    except (ValueError, OverflowError):
        instant_s = -1
    if instant_s < 0:
        raise Malformed(f"{key!r} is not an instant since 1970")
    return instant_s


def texts_of(raw: JsonObject, key: str) -> tuple[str, ...]:
    """A list of strings; empty if it is missing or null. Raises Malformed."""
    values = [] if raw.get(key) is None else _value_of(raw, key, list, "a list of texts")
    if not all(isinstance(value, str) for value in values):
        raise Malformed(f"{key!r} is not a list of texts")
    return tuple(_UNSTORABLE.sub("\ufffd", str(value)) for value in values)


def _count_of(raw: JsonObject, key: str) -> int:
    """A count; 0 if it is missing or null, as in older answers. Raises Malformed."""
    value = 0 if raw.get(key) is None else _value_of(raw, key, int, "a count")
    if value < 0:
        raise Malformed(f"{key!r} is not a count")
    return value
