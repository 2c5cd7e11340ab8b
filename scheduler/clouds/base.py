"""The interface of a cloud, and the typed errors of its calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from quotas.model.observation import Cause, Offer, Server, Sweep


class CloudError(Exception):
    """A failed call. `cause` is the kind of fault. The text never contains a key."""

    cause: Cause = Cause.FAULT


class Unreachable(CloudError):
    """No connection, no answer in time, or a broken transport."""

    cause = Cause.UNREACHABLE


class Throttled(CloudError):
    """Too many requests (429); Scaleway sends it with an empty body."""

    cause = Cause.THROTTLED


class ServerFault(CloudError):
    """The cloud failed (5xx), with any body."""


class Malformed(CloudError):
    """An answer that is not JSON, or lacks required keys."""

    cause = Cause.MALFORMED


class KeyRefused(CloudError):
    """The API key is unknown, expired or revoked (401)."""

    cause = Cause.KEY_REFUSED


class Forbidden(CloudError):
    """The key is known but lacks a permission (403 permissions_denied)."""

    cause = Cause.FORBIDDEN


class RequestRejected(CloudError):
    """The cloud understood the request and refused it (other 4xx)."""


class QuotaExceeded(RequestRejected):
    """An organization quota is used up (403 quotas_exceeded)."""


class NotFound(RequestRejected):
    """The named resource does not exist (404, 410)."""


class Conflict(RequestRejected):
    """The resource's present state does not allow it (400, 409 or 412)."""


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
        """Read every server of a zone. Answers Unknown instead of raising CloudError."""

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """Every offer of the zone, with prices. Raises CloudError."""

    def stock(self, zone: str) -> Mapping[str, str]:
        """The stock of each type in the zone's words: "available", "scarce", "shortage".

        Raises CloudError.
        """

    def projects(self) -> tuple[Project, ...]:
        """All projects of the organization, by name. Raises CloudError."""

    def server(self, zone: str, server_id: str) -> Server:
        """One server now. Raises CloudError (NotFound if it does not exist)."""

    def power_off(self, zone: str, server_id: str) -> None:
        """Ask once, without retry, for poweroff. Raises CloudError."""

    def power_on(self, zone: str, server_id: str) -> None:
        """Ask once, without retry, for poweron. Raises CloudError (OutOfStock)."""
