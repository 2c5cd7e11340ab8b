"""The application: the routes, and the handling around each of them.

Each request drains its body (the SDK sends one with GET and DELETE too), moves the world to the
present, meets the faults in force, is authenticated, and then answered.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.api import account, control, iam, instance, products
from simulator.api.fault_injection import inject_fault
from simulator.api.requests import Answer, Call, Caller, RegionApp, answer, identify
from simulator.clock import Clock
from simulator.world.model import Refusal, invalid
from simulator.world.offers.catalogue import ZONES
from simulator.world.region import World

Endpoint = Callable[[Call], Answer]

_ZONE = "/instance/v1/zones/{zone}"
_IAM = "/iam/v1alpha1"
_CONTROL = "/_control"
_ONE = _ZONE + "/servers/{server_id}"
_ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", _ZONE + "/servers", instance.list_servers),
    ("POST", _ZONE + "/servers", instance.create_server),
    ("GET", _ONE, instance.get_server),
    ("PATCH", _ONE, instance.patch_server),
    ("DELETE", _ONE, instance.delete_server),
    ("GET", _ONE + "/action", instance.list_actions),
    ("POST", _ONE + "/action", instance.act),
    ("GET", _ZONE + "/products/servers", products.list_types),
    ("GET", _ZONE + "/products/servers/availability", products.list_availability),
    ("GET", "/account/v3/projects", account.list_projects),
    ("GET", "/account/v3/projects/{project_id}", account.get_project),
    ("GET", _IAM + "/policies", iam.list_policies),
    ("POST", _IAM + "/policies", iam.create_policy),
    ("GET", _IAM + "/policies/{policy_id}", iam.get_policy),
    ("GET", _IAM + "/rules", iam.list_rules),
    ("PUT", _IAM + "/rules", iam.set_rules),
    ("GET", _IAM + "/permission-sets", iam.list_permission_sets),
    ("GET", _IAM + "/applications", iam.list_applications),
    ("POST", _IAM + "/applications", iam.create_application),
    ("GET", _IAM + "/groups", iam.list_groups),
    ("POST", _IAM + "/groups", iam.create_group),
    ("GET", _IAM + "/users", iam.list_users),
    ("GET", _IAM + "/api-keys", iam.list_keys),
    ("POST", _IAM + "/api-keys", iam.create_key),
    ("GET", _IAM + "/api-keys/{access_key}", iam.get_key),
    ("GET", _CONTROL + "/clock", control.read_clock),
    ("POST", _CONTROL + "/clock", control.move_clock),
    ("GET", _CONTROL + "/truth", control.read_truth),
    ("GET", _CONTROL + "/faults", control.list_faults),
    ("POST", _CONTROL + "/faults", control.add_fault),
    ("DELETE", _CONTROL + "/faults", control.clear_faults),
    ("POST", _CONTROL + "/prices", control.change_price),
    ("POST", _CONTROL + "/stock", control.set_stock),
    ("POST", _CONTROL + "/guest-shutdown", control.guest_shutdown),
    ("POST", _CONTROL + "/script", control.script_action),
    ("POST", _CONTROL + "/principals", control.add_principal),
    ("POST", _CONTROL + "/rules", control.edit_rules),
)
_PUBLIC = frozenset({products.list_types})
"""Endpoints of Scaleway that need no key."""


def build(world: World, clock: Clock) -> Starlette:
    """The application that serves a world."""
    region_app = RegionApp(world, clock)
    routes = [_route(region_app, *entry) for entry in _ROUTES]
    return Starlette(routes=routes, exception_handlers={404: _no_route(region_app)})


def _route(region_app: RegionApp, method: str, path: str, endpoint: Endpoint) -> Route:
    """A route of Scaleway's API, or of the controls, which need no key and meet no faults."""
    world, is_control = region_app.world, path.startswith(_CONTROL)
    is_public = is_control or endpoint in _PUBLIC

    async def serve(request: Request) -> Response:
        body = await request.body()
        world.advance(region_app.clock.now_s(world.now_s))
        zone = request.path_params.get("zone")
        response = None if is_control else await inject_fault(world, request, zone)
        if response is None:
            response = _response_to(region_app, request, body, endpoint, is_public)
        return response if is_control else _with_gateway_headers(region_app, response)

    return Route(path, serve, methods=[method])


def _response_to(
    region_app: RegionApp, request: Request, body: bytes, endpoint: Endpoint, is_public: bool
) -> Response:
    """The endpoint's answer, or its refusal, as a response."""
    world = region_app.world
    try:
        token = request.headers.get("x-auth-token")
        caller = Caller(world.iam, None) if is_public else identify(world, token)
        result = endpoint(_call(region_app, request, caller, body))
    except Refusal as refusal:
        result = answer(refusal.body, refusal.status)
    headers = {"Content-Type": "application/json", **result.headers}
    return Response(result.body, result.status, headers)


def _call(region_app: RegionApp, request: Request, caller: Caller, body: bytes) -> Call:
    zone = request.path_params.get("zone", ZONES[0])
    if zone not in ZONES:
        raise invalid("zone", f"{zone} is not a zone")
    return Call(region_app, caller, request.path_params, request.query_params, _object(body))


def _object(body: bytes) -> dict[str, Any]:
    """The request's JSON object; an empty body counts as an empty one."""
    if not body:
        return {}
    try:
        sent = json.loads(body)
    except ValueError as error:
        raise invalid("body", "not JSON") from error
    if not isinstance(sent, dict):
        raise invalid("body", "not a JSON object")
    return sent


def _with_gateway_headers(region_app: RegionApp, response: Response) -> Response:
    """The headers that Scaleway's gateway adds; the date is the world's."""
    region_app.served += 1
    now = datetime.fromtimestamp(region_app.world.now_s, UTC)
    response.headers["Date"] = format_datetime(now, usegmt=True)
    response.headers["Server"] = "Scaleway API Gateway (fr-par-2;edge01)"
    response.headers["X-Request-Id"] = f"00000000-0000-4000-8000-{region_app.served:012x}"
    return response


def _no_route(region_app: RegionApp) -> Callable[[Request, Exception], Response]:
    """404 for an unknown path."""

    def serve(request: Request, error: Exception) -> Response:
        body = {"message": f"{request.url.path} is not served", "type": "unknown_resource"}
        return _with_gateway_headers(
            region_app, Response(json.dumps(body), 404, media_type="application/json")
        )

    return serve
