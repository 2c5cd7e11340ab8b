"""Two real daemons on one book in PostgreSQL, as if each were on its own host."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import text

from quotas.book import Address, Book
from quotas.book.actions.tokens import create_token
from quotas.book.inbox import Inbox, InboxMessage
from quotas.model.tokens import Token
from quotas.model.units import DAY_S
from scheduler.clock import SystemClock
from tests.scheduler.processes import cohortd, daemon, region

from .server import Server


def _ask(address: Address, host: Path) -> None:
    """Queue a request for GPUs, as the API of a host does."""
    book, inbox, now_s = Book.open_existing(address), Inbox(host), SystemClock().now_s()
    scopes = ("read", "request")
    token = Token("", "t", "acme", scopes, now_s, now_s + DAY_S, None, "tests")
    made = create_token(book, token, "0" * 64)
    body = {"pool": "h100", "gpus": 1, "duration_s": 3600, "reason": ""}
    inbox.put(InboxMessage("a" * 32, "request.open", "acme", body, made.id, now_s), "k")
    inbox.close()
    book.close()


def test_one_leads_the_server_restarts_the_other_takes_over(server: Server, tmp_path: Path) -> None:
    """The standby answers its host, leads when the leader leaves, and survives a server crash."""
    address = server.database(tmp_path)
    hosts = [tmp_path / name for name in ("one", "two")]
    with region() as paris:
        paris.start_server()
        file = tmp_path / "program.toml"
        file.write_text(paris.program(limit=8))
        env = {**paris.env, "COHORTD_DATABASE": address.database}
        with daemon(env, hosts[0], file) as leader:
            leader.wait_for("cycle", outcome="done")
            with daemon(env, hosts[1], file) as other:
                other.wait_for("cycle", outcome="follower")
                _ask(address, hosts[1])
                assert other.wait_for("inbox.answered")["state"] == "done"
                server.restart()
                assert leader.end() == 0, leader.rest
                done = other.wait_for("cycle", outcome="done")
                assert "1 of 8 GPUs" in done["sentence"]
                assert other.end() == 0, other.rest
        status = json.loads(cohortd(env, "status", "--json").stdout)
        assert cohortd(env, "verify").returncode == 0
    assert status["startups"][0]["gpus"] == 1
    book = Book.open_existing(address)
    with book.reading() as connection:
        assert connection.scalar(text("SELECT epoch FROM lease")) == 2
        assert connection.scalar(text("SELECT count(*) FROM run")) == 1
    book.close()
