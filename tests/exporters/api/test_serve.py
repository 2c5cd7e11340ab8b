"""The real process over a real socket: it starts without a key, answers, and leaves cleanly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from exporters.api.read_model import REOPEN_S
from quotas.book import Book
from quotas.book.session import FILE_NAME
from tests.cli.command import cohortd, environment
from tests.scheduler.processes import COHORTD, Daemon, daemon, process, region

from .api_fixture import fill, mint_all


def get(
    url: str, token: str = "", method: str = "GET", body: object = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers in lower case and JSON body of a request over a socket."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {"Authorization": f"Bearer {token}"} if token else {}
    data = None if body is None else json.dumps(body).encode()
    sent |= {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(url, data=data, headers=sent, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        text = answer.read()
        found = {name.lower(): value for name, value in answer.headers.items()}
        return int(answer.status), found, json.loads(text) if text else None


@contextmanager
def serving(state: Path, **settings: str) -> Iterator[tuple[Daemon, str]]:
    """`cohortd serve` on a free port, without any Scaleway setting."""
    command = [*COHORTD, "serve", "--state", str(state), "--listen", "127.0.0.1:0"]
    with process(command, environment(**settings), stderr=subprocess.PIPE) as child:
        daemon = Daemon(child)
        yield daemon, f"http://{daemon.wait_for('api.started')['api']}"


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A state folder whose book holds two startups, and their tokens."""
    state = tmp_path / "state"
    book = Book.open(state)
    fill(book)
    tokens = mint_all(book)
    yield state, tokens
    book.close()


def test_it_serves_without_a_key_and_leaves_cleanly(
    filled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """READY is sent when it listens; credits are answered; SIGTERM ends it with status 0."""
    state, tokens = filled
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        with serving(state, NOTIFY_SOCKET=str(tmp_path / "notify")) as (daemon, url):
            assert notify.recv(100) == b"READY=1"
            status, headers, body = get(f"{url}/v1/credits", tokens["acme"])
            assert (status, body["level"]) == (200, "stopped")
            again = get(f"{url}/v1/credits", tokens["acme"], If_None_Match=headers["etag"])
            assert (again[0], again[2]) == (304, None)
            assert get(f"{url}/v1/credits")[0] == 401
            assert daemon.end(signal.SIGTERM) == 0
            assert "api.stopped" in daemon.rest


def test_the_last_snapshot_answers_while_the_book_is_away(
    filled: tuple[Path, dict[str, str]],
) -> None:
    """Without the book: the credits of then with their instant, and 503 for what needs rows."""
    state, tokens = filled
    with serving(state) as (_, url):
        before = get(f"{url}/v1/credits", tokens["acme"])[2]
        os.rename(state / FILE_NAME, state / "away")
        status, headers, body = get(f"{url}/v1/credits", tokens["acme"])
        assert (status, body) == (200, before)
        assert headers["cohortd-snapshot"] == before["as_of"]
        status, _, problem = get(f"{url}/v1/decisions", tokens["acme"])
        assert (status, problem["type"]) == (503, "urn:cohortd:problem:book-unavailable")
        assert get(f"{url}/v1/credits", tokens["revoked"])[0] == 401
    with serving(state) as (_, url):
        assert get(f"{url}/v1/credits", tokens["acme"])[2] == before


def test_it_starts_before_there_is_a_book(tmp_path: Path) -> None:
    """A service that waits answers 503 with what to do, and serves once the book is there."""
    with serving(tmp_path) as (_, url):
        token = "cohortd_" + "a" * 58
        assert get(f"{url}/v1/me", token)[0] == 401
        book = Book.open(tmp_path)
        fill(book)
        text = mint_all(book)["acme"]
        ends = time.monotonic() + REOPEN_S + 0.1
        while time.monotonic() < ends:  # too many 401s would become a 429
            assert get(f"{url}/v1/openapi.json", text)[0] == 200
        assert get(f"{url}/v1/me", text)[0] == 200
        book.close()


def test_a_taken_port_is_bad_usage(filled: tuple[Path, dict[str, str]]) -> None:
    """One sentence that names --listen, and exit 2."""
    state, _ = filled
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [*COHORTD, "serve", "--state", str(state), "--listen", at]
        ran = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert f"--listen {at}: Address already in use" in " ".join(ran.stderr.replace("│", "").split())


def test_the_book_s_files_are_left_alone(filled: tuple[Path, dict[str, str]]) -> None:
    """Serving writes no byte of the book; what it keeps lies in the inbox's folder."""
    state, tokens = filled
    before = (state / FILE_NAME).read_bytes()
    with serving(state) as (daemon, url):
        for path in ("me", "credits", "quota", "events", "charges"):
            assert get(f"{url}/v1/{path}", tokens["acme"])[0] == 200
        daemon.end()
    assert (state / FILE_NAME).read_bytes() == before
    others = {path.name for path in state.iterdir()} - {FILE_NAME}
    assert others <= {"inbox", f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"}


def test_a_write_while_the_scheduler_is_dead_is_kept_and_decided_when_it_is_back(
    tmp_path: Path,
) -> None:
    """Real processes: 202 with the daemon gone, kept over the API's own death, then decided."""
    state, program = tmp_path / "state", tmp_path / "program.toml"
    with region() as simulated:
        program.write_text(simulated.program(limit=8))
        with daemon(simulated.env, state, program) as first:
            first.wait_for("cycle", outcome="done")
            first.end()  # after a kill its lease would have to run out first
        create = ["token", "create", "acme", "--name", "ci", "--scope", "read,request"]
        token = cohortd(*create, "--state", state).out.strip()
        asked = {"pool": "h100", "gpus": 2, "duration": "1h"}
        with serving(state) as (api, url):
            path = f"{url}/v1/requests"
            status, headers, _ = get(path, token, "POST", asked, Idempotency_Key="k")
            assert status == 202
            assert get(f"{url}{headers['location']}", token)[2]["state"] == "waiting"
            api.end(signal.SIGKILL)
        with daemon(simulated.env, state, program) as second, serving(state) as (_, url):
            second.wait_for("inbox.answered", state="done")
            second.wait_for("cycle", outcome="done")
            answer = get(f"{url}{headers['location']}", token)[2]
            assert (answer["state"], answer["reference"]) == ("done", 1)
            (item,) = get(f"{url}/v1/requests", token)[2]["items"]
            assert (item["pool"], item["gpus"]) == ("h100", 2)
