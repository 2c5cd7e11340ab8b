"""Authentication and authorization: bearer tokens, scopes and request rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, NoReturn

from fastapi import Depends, Request

from exporters.api.problems import Problem
from exporters.api.read_model import CachedStatus, ReadModel
from exporters.api.startup_reads import StartupReads
from quotas.model.tokens import Token, digest, fingerprint

MINUTE_S = 60
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="cohortd"'}
_ASK_OPERATOR = "ask the operator for one ('cohortd token create')."


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Most requests a minute: of one token, writes of one token, failures of one address."""

    per_token: int = 600
    writes: int = 60
    failures: int = 30


class FixedWindow:
    """The requests of one minute of the clock. The counts are dropped after it."""

    def __init__(self) -> None:
        self._began = 0
        self._counts: dict[Hashable, int] = defaultdict(int)

    def admits(self, key: Hashable, limit: int, now_s: int) -> bool:
        """Count one request; False if it exceeds the limit of the minute."""
        began = now_s // MINUTE_S
        if began != self._began:  # a clock that was set back starts a new minute, too
            self._began = began
            self._counts.clear()
        self._counts[key] += 1
        return self._counts[key] <= limit


class Access:
    """Turns a request into its token, or into a refusal."""

    def __init__(self, read_model: ReadModel, rates: RateLimits) -> None:
        self._read_model = read_model
        self._rates, self._window = rates, FixedWindow()
        self.uses: dict[str, int] = {}

    def token(self, request: Request, *scopes: str) -> Token:
        """The token of a request, if it has one of these scopes. Raises Problem."""
        token = self.bearer(request.headers.get("authorization"), address_of(request))
        self.admit(token, request.method, *scopes)
        return token

    def bearer(self, header: str | None, address: str) -> Token:
        """The valid token that a header carries. Raises Problem; failures count per address."""
        token = self._known(header, address)
        state = token.state(self._read_model.now_s())
        if state != "active":
            detail = f"The token {token.id} is {state}: {_ASK_OPERATOR}"
            self._refuse(401, f"token-{state}", detail, address)
        return token

    def admit(self, token: Token, method: str, *scopes: str) -> None:
        """Admit a valid token that has one of these scopes. Raises Problem."""
        if not set(scopes) & set(token.scopes):
            raise Problem(403, "scope-missing", _missing_scope(token, scopes[0]))
        self._count(self._rates.per_token, token.id)
        if method != "GET":
            self._count(self._rates.writes, "write", token.id)
        self.uses[token.id] = self._read_model.now_s()

    def _known(self, header: str | None, address: str) -> Token:
        if header is None:
            detail = f"Send 'Authorization: Bearer cohortd_…' with your token, or {_ASK_OPERATOR}"
            self._refuse(401, "token-missing", detail, address)
        scheme, _, text = header.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        if is_bearer and (known := self._read_model.cached_token(digest(text))):
            return known
        token_hash = fingerprint(text) if is_bearer else None
        if token_hash is None:
            detail = f"That is no cohortd token: check it for a typing error, or {_ASK_OPERATOR}"
            self._refuse(401, "token-malformed", detail, address)
        token = self._read_model.token(token_hash)
        if token is None:
            detail = f"No such token is known here: {_ASK_OPERATOR}"
            self._refuse(401, "token-unknown", detail, address)
        return token

    def _refuse(self, status: int, kind: str, detail: str, address: str) -> NoReturn:
        self._count(self._rates.failures, "address", address)
        raise Problem(status, kind, detail, _CHALLENGE)

    def _count(self, limit: int, *key: str) -> None:
        if not self._window.admits(key, limit, self._read_model.now_s()):
            detail = f"More than {limit} requests in a minute: wait a minute, then go on."
            raise Problem(429, "too-many-requests", detail, {"Retry-After": "60"})


def address_of(request: Request) -> str:
    """The client address of a request, for its rate limit."""
    return request.client.host if request.client else "unknown"


def _missing_scope(token: Token, scope: str) -> str:
    if scope in ("read", "request") and not token.startup:
        return "This token is an operator's and has no startup: read /v1/admin/startups instead."
    return (
        f"The token {token.id} has scope {', '.join(token.scopes)}; this needs {scope}: ask the "
        f"operator for a token with --scope {scope}."
    )


@dataclass(frozen=True, slots=True)
class Viewer:
    """The data that the bearer may see: the reads of its own startup, at one instant."""

    token: Token
    cached: CachedStatus
    read_model: ReadModel

    @property
    def reads(self) -> StartupReads:
        """The reads of this startup, and of no other."""
        return StartupReads(self.token.startup, self.cached.program_status)


async def viewer(request: Request) -> Viewer:
    """The only way to a startup's data: its token, and the reads of that startup alone."""
    access: Access = request.app.state.access
    read_model: ReadModel = request.app.state.read_model
    token = access.token(request, "read")
    return Viewer(token, await read_model.cached(read_model.last_version), read_model)


async def no_query(request: Request) -> None:
    """Refuse parameters where none are allowed, so that a misspelt one is noticed."""
    if request.scope["query_string"]:
        name = next(iter(request.query_params), "")
        detail = f"query.{name} is no parameter of this address: leave it out."
        raise Problem(422, "invalid", detail)


async def viewer_without_query(request: Request) -> Viewer:
    """The viewer at an address without parameters; one dependency, because each costs time."""
    found = await viewer(request)
    await no_query(request)
    return found


ViewerDep = Annotated[Viewer, Depends(viewer)]
ViewerNoQueryDep = Annotated[Viewer, Depends(viewer_without_query)]
