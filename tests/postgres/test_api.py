"""`cohortd serve` beside a book in PostgreSQL: it reads the view, and writes only its inbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from exporters.api.startup_reads import StartupReads
from quotas.book import Address, BookError
from quotas.book.session import FILE_NAME
from scheduler.cycle import Cycle
from scheduler.timing import Timing
from tests.exporters.api.api_fixture import NOW_S, ApiFixture, api_fixture, drain_of
from tests.exporters.api.test_writes import GOOD, post
from tests.scheduler.harness import FakeCloud

from .server import Server

READS = "me credits usage servers quota requests charges decisions decisions/1/explanation notices"
PATHS = [*READS.split(), "statements/1970-01", "events"]

NO_BOARD: Any = None


@pytest.mark.parametrize("path", PATHS)
def test_it_answers_as_on_sqlite(both: tuple[ApiFixture, ApiFixture], path: str) -> None:
    """Each read has the same body as on SQLite."""
    one, two = (each.json(f"/v1/{path}") for each in both)
    assert one == two


@pytest.fixture(scope="module")
def both(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ApiFixture, ApiFixture]]:
    """The same API and book on both databases."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("file", "database"))
    with api_fixture(one) as file, api_fixture(server.address(two)) as database:
        yield file, database


def test_the_curve_of_the_portal_is_that_of_sqlite(both: tuple[ApiFixture, ApiFixture]) -> None:
    """The movements of a startup's credits by day, as the burn-down chart draws them."""
    one, two = (StartupReads("acme", NO_BOARD).credit_movements(each.book) for each in both)
    assert one == two and len(one) == 2
    assert all(type(each.amount_ucr) is int for each in two)


def test_a_commit_is_seen_and_a_revocation_holds_at_once(address: Address) -> None:
    """A commit is visible at once: a revoked token gets 401."""
    with api_fixture(address) as found:
        assert found.json("/v1/me")["startup"] == "acme"
        with found.book.writing() as connection:
            connection.execute(text(f"UPDATE token SET revoked_s = {NOW_S} WHERE startup = 'acme'"))
        assert found.ask("/v1/me").status_code == 401


def test_a_lost_server_is_bridged_by_the_view(server: Server, address: Address) -> None:
    """After a restart of the server the API still answers, and the daemon publishes again."""
    with api_fixture(address) as found:
        found.json("/v1/credits")
        server.restart()
        publish, found.client.publish = found.client.publish, lambda: None
        assert found.ask("/v1/charges").status_code == 200
        with suppress(BookError, SQLAlchemyError):
            publish()  # its connections died with the server
        publish()


def test_a_write_is_decided_from_the_inbox_of_the_host(address: Address, tmp_path: Path) -> None:
    """A write is kept in the inbox beside the database, and no book is in the folder."""
    with api_fixture(address) as found:
        assert post(found).status_code == 202
        assert len(found.inbox.waiting_ids()) == 1
        assert drain_of(found.book, found.state)(NOW_S) == 1
        (item,) = found.json("/v1/requests")["items"]
        assert (item["pool"], item["state"]) == ("h100", "open")
    assert not (tmp_path / FILE_NAME).exists()


def test_a_standby_decides_what_its_own_host_was_asked(address: Address) -> None:
    """A standby carries out the writes in its own host's inbox, without waiting for a failover."""
    with api_fixture(address) as found:
        assert post(found).status_code == 202
        standby = Cycle(
            cloud=FakeCloud(found.clock),
            book=found.book,
            clock=found.clock,
            holder="b",
            timing=Timing(),
            publish=lambda _: None,
            on_standby=drain_of(found.book, found.state),
        )
        assert standby.run().outcome == "follower"
        assert [item["state"] for item in found.json("/v1/requests")["items"]] == ["open"]


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        pytest.param({"reason": "a\0b"}, "done", id="a reason is cleaned, and kept"),
        pytest.param({"pool": "h\0"}, "refused", id="a name is refused"),
    ],
)
def test_what_a_row_cannot_hold_stops_no_cycle(
    address: Address, changed: dict[str, object], state: str
) -> None:
    """A text that SQLite could keep and PostgreSQL cannot is cleaned or refused, once."""
    with api_fixture(address) as found:
        answer = post(found, GOOD | changed)
        assert answer.status_code == 202
        drain = drain_of(found.book, found.state)
        assert (drain(NOW_S), drain(NOW_S)) == (1, 0)
        assert found.json(answer.headers["location"])["state"] == state
