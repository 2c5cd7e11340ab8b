"""HTTP calls to a cloud: each ends in an answer or a typed error, in bounded time.

This is the only layer with timeouts and retries. Failures are values until the last line raises
them, so that no error refers to a request, whose headers contain the key.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy

import requests
import tenacity
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from quotas.model.observation import Cause
from scheduler.clouds.base import (
    CloudError,
    Malformed,
    RequestRejected,
    ServerFault,
    Throttled,
    Unreachable,
)
from scheduler.clouds.replies import MAX_DETAIL_LENGTH, Reply, read_reply, redact, retry_after_s

CHUNK_BYTES = 65_536
_BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=8.0)
CONNECTION_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
"""Everything that a connection can raise between the first byte sent and the last byte read."""

OnRequest = Callable[[str, str, float], None]
"""Called after each HTTP request with operation, outcome and seconds."""


class OutOfTime(Unreachable):
    """The time limit of the whole call has passed."""

    cause = Cause.DEADLINE


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every call. `call_s` covers all pages, attempts and waits of one call.

    The deadline is checked between reads, so a call may exceed it by its last read.
    """

    connect_s: float = 5.0
    read_s: float = 30.0
    call_s: float = 60.0
    attempts: int = 4
    pages: int = 1_000
    body_bytes: int = 64 * 2**20

    @property
    def action_s(self) -> float:
        """The limit of an action, which is one attempt without waiting or retry."""
        return self.connect_s + self.read_s


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Its headers contain the key and are never shown."""

    operation: str
    method: str
    url: str
    params: Sequence[tuple[str, str]]
    headers: Mapping[str, str] = field(repr=False)
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    """The monotonic instant by which a call must have ended."""

    monotonic: Callable[[], float]
    ends_at: float

    @property
    def left_s(self) -> float:
        """Seconds left; negative after the deadline."""
        return self.ends_at - self.monotonic()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The outcome of one attempt, and the wait that the cloud asked for."""

    outcome: Reply | CloudError
    wait_s: float | None = None


def outcome_name(outcome: Reply | CloudError) -> str:
    """One word for a metric label: ok, or the kind of failure."""
    if isinstance(outcome, Reply):
        return "ok"
    return "refused" if isinstance(outcome, RequestRejected) else outcome.cause.value


class Transport:
    """Sends requests over a pooled session per thread; safe to share between threads."""

    def __init__(
        self,
        *,
        limits: Limits,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        on_request: OnRequest | None = None,
        adapter: Callable[[], BaseAdapter] = HTTPAdapter,
    ) -> None:
        """`adapter` creates the carrier of the requests of one thread's session."""
        self._limits = limits
        self._monotonic = monotonic
        self._sleep = sleep
        self._on_request = on_request or (lambda operation, outcome, seconds: None)
        self._adapter = adapter
        self._local = threading.local()

    def deadline(self, after_s: float) -> Deadline:
        """The deadline of a call that begins now."""
        return Deadline(self._monotonic, self._monotonic() + after_s)

    def send(self, request: Request, deadline: Deadline) -> Reply:
        """Send a request; retry it if that is safe. Raises CloudError."""
        attempts = self._limits.attempts if request.method == "GET" else 1
        retrying = tenacity.Retrying(
            sleep=self._sleep,
            retry=tenacity.retry_if_result(_is_worth_repeating),
            wait=_wait_s,
            stop=lambda state: (
                state.attempt_number >= attempts or state.upcoming_sleep >= deadline.left_s
            ),
            retry_error_callback=_last_attempt,
        )
        outcome = retrying(self._attempt, request, deadline).outcome
        if isinstance(outcome, CloudError):
            raise outcome
        return outcome

    def _attempt(self, request: Request, deadline: Deadline) -> _Attempt:
        began = self._monotonic()
        attempt = self._exchange(request, deadline)
        seconds = self._monotonic() - began
        self._on_request(request.operation, outcome_name(attempt.outcome), seconds)
        return attempt

    def _exchange(self, request: Request, deadline: Deadline) -> _Attempt:
        """One request and its reply. Every failure becomes a value."""
        try:
            return self._fetch(request, deadline)
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            return _Attempt(Unreachable(f"{request.operation}: no answer in time"))
        except CONNECTION_ERRORS as broken:
            # Only the type, because the text of a transport error may quote our request.
            kind = type(broken).__name__
            return _Attempt(Unreachable(f"{request.operation}: the connection failed ({kind})"))

    def _fetch(self, request: Request, deadline: Deadline) -> _Attempt:
        left_s = deadline.left_s
        if left_s <= 0:
            return _Attempt(OutOfTime(f"{request.operation}: no time left"))
        with self._session().request(
            request.method,
            request.url,
            params=list(request.params),
            headers=dict(request.headers),
            data=request.body,
            timeout=(min(self._limits.connect_s, left_s), min(self._limits.read_s, left_s)),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = self._content(response, request, deadline)
            if isinstance(content, CloudError):
                return _Attempt(content)
            outcome = read_reply(response.status_code, response.headers, content)
            if isinstance(outcome, CloudError):
                # Redact before cutting, because a cut key would no longer be found.
                message = redact(str(outcome), request.headers.values())[:MAX_DETAIL_LENGTH]
                outcome = type(outcome)(f"{request.operation}: {message}")
            return _Attempt(outcome, retry_after_s(response.headers))

    def _content(
        self, response: requests.Response, request: Request, deadline: Deadline
    ) -> bytes | CloudError:
        """The body, read in chunks: a read timeout alone never ends a slow drip."""
        content = bytearray()
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            content += chunk
            if len(content) > self._limits.body_bytes:
                return Malformed(f"{request.operation}: the answer is too large")
            if deadline.left_s <= 0:
                return OutOfTime(f"{request.operation}: the answer did not end in time")
        return bytes(content)

    def _session(self) -> requests.Session:
        """This thread's session with its own pool, without proxies, netrc and cookies."""
        session = getattr(self._local, "session", None)
        if not isinstance(session, requests.Session):
            session = requests.Session()
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._adapter())
            self._local.session = session
        return session


def _is_worth_repeating(attempt: _Attempt) -> bool:
    """Whether a second attempt may succeed: after 429, 5xx or a transport error, in time."""
    outcome = attempt.outcome
    may_succeed = isinstance(outcome, (Unreachable, Throttled, ServerFault))
    return may_succeed and not isinstance(outcome, OutOfTime)


def _wait_s(state: tenacity.RetryCallState) -> float:
    """The wait that the cloud asked for, or else a doubling from half a second."""
    asked_s = _last_attempt(state).wait_s
    return _BACKOFF(state) if asked_s is None else asked_s


def _last_attempt(state: tenacity.RetryCallState) -> _Attempt:
    assert state.outcome is not None, "tenacity asks only after an attempt"
    attempt = state.outcome.result()
    assert isinstance(attempt, _Attempt)
    return attempt
