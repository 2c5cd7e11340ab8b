"""API tokens: their format, checksum and scopes. No secret is stored.

A token is cohortd_ and 58 characters: 32 random bytes and their CRC-32 in base32. The prefix lets
a secret scanner find it. The checksum finds a typo without a look at the book.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import zlib
from base64 import b32decode, b32encode
from dataclasses import dataclass

from quotas.model.units import DAY_S

SCOPES = ("read", "request", "node", "power", "admin", "audit")
"""The first four act for one startup; admin and audit are for operators, without a startup.

No scope contains another one. A token on a GPU server has `node`: it reads the startup's servers
and notices, and acknowledges notices. `power` is for powering servers off and on; cohortd has no
such route yet, so `request` never grows into it.
"""
ACKNOWLEDGING_SCOPES = ("request", "node")
"""The scopes of which one is enough to acknowledge a notice."""
OPERATOR_SCOPES = frozenset({"admin", "audit"})
LEAVERS_READ_S = 90 * DAY_S
"""How long the tokens of a startup that left still read its statements, and nothing else."""
SECRET_BYTES = 32
_SHAPE = re.compile(r"cohortd_([a-z2-7]{58})")


@dataclass(frozen=True, slots=True)
class Token:
    """A stored token without its secret. `startup` is "" for operators."""

    id: str
    name: str
    startup: str
    scopes: tuple[str, ...]
    created_s: int
    expires_s: int
    revoked_s: int | None
    actor: str

    @property
    def ends_s(self) -> int:
        """When it ends: at its expiry, or at an earlier revocation."""
        return self.expires_s if self.revoked_s is None else min(self.expires_s, self.revoked_s)

    def state(self, now_s: int) -> str:
        """active, expired or revoked. A revocation may lie in the future (overlap)."""
        if self.revoked_s is not None and self.revoked_s <= now_s:
            return "revoked"
        return "expired" if self.expires_s <= now_s else "active"


def write_token(secret: bytes) -> str:
    """The token of 32 random bytes. Raises ValueError for another length."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a token is made of {SECRET_BYTES} random bytes, not {len(secret)}")
    body = secret + zlib.crc32(secret).to_bytes(4)
    return "cohortd_" + b32encode(body).decode().rstrip("=").lower()


def fingerprint(text: str) -> str | None:
    """The SHA-256 of a token, as the book stores it; None for a text that is not a token."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    try:
        body = b32decode(found[1].upper() + "=" * 6)
    except binascii.Error:
        return None
    if len(body) != SECRET_BYTES + 4 or write_token(body[:SECRET_BYTES]) != text:
        return None
    return digest(text)


def digest(text: str) -> str:
    """The SHA-256 of any text, to look it up among fingerprints before checking its form."""
    return hashlib.sha256(text.encode()).hexdigest()


def id_of(token_hash: str) -> str:
    """The public name of a token: the first 12 digits of its hash."""
    return f"tok-{token_hash[:12]}"


def check_scopes(startup: str, scopes: tuple[str, ...]) -> None:
    """Refuse unknown scopes, and scopes that do not fit the bearer. Raises ValueError."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise ValueError(
            f"--scope is {','.join(scopes)!r}: write one or more of {', '.join(SCOPES)}"
        )
    if startup and OPERATOR_SCOPES & set(scopes):
        raise ValueError("--scope admin and audit are for operators: remove the startup")
    if not startup and not OPERATOR_SCOPES.issuperset(scopes):
        raise ValueError(
            "--scope read, request, node and power act for a startup: write its name before the "
            "options"
        )
