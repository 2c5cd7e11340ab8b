"""Fixtures of every test on PostgreSQL: one server for all, and a schema for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quotas.book import Address, Book

from .server import Server, binaries


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A private server, removed at the end."""
    found = binaries()
    if found is None:
        pytest.skip("service: there is no PostgreSQL; on Debian, apt-get install postgresql")
    pytest.importorskip("psycopg", reason="service: psycopg is not installed")
    server = Server.start(found)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def address(server: Server, tmp_path: Path) -> Address:
    """The URL of an empty book, with a state folder for files outside the database."""
    return server.address(tmp_path)


@pytest.fixture
def book(address: Address) -> Iterator[Book]:
    """A new book."""
    book = Book.open(address)
    yield book
    book.close()
