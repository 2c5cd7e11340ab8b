"""Which server this machine is: by Scaleway's metadata service, or else by its host name."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from exporters.ctl.on_notice import identity
from exporters.ctl.on_notice.identity import (
    named_server,
    read_scaleway_metadata,
    servers_text,
    this_machine,
)

METADATA = json.dumps({"id": "s1", "name": "trainer", "hostname": "trainer"}).encode()


def test_the_metadata_service_decides_by_id() -> None:
    """A server of the same name in another zone is not this machine."""
    found = this_machine(lambda: METADATA, lambda: "trainer")
    assert found.matches("s1", "renamed since")
    assert not found.matches("s2", "trainer")


@pytest.mark.parametrize("answer", [None, b"", b"<html>", b"[]", b'{"id": 5}', b'{"id": ""}'])
def test_the_host_name_decides_without_metadata(answer: bytes | None) -> None:
    """No service, or one that is not Scaleway's: the name is compared."""
    found = this_machine(lambda: answer, lambda: "trainer")
    assert found.matches("s1", "trainer") and not found.matches("trainer-id", "other")
    assert found.source == "host name trainer"


@pytest.mark.parametrize(
    ("host_name", "server_name", "is_same"),
    [
        ("trainer-0", "trainer-0", True),
        ("trainer-0", "Trainer_0", True),
        ("TRAINER-0", "trainer 0", True),
        ("trainer-0", "trainer.0", True),
        ("trainer-0.internal", "trainer-0", True),
        ("trainer-0.internal", "trainer-0.example.org", True),
        ("trainer-0-", "trainer-0", True),
        ("trainer-0", "trainer-1", False),
        ("trainer-0", "trainer", False),
        ("trainer-0", "trainer.1", False),
        ("node-1-1", "node-11", False),
        ("...", "---", False),
        ("", "", False),
    ],
)
def test_names_are_compared_without_case_punctuation_and_domain(
    host_name: str, server_name: str, is_same: bool
) -> None:
    """Differences that Scaleway or an image makes do not count, and a digit always does."""
    found = this_machine(lambda: None, lambda: host_name)
    assert found.matches("s1", server_name) is is_same


def test_a_person_may_give_an_id_or_a_name() -> None:
    """--server takes both."""
    found = named_server(["s1", "Trainer_0"])
    assert found.matches("s1", "x") and found.matches("x", "trainer-0")
    assert not found.matches("x", "x") and not found.matches(None, None)


@contextmanager
def metadata_service(status: int, body: bytes) -> Iterator[str]:
    """A metadata service on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/conf?format=json"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("status", "found"), [(200, METADATA), (404, None)])
def test_metadata_is_read_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, status: int, found: bytes | None
) -> None:
    """The second address is tried if the first is silent, and no proxy is asked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with metadata_service(status, METADATA) as address:
        monkeypatch.setattr(identity, "METADATA_HOSTS", ("127.0.0.1:9", address))
        assert read_scaleway_metadata() == found


def test_many_servers_are_not_all_listed() -> None:
    """The log names the first ten and counts the rest."""
    text = servers_text([{"name": f"s{number:02}"} for number in range(12)])
    assert text.startswith("s00, s01") and text.endswith("s09 and 2 more")
    assert servers_text([]) == "none"
