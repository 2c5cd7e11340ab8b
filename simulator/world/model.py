"""The entities of the world: servers, projects, true runs, and refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

UNBILLED_STATES = frozenset({"stopping", "stopped"})
"""States that cost nothing; every other state is billable."""


class Refusal(Exception):
    """A refusal of the region: the HTTP status and the body that Scaleway would answer."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('type')}: {body}")
        self.status = status
        self.body = body


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
    body = {"resource": resource, "resource_id": resource_id}
    return Refusal(404, {"message": "resource is not found", "type": "not_found"} | body)


def precondition(help_message: str) -> Refusal:
    """400: the server's state does not allow it."""
    return Refusal(
        400,
        {
            "help_message": help_message,
            "message": "precondition is not respected",
            "precondition": "resource_not_usable",
            "type": "precondition_failed",
        },
    )


def protected(server_id: str) -> Refusal:
    """412: the server is protected from deletion."""
    return Refusal(
        412,
        {
            "help_message": f"server {server_id} is protected",
            "message": "precondition is not respected",
            "precondition": "protected_resource",
            "type": "precondition_failed",
        },
    )


def invalid(argument: str, help_message: str) -> Refusal:
    """400: an argument is wrong."""
    detail = {"argument_name": argument, "help_message": help_message, "reason": "constraint"}
    body = {"details": [detail], "message": "invalid argument(s)", "type": "invalid_arguments"}
    return Refusal(400, body)


def quota_exceeded(resource: str, quota: int, current: int) -> Refusal:
    """403: the organization's quota is used up."""
    detail = {"current": current, "quota": quota, "resource": resource}
    message = "quota(s) exceeded for this resource"
    return Refusal(403, {"details": [detail], "message": message, "type": "quotas_exceeded"})


def out_of_stock(commercial_type: str) -> Refusal:
    """503: the zone has no free hardware of this type now."""
    body = {"resource": commercial_type, "type": "out_of_stock"}
    return Refusal(503, {"message": "resource is out of stock"} | body)


def transient(resource: str, resource_id: str) -> Refusal:
    """409: a concurrent change is in progress."""
    body = {"message": "resource is in a transient state", "type": "transient_state"}
    named = {"resource": resource, "resource_id": resource_id, "current_state": "updating"}
    return Refusal(409, body | named)


def permission_denied(resource: str, action: str) -> Refusal:
    """403: the key has no permission."""
    details = [{"resource": resource, "action": action}]
    body = {"message": "insufficient permissions", "type": "permissions_denied"}
    return Refusal(403, body | {"details": details})
