"""A client of the region for tests: plain HTTP with a key, and the controls."""

from __future__ import annotations

from typing import Any

import requests

from simulator.process import Running

ZONE = "fr-par-2"
H100 = "H100-1-80G"
LIMIT_S = 30


class Client:
    """Requests to one region, with the operator's key unless another is given."""

    def __init__(self, region: Running) -> None:
        """Set the region's address and the key."""
        self.region = region
        self.session = requests.Session()
        self.project = region.projects[0]

    def ask(
        self, method: str, path: str, body: object = None, key: str | None = ""
    ) -> requests.Response:
        """One request; a key of None sends no key."""
        token = self.region.secret_key if key == "" else key
        headers = {"X-Auth-Token": token} if token else {}
        url = self.region.url + path
        return self.session.request(method, url, json=body or {}, headers=headers, timeout=LIMIT_S)

    def servers(self, query: str = "", zone: str = ZONE, key: str | None = "") -> requests.Response:
        """List servers."""
        return self.ask("GET", f"/instance/v1/zones/{zone}/servers{query}", key=key)

    def one(self, server_id: str, method: str = "GET", body: object = None) -> requests.Response:
        """Read, change or delete one server."""
        return self.ask(method, f"/instance/v1/zones/{ZONE}/servers/{server_id}", body)

    def create(self, commercial_type: str = H100, **more: object) -> requests.Response:
        """Create a server in the first project."""
        body = {"name": "one", "project": self.project.id, "commercial_type": commercial_type}
        return self.ask("POST", f"/instance/v1/zones/{ZONE}/servers", body | more)

    def created(self, commercial_type: str = H100, **more: object) -> str:
        """The id of a new server."""
        answer = self.create(commercial_type, **more)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["server"]["id"])

    def act(self, server_id: str, action: str) -> requests.Response:
        """Start an action."""
        path = f"/instance/v1/zones/{ZONE}/servers/{server_id}/action"
        return self.ask("POST", path, {"action": action})

    def state(self, server_id: str) -> str:
        """The server's current state."""
        return str(self.one(server_id).json()["server"]["state"])

    def control(self, method: str, path: str, **body: object) -> dict[str, Any]:
        """Call a control address; the call must succeed."""
        answer = self.session.request(
            method, f"{self.region.control_url}/{path}", json=body, timeout=LIMIT_S
        )
        assert answer.ok, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def now_s(self) -> int:
        """The world's time."""
        return int(self.control("GET", "clock")["now_s"])

    def pass_time(self, seconds: int) -> None:
        """Let the world's time pass."""
        self.control("POST", "clock", now_s=self.now_s() + seconds)

    def clear(self) -> None:
        """Remove every fault and every server of the test."""
        self.control("DELETE", "faults")
        for server in self.servers("?per_page=100").json()["servers"]:
            if "poweroff" in server["allowed_actions"]:
                self.act(server["id"], "poweroff")
        self.pass_time(7200)
        for server in self.servers("?per_page=100").json()["servers"]:
            self.one(server["id"], "PATCH", {"protected": False})
            self.one(server["id"], "DELETE")
