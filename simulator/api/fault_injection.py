"""Faults that strike a request before its endpoint answers."""

from __future__ import annotations

import json
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from simulator.clock import pause
from simulator.world import Fault, FaultKind, World
from simulator.world.model import authentication_denied

_OUTAGE = "upstream connect error or disconnect/reset before headers"
_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"


@dataclass(frozen=True, slots=True)
class _RequestTarget:
    """The target of a request."""

    world: World
    zone: str | None
    path: str
    method: str

    def take_fault(self, kind: FaultKind) -> Fault | None:
        """The fault of this kind that strikes the request, if any."""
        faults = self.world.faults
        return faults.take(kind, self.world.now_s, self.zone, self.path, self.method)


async def inject_fault(world: World, request: Request, zone: str | None) -> Response | None:
    """The answer of the first fault that strikes, or None if the request may go on."""
    if not world.faults.listed:
        return None
    target = _RequestTarget(world, zone, request.url.path, request.method)
    if target.take_fault(FaultKind.HANG):
        await request.receive()
        return Response(status_code=499)
    if fault := target.take_fault(FaultKind.SLOW):
        await pause(fault.delay_s)
    return _fault_response(target)


def _fault_response(target: _RequestTarget) -> Response | None:
    """The answer in place of the endpoint's."""
    if target.zone is not None and target.take_fault(FaultKind.ZONE_OUTAGE):
        return Response(_OUTAGE, 503, media_type="text/plain")
    if target.take_fault(FaultKind.RATE_LIMITED):
        return Response(b"", 429, {"X-Envoy-Ratelimited": "true"})
    if target.take_fault(FaultKind.BAD_GATEWAY):
        return Response(_GATEWAY, 502, media_type="text/html")
    if target.take_fault(FaultKind.REVOKED_KEY):
        body = json.dumps(authentication_denied().body)
        return Response(body, 401, media_type="application/json")
    if target.take_fault(FaultKind.EMPTY_OBJECT):
        return Response(b"{}", 200, media_type="application/json")
    return None
