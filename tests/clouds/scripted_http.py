"""A scripted far end for the adapter: replies in memory, a clock that only tests move."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from scheduler.clouds.scaleway import ScalewayCloud
from scheduler.clouds.transport import Limits

ACCESS_KEY = "SCWTESTTESTTESTTEST0"
SECRET_KEY = "5ec2e75e-c2e7-4ec2-8ec2-e75ec2e75ec2"
ORGANIZATION = "11111111-1111-4111-8111-111111111111"
PROJECT = "22222222-2222-4222-8222-222222222222"
ZONE = "fr-par-2"


@dataclass(frozen=True)
class Reply:
    """One scripted reply; `broken` is raised in its place, as a transport would."""

    status: int = 200
    content: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    broken: Exception | None = None


ReplyFunction = Callable[[requests.PreparedRequest], Reply]


@dataclass
class Clock:
    """A monotonic clock that moves only when someone sleeps on it."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        """The present instant."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Pass the time at once, and remember it."""
        self.slept.append(seconds)
        self.now += seconds


class ScriptedAdapter(BaseAdapter):
    """A requests adapter that answers from a function and keeps what was asked."""

    def __init__(self, reply_function: ReplyFunction) -> None:
        """`answering` is called once for each request."""
        super().__init__()
        self.reply_function = reply_function
        self.asked: list[requests.PreparedRequest] = []

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Answer one request."""
        self.asked.append(request)
        reply = self.reply_function(request)
        if reply.broken is not None:
            raise reply.broken
        raw = urllib3.HTTPResponse(
            body=io.BytesIO(reply.content),
            headers=dict(reply.headers),
            status=reply.status,
            preload_content=False,
        )
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Hold nothing open."""


@dataclass
class Harness:
    """A cloud wired to a script, with everything a test may look at."""

    cloud: ScalewayCloud
    adapter: ScriptedAdapter
    clock: Clock
    calls: list[tuple[str, str, float]]


def harness(
    reply_function: ReplyFunction | Reply,
    *,
    organization: str = ORGANIZATION,
    limits: Limits | None = None,
) -> Harness:
    """A cloud whose every request is answered by a function, or by one reply."""
    fixed = reply_function
    adapter = ScriptedAdapter((lambda request: fixed) if isinstance(fixed, Reply) else fixed)
    clock, calls = Clock(), list[tuple[str, str, float]]()
    cloud = connect(
        "https://api.scaleway.test",
        organization=organization,
        clock=clock,
        on_request=lambda *what: calls.append(what),
        limits=limits or Limits(),
        adapter=lambda: adapter,
    )
    return Harness(cloud, adapter, clock, calls)


def connect(
    api_url: str, *, organization: str = ORGANIZATION, clock: Clock, **options: Any
) -> ScalewayCloud:
    """A cloud at a URL with the test's keys."""
    return ScalewayCloud.connect(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        organization_id=organization,
        api_url=api_url,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
        **options,
    )


def server_id(number: int) -> str:
    """The id of the test's n-th server."""
    return f"00000000-0000-4000-8000-{number:012d}"


def server_json(number: int = 0, **changes: object) -> dict[str, object]:
    """A server as the API shows it, with what matters here."""
    return {
        "id": server_id(number),
        "name": f"gpu-{number}",
        "organization": ORGANIZATION,
        "project": PROJECT,
        "commercial_type": "H100-1-80G",
        "state": "running",
        "state_detail": "booted",
        "creation_date": "2026-11-01T00:00:00.123456+00:00",
        "modification_date": "2026-11-01T00:00:31.654321+00:00",
        "allowed_actions": ["poweroff", "terminate", "reboot", "stop_in_place", "backup"],
        "location": None,
        "zone": ZONE,
        **changes,
    }


def listing(servers: list[dict[str, object]], total: object = None) -> Reply:
    """A page of servers; `total` where the count shall differ from the page."""
    count = len(servers) if total is None else total
    return Reply(200, json.dumps({"servers": servers}).encode(), {"X-Total-Count": str(count)})


def paged(servers: list[dict[str, object]]) -> ReplyFunction:
    """A server that pages as Scaleway does, over a list that the test may change."""

    def answer(request: requests.PreparedRequest) -> Reply:
        per_page, number = query(request, "per_page"), query(request, "page")
        start = (number - 1) * per_page
        return listing(servers[start : start + per_page], len(servers))

    return answer


def query(request: requests.PreparedRequest, key: str) -> int:
    """A number in a request's query."""
    return int(parse_qs(urlsplit(str(request.url)).query)[key][0])
