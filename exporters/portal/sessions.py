"""Sessions: a signed cookie that names a token by its hash and never contains it.

The rights of a token are read at each request, so a revocation holds at the next one. Each form
carries a signature over the session's own nonce, and must come from a page of this host.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from itsdangerous import BadSignature, Signer, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import Response

from exporters.api.problems import Problem
from quotas.book.inbox import FOLDER
from quotas.book.session import BookError

COOKIE, PATH = "cohortd_session", "/portal"
SESSION_MAX_AGE_S = 12 * 3600
KEY_NAME, KEY_BYTES = "session.key", 32
MAX_FIELDS = 20
_SIGNED: dict[str, Any] = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}


@dataclass(frozen=True, slots=True)
class Session:
    """A session until an instant; `token_hash` is "" before the sign-in."""

    token_hash: str
    nonce: str
    ends_s: int


class Sessions:
    """Signs and reads the cookies and form tokens of one `serve` process."""

    def __init__(self, key: bytes) -> None:
        self._cookies = URLSafeSerializer(key, salt="cohortd.session", signer_kwargs=_SIGNED)
        self._forms = Signer(key, salt="cohortd.form", **_SIGNED)

    def read(self, request: Request, now_s: int) -> Session | None:
        """The session of a request; None if it is missing, ended or not signed by us."""
        try:
            session = Session(*self._cookies.loads(request.cookies.get(COOKIE, "")))
        except BadSignature:
            return None
        return session if now_s < session.ends_s else None

    def new_session(self, token_hash: str, ends_s: int) -> Session:
        """A new session, with a nonce of its own."""
        return Session(token_hash, secrets.token_hex(16), ends_s)

    def write(self, response: Response, session: Session, request: Request, now_s: int) -> None:
        """Set the session's cookie."""
        text = self._cookies.dumps(astuple(session))
        set_cookie(response, request, COOKIE, str(text), max(0, session.ends_s - now_s))

    def form_token(self, session: Session) -> str:
        """The form token of this session."""
        return self._forms.get_signature(session.nonce).decode()

    async def form(self, request: Request, session: Session | None) -> dict[str, str]:
        """The fields of a form of this session and this host. Raises Problem."""
        fields = await _fields(request)
        given = fields.pop("form", "")
        signed = session is not None and self._forms.verify_signature(
            session.nonce, given.encode("utf-8", "replace")
        )
        if not signed or not _is_same_origin(request):
            detail = "This form is not from this page, or too old: open the page again."
            raise Problem(403, "form", detail)
        return fields


def set_cookie(response: Response, request: Request, name: str, text: str, max_age_s: int) -> None:
    """Set a cookie of the portal that scripts cannot read and other sites cannot send."""
    response.set_cookie(
        name,
        text,
        max_age=max_age_s,
        path=PATH,
        secure=_over_tls(request),
        httponly=True,
        samesite="lax",
    )


def signing_key(state: Path) -> bytes:
    """The signing key of a state folder, created at the first start. Raises BookError."""
    path = state.joinpath(FOLDER, KEY_NAME)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as made:
            made.write(secrets.token_bytes(KEY_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise BookError(f"the key {path} cannot be made: {error}") from None
    try:
        key = path.read_bytes()
    except OSError as error:
        raise BookError(f"the key {path} cannot be read: {error}") from None
    if len(key) != KEY_BYTES:
        raise BookError(f"the key {path} has {len(key)} bytes, not {KEY_BYTES}: remove it")
    return key


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form; empty if the body is no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}


def _is_same_origin(request: Request) -> bool:
    """Whether a page of this host sent the request; browsers state the origin of a form."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    return bool(host) and urlsplit(origin).netloc.lower() == host.lower()


def _over_tls(request: Request) -> bool:
    """Whether the browser uses TLS, to this process or to the proxy before it.

    A false header can only make a cookie stricter.
    """
    proxied = request.headers.get("x-forwarded-proto", "")
    origin = request.headers.get("origin", "")
    return "https" in (request.url.scheme, proxied) or origin.startswith("https://")
