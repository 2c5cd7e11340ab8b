"""The region as a startup's workload sees it: only what IAM allows its key."""

from __future__ import annotations

from simulator.world.iam.permission_sets import required_permission
from simulator.world.iam.principals import Iam
from simulator.world.model import Project, Server, permission_denied
from simulator.world.workloads.behaviours import Region


class StartupRegion:
    """The region for one startup: a closed startup is refused as its key would be."""

    def __init__(self, region: Region, iam: Iam, project: Project) -> None:
        """Act on this region, within this project."""
        self._region = region
        self._iam = iam
        self._project = project

    def servers(self, zone: str) -> tuple[Server, ...]:
        """Every server in a zone."""
        return self._region.servers(zone)

    def create_server(self, zone: str, project_id: str, commercial_type: str, name: str) -> Server:
        """Create one, stopped, or Refusal 403."""
        self._check("server:create", "create")
        return self._region.create_server(zone, project_id, commercial_type, name)

    def act(self, zone: str, server_id: str, action: str) -> Server:
        """Start an action, or Refusal 403."""
        self._check(required_permission(action), "write")
        return self._region.act(zone, server_id, action)

    def guest_shutdown(self, zone: str, server_id: str) -> Server:
        """Shut down inside the guest: no permission of Scaleway's is needed for that."""
        return self._region.guest_shutdown(zone, server_id)

    def _check(self, permission: str, action: str) -> None:
        if not self._iam.startup_may(self._project, permission):
            raise permission_denied("compute_servers", action)
