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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from exporters.api.read_model import REOPEN_S
from quotas.book import Address, Book
from quotas.book.actions.tokens import list_tokens
from quotas.book.session import FILE_NAME
from quotas.book.view_file import publish
from tests.cli.command import cohortd, environment
from tests.scheduler.processes import COHORTD, Daemon, daemon, process, region

from .api_fixture import NOW_S, fill, mint_all


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


def until(is_so: Callable[[], bool]) -> None:
    """Wait until the daemon has published something: it does within a second or so."""
    ends = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < ends, "it was not published"
        time.sleep(0.2)


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
    publish(book, Address(state).view, NOW_S)
    book.close()
    return state, tokens


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


def test_it_answers_from_the_view_with_its_age_and_never_opens_the_book(
    filled: tuple[Path, dict[str, str]],
) -> None:
    """Without the book everything is answered, with the seconds since the daemon published it."""
    state, tokens = filled
    os.rename(state / FILE_NAME, state / "away")
    with serving(state) as (daemon, url):
        for path in ("credits", "decisions", "events", "charges", "statements"):
            status, headers, _ = get(f"{url}/v1/{path}", tokens["acme"])
            assert status == 200
            assert int(headers["age"]) > 10**9  # it was published at NOW_S of 1970
        assert get(f"{url}/v1/credits", tokens["revoked"])[0] == 401
        folder = Path(f"/proc/{daemon.child.pid}/fd")
        opened = {os.path.basename(os.readlink(each)) for each in folder.iterdir()}
        assert {"view.db", "inbox.db"} <= opened
        assert not {name for name in opened if name.startswith(FILE_NAME) or name == "away"}


def test_it_starts_before_there_is_a_book(tmp_path: Path) -> None:
    """A service that waits answers 503 with what to do, and serves once there is a view."""
    with serving(tmp_path) as (_, url):
        token = "cohortd_" + "a" * 58
        assert get(f"{url}/v1/me", token)[0] in {401, 503}
        book = Book.open(tmp_path)
        fill(book)
        text = mint_all(book)["acme"]
        status, _, problem = get(f"{url}/v1/me", text)
        assert (status, problem["type"]) == (503, "urn:cohortd:problem:no-book")
        publish(book, Address(tmp_path).view, NOW_S)
        time.sleep(REOPEN_S + 0.1)
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
    """Serving writes no byte of the book or the view; what it keeps is in the inbox's folder."""
    state, tokens = filled
    files = (state / FILE_NAME, state / "view" / "view.db")
    before = [path.read_bytes() for path in files]
    with serving(state) as (daemon, url):
        for path in ("me", "credits", "quota", "events", "charges"):
            assert get(f"{url}/v1/{path}", tokens["acme"])[0] == 200
        daemon.end()
    assert [path.read_bytes() for path in files] == before
    assert [path.name for path in (state / "view").iterdir()] == ["view.db"]
    others = {path.name for path in state.iterdir()} - {FILE_NAME}
    assert others == {"inbox", "view"}


def test_a_write_while_the_scheduler_is_dead_is_kept_and_decided_when_it_is_back(
    tmp_path: Path,
) -> None:
    """Real processes: 202 with the daemon gone, kept over the API's own death, then decided."""
    state, program = tmp_path / "state", tmp_path / "program.toml"
    with region() as simulated:
        program.write_text(simulated.program(limit=8))
        with daemon(simulated.env, state, program) as first:
            first.wait_for("cycle", outcome="done")
            create = ["token", "create", "acme", "--name", "ci", "--scope", "read,request"]
            token = cohortd(*create, "--state", state).out.strip()
            until(lambda: bool(list_tokens(Book.open_read_only(Address(state).view))))
            first.end()  # after a kill its lease would have to run out first
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
            until(lambda: get(f"{url}{headers['location']}", token)[2]["state"] == "done")
            assert get(f"{url}{headers['location']}", token)[2]["reference"] == 1
            (item,) = get(f"{url}/v1/requests", token)[2]["items"]
            assert (item["pool"], item["gpus"]) == ("h100", 2)
