"""Faults that strike a request before its endpoint answers."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from simulator.clock import pause
from simulator.world.faults import Fault, FaultKind
from simulator.world.model import authentication_denied
from simulator.world.region import World

_OUTAGE = "upstream connect error or disconnect/reset before headers"
_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"
_DENIED = json.dumps(authentication_denied().body)
_ANSWERS: dict[FaultKind, tuple[str, int, dict[str, str]]] = {
    FaultKind.ZONE_OUTAGE: (_OUTAGE, 503, {"Content-Type": "text/plain; charset=utf-8"}),
    FaultKind.RATE_LIMITED: ("", 429, {"X-Envoy-Ratelimited": "true"}),
    FaultKind.BAD_GATEWAY: (_GATEWAY, 502, {"Content-Type": "text/html; charset=utf-8"}),
    FaultKind.REVOKED_KEY: (_DENIED, 401, {"Content-Type": "application/json"}),
    FaultKind.EMPTY_OBJECT: ("{}", 200, {"Content-Type": "application/json"}),
}
"""What is answered in place of the endpoint; the first fault in this order strikes."""


async def inject_fault(world: World, request: Request, zone: str | None) -> Response | None:
    """The answer of the first fault that strikes, or None if the request may go on."""
    if not world.faults.listed:
        return None

    def take(kind: FaultKind) -> Fault | None:
        return world.faults.take(kind, world.now_s, zone, request.url.path, request.method)

    if take(FaultKind.HANG):
        await request.receive()
        return Response(status_code=499)
    if fault := take(FaultKind.SLOW):
        await pause(fault.delay_s)
    for kind, (body, status, headers) in _ANSWERS.items():
        if (zone is not None or kind is not FaultKind.ZONE_OUTAGE) and take(kind):
            return Response(body, status, headers)
    return None
