"""Which requests never reach their endpoint? Those that a fault strikes first."""

from __future__ import annotations

import json
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from simulator.api.requests import denied
from simulator.clock import pause
from simulator.world import Fault, FaultKind, World

_OUTAGE = "upstream connect error or disconnect/reset before headers"
_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a request goes."""

    world: World
    zone: str | None
    path: str
    method: str

    def struck(self, kind: FaultKind) -> Fault | None:
        """The fault of this kind that strikes it, if any."""
        faults = self.world.faults
        return faults.take(kind, self.world.now_s, self.zone, self.path, self.method)


async def strike(world: World, request: Request, zone: str | None) -> Response | None:
    """The answer of the first fault that strikes, or None when the request may go on."""
    if not world.faults.listed:
        return None
    place = _Place(world, zone, request.url.path, request.method)
    if place.struck(FaultKind.HANG):
        await request.receive()
        return Response(status_code=499)
    if fault := place.struck(FaultKind.SLOW):
        await pause(fault.delay_s)
    return _instead(place)


def _instead(place: _Place) -> Response | None:
    """What answers in place of the endpoint."""
    if place.zone is not None and place.struck(FaultKind.ZONE_OUTAGE):
        return Response(_OUTAGE, 503, media_type="text/plain")
    if place.struck(FaultKind.RATE_LIMITED):
        return Response(b"", 429, {"X-Envoy-Ratelimited": "true"})
    if place.struck(FaultKind.BAD_GATEWAY):
        return Response(_GATEWAY, 502, media_type="text/html")
    if place.struck(FaultKind.REVOKED_KEY):
        refusal = denied("not_found")
        return Response(json.dumps(refusal.body), 401, media_type="application/json")
    if place.struck(FaultKind.EMPTY_OBJECT):
        return Response(b"{}", 200, media_type="application/json")
    return None
