"""A real Prometheus and Alertmanager of the machine, beside a server of metrics of ours."""

from __future__ import annotations

import json
import queue
import shutil
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.scheduler.processes import process

from .dashboard_files import RULES

PATIENCE_S = 60


def program(name: str) -> str:
    """Where a program of the machine is; the test skips where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"service: {name} is absent")
    return path


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Receiver:
    """Hears of everything that is posted to it, and of every GET, in order."""

    heard: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)

    def wait(self) -> tuple[str, bytes]:
        """The next thing heard. Raises queue.Empty after a minute of silence."""
        return self.heard.get(timeout=PATIENCE_S)


@contextmanager
def listening(receiver: Receiver, answer: Any = lambda: b"") -> Iterator[int]:
    """A server on a free port that tells the receiver of each request, after answering it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            said = answer()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            receiver.heard.put((self.path, body))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an instant query; a warning of Prometheus is an error here."""
        asked = urllib.parse.urlencode({"query": expr})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:
            body = json.load(answer)
        assert body["status"] == "success" and not body.get("warnings"), body
        found: list[dict[str, Any]] = body["data"]["result"]
        return found


@contextmanager
def prometheus(folder: Path, scraped: int, alertmanager: int | None) -> Iterator[Prometheus]:
    """Prometheus scraping a port each second, with our rules that wait for nothing."""
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    managers = [] if alertmanager is None else [{"targets": [f"127.0.0.1:{alertmanager}"]}]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": managers}]},
        "scrape_configs": [
            {
                "job_name": "cohortd",
                "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with process(command, {}):
        yield Prometheus(f"http://127.0.0.1:{port}")


@contextmanager
def alertmanager(folder: Path, webhook: int) -> Iterator[int]:
    """Alertmanager that posts every alert at once; its port."""
    config = {
        "route": {"receiver": "us", "group_wait": "0s", "group_interval": "1s"},
        "receivers": [
            {"name": "us", "webhook_configs": [{"url": f"http://127.0.0.1:{webhook}/alerts"}]}
        ],
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    with process(command, {}):
        yield port
