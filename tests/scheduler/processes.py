"""Real processes: a simulated region over HTTP, and the daemon as systemd would start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

COHORTD = [sys.executable, "-c", "from scheduler.cli import main; main()"]
REPO = Path(__file__).resolve().parents[2]
END_S = 20


@contextmanager
def process(command: list[str], env: Mapping[str, str], **pipes: Any) -> Iterator[Any]:
    """A child process that is ended when the block ends."""
    child = subprocess.Popen(command, env=dict(env), cwd=REPO, text=True, **pipes)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(END_S)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def fetch(url: str, body: object = None, key: str = "") -> tuple[int, str]:
    """Status and text of a GET, or of a POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Auth-Token": key, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@dataclass(frozen=True)
class Region:
    """The announcement of a running simulator."""

    about: dict[str, Any]

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that uses this region."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SCW_", "NOTIFY_"))},
            "PYTHONPATH": str(REPO),
            "SCW_CONFIG_PATH": "/nonexistent",
            "SCW_API_URL": self.about["url"],
            "SCW_ACCESS_KEY": self.about["access_key"],
            "SCW_SECRET_KEY": self.about["secret_key"],
            "SCW_DEFAULT_ORGANIZATION_ID": self.about["organization_id"],
        }

    def start_server(self) -> str:
        """Create and power on a GPU server of the first project; its id."""
        base = f"{self.about['url']}/instance/v1/zones/fr-par-2/servers"
        body = {
            "name": "trainer",
            "commercial_type": "H100-1-80G",
            "project": self.about["projects"][0]["id"],
            "image": "ubuntu_noble_gpu_os_12",
            "volumes": {},
        }
        key = self.about["secret_key"]
        status, text = fetch(base, body, key)
        assert status in (200, 201), text
        server_id = str(json.loads(text)["server"]["id"])
        status, text = fetch(f"{base}/{server_id}/action", {"action": "poweron"}, key)
        assert status in (200, 202), text
        return server_id

    def runs(self) -> list[dict[str, Any]]:
        """The runs by the region's own truth."""
        found: list[dict[str, Any]] = json.loads(fetch(f"{self.about['url']}/_control/truth")[1])[
            "runs"
        ]
        return found

    def program(self, limit: int) -> str:
        """A program file that owns the first project, from yesterday for a month."""
        today = datetime.now(UTC).date()
        project = self.about["projects"][0]["id"]
        return f"""
[program]
name = "daemon-test"
mode = "enforce"
budget = "10000"

[pool.h100]
gpus = 8
flavors = ["H100-1-80G@fr-par-2"]

[cohort.spring]
starts = {today - timedelta(days=1)}
ends = {today + timedelta(days=30)}

[cohort.spring.startup.acme]
project_id = "{project}"
limit = {{ h100 = {limit} }}
grants = [ {{ id = "acme-1", credits = "5000" }} ]
"""


@contextmanager
def region(*before: str) -> Iterator[Region]:
    """A simulator on a free port, on real time, with projects but no servers.

    `before` is put before its command, such as what enters another network.
    """
    command = [
        *before,
        sys.executable,
        "-m",
        "simulator",
        "--listen",
        "127.0.0.1:0",
        "--clock",
        "real",
    ]
    command += ["--no-workload", "--seed", "1"]
    with process(command, os.environ, stdout=subprocess.PIPE) as child:
        yield Region(json.loads(child.stdout.readline()))


class Daemon:
    """A running `cohortd run`, with the lines of its log."""

    def __init__(self, child: Any) -> None:
        self.child = child
        self.log: list[dict[str, Any]] = []
        self.rest = ""

    def wait_for(self, event: str, **fields: object) -> dict[str, Any]:
        """The next log line of that event with those fields; the end of the log is a failure."""
        for line in self.child.stderr:
            entry = json.loads(line) if line.startswith("{") else {"event": line}
            self.log.append(entry)
            if entry["event"] == event and fields.items() <= entry.items():
                return entry
        raise AssertionError(f"no {event} {fields} in {self.log[-20:]}")

    def url(self) -> str:
        """The address of /metrics, from the daemon's log."""
        return f"http://{self.wait_for('daemon.started')['metrics']}"

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; its exit status."""
        self.child.send_signal(number)
        self.rest = self.child.stderr.read()
        return int(self.child.wait(END_S))


@contextmanager
def daemon(env: Mapping[str, str], state: Path, program: Path) -> Iterator[Daemon]:
    """`cohortd run` with a cycle each second on a free port."""
    command = [*COHORTD, "run", "--state", str(state), "--listen", "127.0.0.1:0"]
    command += ["--program", str(program), "--cycle", "1s"]
    with process(command, env, stderr=subprocess.PIPE) as child:
        yield Daemon(child)


def cohortd(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [*COHORTD, *arguments]
    return subprocess.run(
        command, env=dict(env), cwd=REPO, capture_output=True, text=True, timeout=60, check=False
    )
