"""One HTTP call ends in bounded time, in an answer or a typed error; only reads are repeated."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable

import pytest
import requests
import urllib3

from quotas.model.observation import Cause, Complete, Unknown
from scheduler.clouds.base import CloudError, Malformed, ServerFault, Throttled, Unreachable
from scheduler.clouds.scaleway import ScalewayCloud
from scheduler.clouds.transport import Limits

from .scripted_http import (
    ACCESS_KEY,
    ORGANIZATION,
    SECRET_KEY,
    ZONE,
    Harness,
    Reply,
    harness,
    listing,
    server_id,
)

REDIRECT = Reply(302, b"", {"Location": "https://elsewhere.test/"})


def test_empty_429_is_throttled_after_bounded_retries() -> None:
    """Scaleway's empty 429 is retried three times, waiting longer each time, then Throttled."""
    far = harness(Reply(429, b"", {"X-Envoy-Ratelimited": "true"}))
    with pytest.raises(Throttled):
        far.cloud.server(ZONE, server_id(1))
    assert far.clock.slept == [0.5, 1.0, 2.0]
    assert [outcome for _, outcome, _ in far.calls] == ["throttled"] * 4


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"Retry-After": "7"}, [7.0, 7.0, 7.0]),
        ({"Retry-After": "0"}, [0.0, 0.0, 0.0]),
        ({"Retry-After": "59"}, [59.0]),
        ({"Retry-After": "3600"}, []),
        ({"Retry-After": "9" * 400}, []),
        ({"Retry-After": "soon"}, [0.5, 1.0, 2.0]),
        (
            {
                "Date": "Sun, 01 Nov 2026 00:00:00 GMT",
                "Retry-After": "Sun, 01 Nov 2026 00:00:09 GMT",
            },
            [9.0, 9.0, 9.0],
        ),
    ],
)
def test_retry_after_is_honoured(headers: dict[str, str], waits: list[float]) -> None:
    """Retry-After sets the wait; one that passes the deadline ends the call at once."""
    far = harness(Reply(429, b"", headers))
    with pytest.raises(Throttled):
        far.cloud.server(ZONE, server_id(1))
    assert far.clock.slept == waits


@pytest.mark.parametrize(
    "bad",
    [
        Reply(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
        Reply(503, b""),
        Reply(429, b""),
        Reply(broken=requests.ConnectionError("reset")),
        Reply(broken=urllib3.exceptions.ProtocolError("reset")),
        Reply(broken=OSError("reset")),
    ],
)
def test_a_passing_failure_is_retried(bad: Reply) -> None:
    """A reading call that fails once is answered by its second attempt."""
    replies = iter([bad, listing([])])
    far = harness(lambda request: next(replies))
    assert far.cloud.sweep(ZONE, 7) == Complete(ZONE, 7, ())
    assert far.calls[-1][:2] == ("list_servers", "ok")


@pytest.mark.parametrize(
    ("reply", "error", "cause"),
    [
        (Reply(502, b"<html>"), ServerFault, Cause.FAULT),
        (Reply(500, b'{"message": "Validation Error"}'), ServerFault, Cause.FAULT),
        (Reply(429, b""), Throttled, Cause.THROTTLED),
        (Reply(200, b"<html>"), Malformed, Cause.MALFORMED),
        (Reply(204, b""), Malformed, Cause.MALFORMED),
        (Reply(206, b'{"server": {}}'), Malformed, Cause.MALFORMED),
        (Reply(200, b'{"server": null}'), Malformed, Cause.MALFORMED),
        (REDIRECT, Malformed, Cause.MALFORMED),
        (Reply(broken=requests.ReadTimeout()), Unreachable, Cause.UNREACHABLE),
        (Reply(broken=requests.exceptions.SSLError()), Unreachable, Cause.UNREACHABLE),
    ],
)
def test_failure_is_typed(reply: Reply, error: type[CloudError], cause: Cause) -> None:
    """Each failure is raised with its type, and has its cause in a sweep."""
    far = harness(reply)
    with pytest.raises(CloudError) as caught:
        far.cloud.server(ZONE, server_id(1))
    assert type(caught.value) is error
    sweep = far.cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Unknown) and sweep.cause is cause


