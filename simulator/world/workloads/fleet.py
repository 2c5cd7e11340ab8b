"""A startup's servers as its workload uses them: only what IAM allows the startup's key."""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from typing import Protocol

from simulator.world.iam.permission_sets import required_permission
from simulator.world.iam.principals import Iam
from simulator.world.model import Project, Refusal, Server, permission_denied


class Region(Protocol):
    """What a fleet needs of the region."""

    def servers(self, zone: str) -> tuple[Server, ...]:
        """Every server in a zone."""

    def create_server(self, zone: str, project_id: str, commercial_type: str, name: str) -> Server:
        """Create one, stopped."""

    def act(self, zone: str, server_id: str, action: str) -> Server:
        """Start an action."""

    def guest_shutdown(self, zone: str, server_id: str) -> Server:
        """Shut down inside the guest."""


class Fleet:
    """A startup's own servers, switched on and off by name. Refusals become False."""

    def __init__(self, region: Region, iam: Iam, project: Project) -> None:
        self._region = region
        self._iam = iam
        self._project = project

    def servers(self, zone: str) -> list[Server]:
        """The startup's servers in a zone."""
        every = self._region.servers(zone)
        return [server for server in every if server.project_id == self._project.id]

    def named(self, zone: str, name: str) -> Server | None:
        """The server of this name, if there is one."""
        found = (server for server in self.servers(zone) if server.name == name)
        return next(found, None)

    def on(self, zone: str, name: str, commercial_type: str) -> bool:
        """Whether the server is on or starting now; it is created if it does not exist."""
        try:
            server = self.named(zone, name) or self._create(zone, name, commercial_type)
            if server.state not in ("running", "starting"):
                self._act(server, "poweron")
        except Refusal:
            return False
        return True

    def off(self, server: Server) -> None:
        """Switch a server off, unless it is off or the region refuses."""
        if server.state not in ("stopped", "stopping"):
            with suppress(Refusal):
                self._act(server, "poweroff")

    def off_named(self, zone: str, names: Container[str]) -> None:
        """Switch off those servers that exist."""
        for server in self.servers(zone):
            if server.name in names:
                self.off(server)

    def shut_down_guest(self, server: Server) -> None:
        """Shut down inside the guest: no permission of Scaleway's is needed for that."""
        self._region.guest_shutdown(server.zone, server.id)

    def _create(self, zone: str, name: str, commercial_type: str) -> Server:
        self._check("server:create", "create")
        return self._region.create_server(zone, self._project.id, commercial_type, name)

    def _act(self, server: Server, action: str) -> None:
        self._check(required_permission(action), "write")
        self._region.act(server.zone, server.id, action)

    def _check(self, permission: str, action: str) -> None:
        if not self._iam.startup_may(self._project, permission):
            raise permission_denied("compute_servers", action)
