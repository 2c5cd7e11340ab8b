"""SIGSTOP of a real daemon inside its cycle: only the other daemon's writes stand."""

from __future__ import annotations

import signal
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from quotas.book.address import FILE_NAME

from ..processes import END_S, cohortd, daemon, region

PASSED_ON = ("X-Auth-Token", "Content-Type")
PASSED_BACK = ("Content-Type", "X-Total-Count", "Retry-After")


class PausingProxy(ThreadingHTTPServer):
    """Passes requests on to a region; while shut, it holds back those for servers."""

    daemon_threads = True

    def __init__(self, to: str) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.to = to
        self.is_shut, self.is_asked, self.may_pass = (threading.Event() for _ in range(3))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class ProxyHandler(BaseHTTPRequestHandler):
    """Pass one request through the gate."""

    server: PausingProxy

    def do_GET(self) -> None:
        if self.server.is_shut.is_set() and "/servers" in self.path:
            self.server.is_asked.set()
            assert self.server.may_pass.wait(6 * END_S)
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        request = urllib.request.Request(self.server.to + self.path, headers=headers)
        try:
            answer = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            content = answer.read()
        self.send_response(answer.status)
        for name in PASSED_BACK:
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(BrokenPipeError):  # the caller may have given up
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing: the test reads the daemons' own logs."""


@contextmanager
def pausing_proxy(to: str) -> Iterator[PausingProxy]:
    """A gate before a region, on a free port."""
    with PausingProxy(to) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            made.may_pass.set()
            made.shutdown()
            thread.join(END_S)


def lease_of(state: Path, change: str = "") -> tuple[int, str]:
    """Epoch and holder of the lease, after a change of its row."""
    with closing(sqlite3.connect(state / FILE_NAME)) as book, book:
        if change:
            book.execute(f"UPDATE lease SET {change}")
        epoch, holder = book.execute("SELECT epoch, holder FROM lease").fetchone()
        return int(epoch), str(holder)


def test_a_daemon_stopped_inside_its_cycle_writes_nothing_when_it_goes_on(tmp_path: Path) -> None:
    """The lease ended while the leader stood still: its late commit is refused, and it stands by.

    That the lease runs out is written into its row: it would take three minutes.
    """
    state, program = tmp_path / "state", tmp_path / "program.toml"
    with region() as paris, pausing_proxy(paris.about["url"]) as shut:
        paris.start_server()
        program.write_text(paris.program(limit=8))
        with daemon({**paris.env, "SCW_API_URL": shut.url}, state, program) as first:
            assert first.wait_for("cycle")["outcome"] == "done"
            shut.is_shut.set()
            assert shut.is_asked.wait(END_S)
            first.child.send_signal(signal.SIGSTOP)
            before, _ = lease_of(state, "expires_s = 0")
            with daemon(paris.env, state, program) as second:
                assert second.wait_for("cycle")["outcome"] == "done"
                led = lease_of(state)
                shut.is_shut.clear()
                shut.may_pass.set()
                first.child.send_signal(signal.SIGCONT)
                refused = first.wait_for("cycle.failed")
                assert "StaleEpoch" in str(refused) and "superseded" in str(refused)
                assert first.wait_for("cycle")["outcome"] == "failed"
                assert first.wait_for("cycle")["outcome"] == "follower"
                assert second.wait_for("cycle")["outcome"] == "done"
                assert (led[0], lease_of(state)) == (before + 1, led)
                assert second.end() == 0
            assert first.wait_for("cycle", outcome="done"), "it leads again, once the other left"
            assert first.end() == 0
        check = cohortd(paris.env, "verify", "--state", str(state))
        assert check.returncode == 0, check.stdout + check.stderr
        assert [run["end_s"] for run in paris.runs()] == [None]
