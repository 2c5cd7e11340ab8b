"""A request and its answer as the endpoints see them, with the caller's identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from simulator.clock import Clock
from simulator.world.faults import FaultKind
from simulator.world.iam.principals import Iam, Principal
from simulator.world.model import authentication_denied, invalid, permission_denied
from simulator.world.region import World

LARGEST_PAGE = 100
Item = TypeVar("Item")


@dataclass(slots=True)
class RegionApp:
    """One simulated region as it is served: the world, its clock, and the number of answers."""

    world: World
    clock: Clock
    served: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller and its permissions; a bearer of None is the simulation itself."""

    iam: Iam
    bearer: Principal | None
    default_project_id: str = ""

    def may(self, permission: str, project_id: str = "") -> bool:
        """Whether a rule of a policy gives it this permission there."""
        return self.bearer is None or self.iam.may(self.bearer, permission, project_id)

    def check(self, permission: str, project_id: str, resource: str, action: str) -> None:
        """Refuse with 403 what the caller may not do."""
        if not self.may(permission, project_id):
            raise permission_denied(resource, action)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an endpoint."""

    region_app: RegionApp
    caller: Caller
    path: Mapping[str, str]
    query: QueryParams
    body: Mapping[str, Any]

    @property
    def world(self) -> World:
        """The world of the request."""
        return self.region_app.world

    @property
    def zone(self) -> str:
        """The zone in its path."""
        return self.path["zone"]

    def take_fault(self, kind: FaultKind, listing: str) -> bool:
        """Whether a fault strikes this listing of Instance v1; it is counted as one strike."""
        world, path = self.world, f"/instance/v1/zones/{self.zone}/{listing}"
        return world.faults.take(kind, world.now_s, self.zone, path, "GET") is not None

    def page(self, size_name: str, default_size: int) -> tuple[int, int]:
        """The number and the size of the page; a size that is too large is capped silently."""
        size = min(self._whole(size_name, default_size), LARGEST_PAGE)
        return self._whole("page", 1), size

    def _whole(self, name: str, default: int) -> int:
        text = self.query.get(name, str(default))
        if not text.isdecimal() or int(text) < 1:
            raise invalid(name, f"{name} should be a positive number")
        return int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an endpoint: JSON as bytes, a status, and its own headers."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(body: Mapping[str, Any], status: int = 200) -> Answer:
    """An answer from a JSON object."""
    return Answer(json.dumps(body).encode(), status)


def identify(world: World, token: str | None) -> Caller:
    """The principal of a key, or Refusal 401."""
    key = world.iam.key(token)
    if key is None:
        raise authentication_denied()
    return Caller(world.iam, world.iam.principals[key.bearer_id], key.default_project_id)


def counted_page(
    call: Call, name: str, found: Sequence[Item], write: Callable[[Item], dict[str, Any]]
) -> Answer:
    """A page with its total_count, as Account v3 and IAM answer it."""
    page, size = call.page("page_size", 20)
    part = found[(page - 1) * size : page * size]
    return answer({name: [write(item) for item in part], "total_count": len(found)})


def instance_page(
    call: Call, name: str, found: Sequence[Item]
) -> tuple[Sequence[Item], dict[str, str]]:
    """A page, with X-Total-Count and the Link to the other pages, as Instance v1 sends them."""
    page, size = call.page("per_page", 50)
    last = -(-len(found) // size)
    links = [("first", 1), ("previous", page - 1)] if page > 1 else []
    links += [("next", page + 1)] if page < last else []
    links += [("last", last)]
    sent = call.query.multi_items()
    rest = urlencode([item for item in sent if item[0] not in ("page", "per_page")])
    text = ",".join(
        f'</{name}?page={number}&per_page={size}&{rest}>; rel="{rel}"' for rel, number in links
    )
    headers = {"Link": text, "X-Total-Count": str(len(found))}
    return found[(page - 1) * size : page * size], headers
