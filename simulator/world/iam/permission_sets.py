"""The permission sets that matter to Instances and IAM, and their permissions.

Names and scopes are as Scaleway documents them; the names of the permissions inside are ours.
"""

from __future__ import annotations

PROJECTS, ORGANIZATION = "projects", "organization"

_READ = frozenset({"server:read"})
_SERVER = frozenset(f"server:{verb}" for verb in ("read", "create", "start", "stop", "write"))
_INSTANCES = _SERVER | {"server:delete"}
_IAM = ("application", "group", "policy", "user", "api_key", "permission_set")
_IAM_READ = frozenset(f"{kind}:read" for kind in _IAM)
_IAM_ALL = _IAM_READ | {f"{kind}:write" for kind in _IAM}
_POLICY_READ = frozenset({"policy:read", "permission_set:read"})
_PROJECT_READ = frozenset({"projects:read"})

PERMISSION_SETS: dict[str, tuple[str, frozenset[str]]] = {
    "AllProductsFullAccess": (PROJECTS, _INSTANCES),
    "AllProductsReadOnly": (PROJECTS, _READ),
    "ContainerRegistryReadOnly": (PROJECTS, frozenset()),
    "IAMApplicationReadOnly": (ORGANIZATION, frozenset({"application:read", "api_key:read"})),
    "IAMGroupReadOnly": (ORGANIZATION, frozenset({"group:read"})),
    "IAMManager": (ORGANIZATION, _IAM_ALL | _PROJECT_READ),
    "IAMPolicyManager": (ORGANIZATION, _POLICY_READ | {"policy:write"}),
    "IAMPolicyReadOnly": (ORGANIZATION, _POLICY_READ),
    "IAMReadOnly": (ORGANIZATION, _IAM_READ),
    "IAMUserReadOnly": (ORGANIZATION, frozenset({"user:read", "api_key:read"})),
    "InferenceFullAccess": (PROJECTS, frozenset()),
    "InstancesFullAccess": (PROJECTS, _INSTANCES),
    "InstancesReadOnly": (PROJECTS, _READ),
    "InstancesServerCreate": (PROJECTS, frozenset({"server:create"})),
    "InstancesServerDelete": (PROJECTS, frozenset({"server:delete"})),
    "InstancesServerList": (PROJECTS, _READ),
    "InstancesServerRead": (PROJECTS, _READ),
    "InstancesServerStart": (PROJECTS, frozenset({"server:start"})),
    "InstancesServerStop": (PROJECTS, frozenset({"server:stop"})),
    "InstancesServerWrite": (PROJECTS, frozenset({"server:write"})),
    "KubernetesFullAccess": (PROJECTS, frozenset()),
    "ObjectStorageFullAccess": (PROJECTS, frozenset()),
    "OrganizationManager": (ORGANIZATION, _IAM_ALL | _PROJECT_READ),
    "OrganizationReadOnly": (ORGANIZATION, frozenset()),
    "ProjectManager": (ORGANIZATION, _PROJECT_READ),
    "ProjectReadOnly": (ORGANIZATION, _PROJECT_READ),
}

STARTUP_PERMISSION_SETS = (
    "InstancesReadOnly",
    "InstancesServerCreate",
    "InstancesServerDelete",
    "InstancesServerStart",
    "InstancesServerStop",
    "InstancesServerWrite",
)
"""The permission sets of a startup's own key in its project at the start."""

_REQUIRED = {
    "poweron": "server:start",
    "poweroff": "server:stop",
    "stop_in_place": "server:stop",
    "terminate": "server:delete",
}


def required_permission(action: str) -> str:
    """The permission that an action on a server needs."""
    return _REQUIRED.get(action, "server:write")
