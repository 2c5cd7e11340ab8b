"""A request and its answer as the endpoints see them, with the caller's identity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from simulator.api.render import ServerJsonCache
from simulator.clock import Clock
from simulator.world import Refusal, World
from simulator.world.iam.principals import Iam, Principal
from simulator.world.model import invalid, permission_denied

LARGEST_PAGE = 100


@dataclass(slots=True)
class RegionApp:
    """One simulated region as it is served: the world, its clock, and the caches."""

    world: World
    clock: Clock
    json_cache: ServerJsonCache
    pages: dict[tuple[Any, ...], bytes] = field(default_factory=dict)
    served: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller and its permissions; a bearer of None is the simulation itself."""

    iam: Iam
    bearer: Principal | None
    default_project_id: str = ""

    def may_see(self, project_id: str, permission: str = "server:read") -> bool:
        """Whether it may see the contents of this project."""
        return self.may(permission, project_id)

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
    query: Mapping[str, str]
    query_items: tuple[tuple[str, str], ...]
    body: Mapping[str, Any]

    @property
    def world(self) -> World:
        """The world of the request."""
        return self.region_app.world

    @property
    def zone(self) -> str:
        """The zone in its path."""
        return self.path["zone"]

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
    bearer = world.iam.bearer(token)
    if bearer is None or token is None:
        raise denied("not_found")
    return Caller(world.iam, bearer, world.iam.default_project(token))


def denied(reason: str) -> Refusal:
    """401: the key is unknown, revoked or expired."""
    body = {"message": "authentication is denied", "method": "api_key", "reason": reason}
    return Refusal(401, body | {"type": "denied_authentication"})


def page_headers(call: Call, name: str, page: int, size: int, total: int) -> dict[str, str]:
    """X-Total-Count and the Link to the other pages, as Instance v1 sends them."""
    others = [item for item in call.query_items if item[0] not in ("page", "per_page")]
    last = -(-total // size)
    links = [("first", 1), ("previous", page - 1)] if page > 1 else []
    links += [("next", page + 1)] if page < last else []
    links += [("last", last)]
    rest = urlencode(others)
    text = ",".join(
        f'</{name}?page={number}&per_page={size}&{rest}>; rel="{rel}"' for rel, number in links
    )
    return {"Link": text, "X-Total-Count": str(total)}
