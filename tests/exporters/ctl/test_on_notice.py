"""`cohortctl on-notice` as systemd runs it: real processes, a real socket, signals."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from exporters.ctl.on_notice.command import run_hook
from exporters.ctl.on_notice.notice_watch import WatchedNotice
from quotas.model.units import format_instant
from tests.cli.command import environment
from tests.scheduler.processes import process

from .test_watch_loop import notice

CTL = [sys.executable, "-c", "from exporters.ctl.cli import main; main()"]
LIMIT_S = 30
ROUND_END = "/v1/servers"
"""What the first round asks last: by then it has run and acknowledged what is due."""


class Api(ThreadingHTTPServer):
    """Speaks as much of the API as on-notice asks for, and tells what it was asked."""

    daemon_threads = True

    def __init__(self, live: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.live, self.asked = live, queue.Queue[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait_for(self, word: str) -> str:
        """The next request that has this word in it."""
        while True:
            asked = self.asked.get(timeout=LIMIT_S)
            if word in asked:
                return asked


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.asked.put(f"GET {self.path}")
        servers = [{"id": "s1", "name": "trainer"}]
        items = servers if self.path == "/v1/servers" else self.server.live
        self._answer({"items": items, "next": None})

    def do_POST(self) -> None:
        assert self.headers["Authorization"] == "Bearer secret"
        self.server.asked.put(f"POST {self.path} {self.headers['Idempotency-Key']}")
        self._answer({"id": "0" * 32})

    def log_message(self, format: str, *args: object) -> None: ...

    def _answer(self, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def api() -> Iterator[Api]:
    """The API with a notice about the server trainer, due in a minute."""
    deadline = format_instant(int(time.time()) + 60)
    server = Api([{**notice(7), "deadline": deadline}])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def on_notice(api: Api, folder: Path, hook: str) -> Iterator[Any]:
    """The command, for the server trainer, with a shell line as its hook."""
    env = environment(COHORTCTL_URL=api.url, COHORTCTL_TOKEN="secret", HOME=str(folder))
    options = ["--server", "trainer", "--before", "10m", "--state", str(folder / "kept.json")]
    command = [*CTL, "on-notice", *options, "--", "sh", "-c", hook]
    with process(command, env, stderr=subprocess.PIPE) as child:
        yield child


def fifo(folder: Path, name: str) -> Path:
    """A pipe with a name: whoever reads it waits for whoever writes."""
    os.mkfifo(folder / name)
    return folder / name


def test_the_hook_hears_which_notice_and_the_api_hears_that_it_ran(
    api: Api, tmp_path: Path
) -> None:
    """Id, deadline and reason are in its environment, the token is not; SIGTERM ends with 0."""
    output = fifo(tmp_path, "output")
    with on_notice(api, tmp_path, f"env > {output}") as child:
        env = dict(line.split("=", 1) for line in output.read_text().splitlines() if "=" in line)
        assert api.wait_for("POST") == "POST /v1/notices/7/acknowledge on-notice-7"
        api.wait_for(ROUND_END)
        child.send_signal(signal.SIGTERM)
        assert child.wait(LIMIT_S) == 0
    assert env["COHORTD_NOTICE_ID"] == "7"
    assert env["COHORTD_NOTICE_DEADLINE"] == api.live[0]["deadline"]
    assert env["COHORTD_NOTICE_REASON"] == "credits are used up"
    assert "COHORTCTL_TOKEN" not in env


def test_a_killed_process_that_comes_back_runs_nothing_twice(api: Api, tmp_path: Path) -> None:
    """kill -9 after the hook, then a new process on the same file: one line, one answer."""
    lines = tmp_path / "lines"
    for _ in range(2):
        with on_notice(api, tmp_path, f"echo ran >> {lines}") as child:
            api.wait_for(ROUND_END)
            child.kill()
    assert lines.read_text() == "ran\n"
    asked = [api.asked.get() for _ in range(api.asked.qsize())]
    assert not [each for each in asked if each.startswith("POST")]


def test_sigterm_waits_for_the_hook(api: Api, tmp_path: Path) -> None:
    """A checkpoint under way comes to its end and is acknowledged, and only then it leaves."""
    begun, go_on = fifo(tmp_path, "begun"), fifo(tmp_path, "go-on")
    with on_notice(api, tmp_path, f"echo > {begun}; cat {go_on} > {tmp_path}/saved") as child:
        begun.read_text()
        child.send_signal(signal.SIGTERM)
        go_on.write_text("whole")
        assert child.wait(LIMIT_S) == 0
    assert (tmp_path / "saved").read_text() == "whole"
    assert "POST /v1/notices/7/acknowledge on-notice-7" in list(api.asked.queue)


def test_a_known_deadline_is_kept_though_the_api_is_gone(api: Api, tmp_path: Path) -> None:
    """The API closes its door after the first look; the hook runs when it is due."""
    api.live = [{**notice(7), "deadline": format_instant(int(time.time()) + 610)}]
    output = fifo(tmp_path, "output")
    with on_notice(api, tmp_path, f"echo $COHORTD_NOTICE_ID > {output}") as child:
        api.wait_for("live=true")
        api.wait_for(ROUND_END)
        api.shutdown()
        api.socket.close()
        assert output.read_text() == "7\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(LIMIT_S) == 0


def test_a_hook_that_cannot_be_run_is_said(api: Api, tmp_path: Path) -> None:
    """No such command: a sentence, the next round goes on, nothing is acknowledged."""
    env = environment(COHORTCTL_URL=api.url, COHORTCTL_TOKEN="secret", HOME=str(tmp_path))
    command = [*CTL, "on-notice", "--server", "trainer", "--", str(tmp_path / "none.sh")]
    with process(command, env, stderr=subprocess.PIPE) as child:
        said = [child.stderr.readline() for _ in range(4)]
        api.wait_for(ROUND_END)
    assert "none.sh cannot be run" in said[2] and "not acknowledged" in said[3]


def test_the_hook_runs_though_nobody_takes_the_log_or_the_state(api: Api, tmp_path: Path) -> None:
    """A closed standard error and a state file in no folder: the checkpoint is saved."""
    output = fifo(tmp_path, "output")
    env = environment(COHORTCTL_URL=api.url, COHORTCTL_TOKEN="secret", HOME=str(tmp_path))
    options = ["--server", "TRAINER.internal", "--state", "/proc/none/kept.json"]
    command = [*CTL, "on-notice", *options, "--", "sh", "-c", f"echo ran > {output}"]
    with process(command, env, stderr=subprocess.PIPE) as child:
        child.stderr.close()
        assert output.read_text() == "ran\n"
        api.wait_for("POST")


def test_a_reason_that_no_environment_holds_stops_no_hook(tmp_path: Path) -> None:
    """A NUL, half a character and a very long text reach the hook as far as they can."""
    notice = WatchedNotice(7, 60, "a\0b\ud800" + "c" * 500_000, "credits", "trainer")
    saved = tmp_path / "saved"
    assert run_hook(["sh", "-c", f'printf %s "$COHORTD_NOTICE_REASON" > {saved}'], notice) == 0
    assert saved.read_text().startswith("ab?ccc")
