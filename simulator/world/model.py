"""The entities of the world: servers, projects, true runs, and refusals."""

from __future__ import annotations

from dataclasses import dataclass, field

UNBILLED_STATES = frozenset({"stopping", "stopped"})
"""States that cost nothing; every other state is billable."""


class Refusal(Exception):
    """A refusal of the region: the HTTP status and the body that Scaleway would answer."""

    def __init__(self, status: int, kind: str, message: str, **more: object) -> None:
        self.status = status
        self.body = {"message": message, "type": kind, **more}
        super().__init__(f"{status} {kind}: {self.body}")


@dataclass(frozen=True, slots=True)
class Project:
    """A Scaleway Project with one API key. `repr` hides the secret."""

    id: str
    name: str
    access_key: str
    secret_key: str = field(repr=False)
    created_s: int = 0


@dataclass(frozen=True, slots=True)
class Server:
    """A server at one moment; every change makes a new value."""

    id: str
    name: str
    project_id: str
    zone: str
    commercial_type: str
    tags: tuple[str, ...]
    created_s: int
    modified_s: int
    state: str = "stopped"
    state_detail: str = ""
    protected: bool = False
    node: int | None = None
    scratch_bytes: int = 0
    serial: int = 0
    """How many servers were created before it, for the order within a second."""
    epoch: int = 0
    """Counts actions; a planned step of an older action is void."""

    @property
    def is_billable(self) -> bool:
        """Whether this state is billed: all but stopping and stopped."""
        return self.state not in UNBILLED_STATES


@dataclass(frozen=True, slots=True)
class TruthRun:
    """An uninterrupted billable interval of a server, [start_s, end_s); None: still open."""

    server_id: str
    project_id: str
    zone: str
    commercial_type: str
    start_s: int
    end_s: int | None


@dataclass(frozen=True, slots=True)
class ScratchLost:
    """A server's scratch disks were erased, because it was powered off or terminated."""

    server_id: str
    at_s: int
    size_bytes: int


def not_found(resource: str, resource_id: str) -> Refusal:
    """404: the resource does not exist."""
    named = {"resource": resource, "resource_id": resource_id}
    return Refusal(404, "not_found", "resource is not found", **named)


def precondition(
    help_message: str, status: int = 400, name: str = "resource_not_usable"
) -> Refusal:
    """400: the server's state does not allow it."""
    message = "precondition is not respected"
    more = {"help_message": help_message, "precondition": name}
    return Refusal(status, "precondition_failed", message, **more)


def protected(server_id: str) -> Refusal:
    """412: the server is protected from deletion."""
    return precondition(f"server {server_id} is protected", 412, "protected_resource")


def invalid(argument: str, help_message: str) -> Refusal:
    """400: an argument is wrong."""
    detail = {"argument_name": argument, "help_message": help_message, "reason": "constraint"}
    return Refusal(400, "invalid_arguments", "invalid argument(s)", details=[detail])


def quota_exceeded(resource: str, quota: int, current: int) -> Refusal:
    """403: the organization's quota is used up."""
    detail = {"current": current, "quota": quota, "resource": resource}
    message = "quota(s) exceeded for this resource"
    return Refusal(403, "quotas_exceeded", message, details=[detail])


def out_of_stock(commercial_type: str) -> Refusal:
    """503: the zone has no free hardware of this type now."""
    return Refusal(503, "out_of_stock", "resource is out of stock", resource=commercial_type)


def transient(resource: str, resource_id: str) -> Refusal:
    """409: a concurrent change is in progress."""
    named = {"resource": resource, "resource_id": resource_id, "current_state": "updating"}
    return Refusal(409, "transient_state", "resource is in a transient state", **named)


def permission_denied(resource: str, action: str) -> Refusal:
    """403: the key has no permission."""
    details = [{"resource": resource, "action": action}]
    return Refusal(403, "permissions_denied", "insufficient permissions", details=details)


def authentication_denied() -> Refusal:
    """401: the key is unknown, revoked or expired."""
    named = {"method": "api_key", "reason": "not_found"}
    return Refusal(401, "denied_authentication", "authentication is denied", **named)
