"""What does cohortd ask of a cloud, and in which typed ways can it fail?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from quotas.model.observation import Cause, Offer, Server, Sweep


class CloudError(Exception):
    """A cloud did not do what was asked. `cause` says whose fault; the text never holds a key."""

    cause: Cause = Cause.FAULT


class Unreachable(CloudError):
    """No connection, no answer in time, or a broken transport."""

    cause = Cause.UNREACHABLE


class Throttled(CloudError):
    """Too many requests (429); Scaleway sends it with an empty body."""

    cause = Cause.THROTTLED


class ServerFault(CloudError):
    """The cloud failed (5xx), whatever the body."""


class Malformed(CloudError):
    """An answer that is no JSON, or lacks keys that it must have."""

    cause = Cause.MALFORMED


class KeyRefused(CloudError):
    """The API key is unknown, expired or revoked (401)."""

    cause = Cause.KEY_REFUSED


class Forbidden(CloudError):
    """The key is known but lacks a permission (403 permissions_denied)."""

    cause = Cause.FORBIDDEN


class RequestRejected(CloudError):
    """The cloud understood and said no (other 4xx)."""


class QuotaExceeded(RequestRejected):
    """An organization quota is used up (403 quotas_exceeded)."""


class NotFound(RequestRejected):
    """The thing named does not exist (404, 410)."""


class Conflict(RequestRejected):
    """Its present state does not allow it (400/409/412 precondition or transient state)."""


class OutOfStock(RequestRejected):
    """The provider has no capacity of this type now."""


@dataclass(frozen=True, slots=True)
class Project:
    """A Scaleway Project of the organization."""

    id: str
    name: str


class Cloud(Protocol):
    """Everything cohortd reads from a cloud and asks of it."""

    def sweep(self, zone: str, at_s: int) -> Sweep:
        """Read every server of a zone. Never raises CloudError: it answers Unknown."""

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """Everything the zone sells, with prices, every page. Raises CloudError."""

    def stock(self, zone: str) -> Mapping[str, str]:
        """What is left of each type, as the zone words it: "available", "scarce", "shortage".

        Raises CloudError.
        """

    def projects(self) -> tuple[Project, ...]:
        """All projects of the organization, by name. Raises CloudError."""

    def server(self, zone: str, server_id: str) -> Server:
        """One server now. Raises CloudError (NotFound when it is gone)."""

    def power_off(self, zone: str, server_id: str) -> None:
        """Ask once, without retry, for poweroff. Raises CloudError."""

    def power_on(self, zone: str, server_id: str) -> None:
        """Ask once, without retry, for poweron. Raises CloudError (OutOfStock)."""