@pytest.mark.parametrize(
    "reply", [Reply(429, b""), Reply(502, b""), Reply(broken=requests.ConnectionError())]
)
def test_an_action_is_sent_once(reply: Reply) -> None:
    """A POST is never repeated, because it may have taken effect although it failed."""
    far = harness(reply)
    for act in (far.cloud.power_off, far.cloud.power_on):
        with pytest.raises(CloudError):
            act(ZONE, server_id(1))
    assert [request.method for request in far.adapter.asked] == ["POST", "POST"]
    assert far.clock.slept == []


def test_redirect_is_not_followed() -> None:
    """A redirect ends the call after one request, so the key goes nowhere else."""
    far = harness(REDIRECT)
    with pytest.raises(Malformed, match="redirect"):
        far.cloud.server(ZONE, server_id(1))
    assert len(far.adapter.asked) == 1


def test_answer_too_large_is_refused() -> None:
    """A body above the limit is not read to its end."""
    far = harness(Reply(200, b" " * 200_000), limits=Limits(body_bytes=100_000))
    with pytest.raises(Malformed, match="too large"):
        far.cloud.server(ZONE, server_id(1))


def slow_server(far: Harness) -> Callable[..., requests.Response]:
    """A server that sends a byte of its body every 20 s, without end."""

    class SlowServer(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            far.clock.now += 20
            return b" "

    def answer(
        request: requests.PreparedRequest, *args: object, **options: object
    ) -> requests.Response:
        raw = urllib3.HTTPResponse(body=SlowServer(), status=200, preload_content=False)
        return requests.adapters.HTTPAdapter().build_response(request, raw)

    return answer


def test_slow_drip_ends_at_the_deadline() -> None:
    """A body that trickles in, each byte in time, ends at the call's deadline."""
    far = harness(Reply())
    far.adapter.send = slow_server(far)  # type: ignore[method-assign]
    sweep = far.cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.DEADLINE
    assert far.clock.now == 1_060.0
    assert [outcome for _, outcome, _ in far.calls] == ["deadline"]


def test_requests_are_reported() -> None:
    """The caller is told the operation, outcome and seconds of each request."""
    far = harness(Reply(401, b""))

    def answer(request: requests.PreparedRequest) -> Reply:
        far.clock.now += 0.25
        return Reply(401, b"")

    far.adapter.reply_function = answer
    with pytest.raises(CloudError):
        far.cloud.power_off(ZONE, server_id(1))
    assert far.calls == [("server_poweroff", "key_refused", 0.25)]


@pytest.mark.parametrize(
    "change",
    [
        {"access_key": "SCW"},
        {"secret_key": "no uuid " + SECRET_KEY},
        {"organization_id": "../x"},
        {"api_url": "ftp://api.scaleway.test"},
        {"api_url": f"https://user:{SECRET_KEY}@api.scaleway.test"},
        {"api_url": "https://api.scaleway.test?x=1"},
    ],
)
def test_senseless_settings_are_refused(change: dict[str, str]) -> None:
    """Settings that cannot work are a ValueError which quotes no key."""
    settings = {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "organization_id": ORGANIZATION,
        **change,
    }
    with pytest.raises(ValueError, match=r"access key|secret key|UUID|URL") as caught:
        ScalewayCloud.connect(**settings, monotonic=lambda: 0.0, sleep=lambda s: None)  # type: ignore[arg-type]
    assert SECRET_KEY not in str(caught.value)
    assert caught.value.__context__ is None


def test_action_has_its_own_shorter_deadline() -> None:
    """An action whose answer trickles in ends after its connect and read time."""
    far = harness(Reply())
    far.adapter.send = slow_server(far)  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="did not end in time"):
        far.cloud.power_off(ZONE, server_id(1))
    assert far.clock.now == 1_040.0


def test_compressed_answer_is_read() -> None:
    """A gzip body is read; a broken one is a failure of transport."""
    page = listing([])
    packed = {**page.headers, "Content-Encoding": "gzip"}
    whole = harness(Reply(200, gzip.compress(page.content), packed)).cloud.sweep(ZONE, 7)
    assert whole == Complete(ZONE, 7, ())
    broken = harness(Reply(200, page.content, packed)).cloud.sweep(ZONE, 7)
    assert isinstance(broken, Unknown) and broken.cause is Cause.UNREACHABLE
