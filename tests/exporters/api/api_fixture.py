"""A book on disk with two startups that both have everything, and the API over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from exporters.api.access import RateLimits
from exporters.api.app import build_app
from quotas.book import Address, Book, BookError
from quotas.book.actions.tokens import create_token, revoke_token
from quotas.book.cycle.commit import apply_program, commit
from quotas.book.inbox import Inbox
from quotas.ledger.transfers import charge_transfer
from quotas.metering.runs import Run
from quotas.model.program import Program
from quotas.model.tokens import Token, fingerprint, write_token
from quotas.model.units import Period
from quotas.state.snapshot import Decision
from scheduler.clock import Clock, ManualClock
from scheduler.jobs.inbox import InboxDrain, InboxReader
from scheduler.jobs.publisher import Publisher
from tests.builders import (
    Z,
    a_balance_of,
    a_grant,
    a_notice,
    a_program,
    a_run,
    a_startup,
    notice_facts,
    seen,
)
from tests.quotas.book.book_builders import lease_of, result_of

NOW_S = 7200
STARTUPS = ("acme", "birch")
PLENTY = RateLimits(100_000, 100_000, 100_000)


def both(**changes: Any) -> Program:
    """A program of acme and birch, with a credit each."""
    return a_program(*(a_startup(name, grants=(a_grant(),)) for name in STARTUPS), **changes)


def run_of(name: str) -> Run:
    """Its server, named after it."""
    run = a_run(f"server-{name}", startup=name, project_id=f"p-{name}", server_name=f"train-{name}")
    return replace(run, posted_until_s=3600)


def fill(book: Book) -> None:
    """Each startup gets a run, a charge, a decision and a notice."""
    apply_program(book, both(), 0, "tests")
    charges = [
        charge_transfer("spring", run_of(name), Period(0, 3600), [a_balance_of(startup=name)])
        for name in STARTUPS
    ]
    decisions = [
        Decision(
            name, f"server-{name}", "limit", "announce", f"c-{name}", notice_facts("limit", name)
        )
        for name in STARTUPS
    ]
    notices = [
        a_notice(
            f"server-{name}",
            startup=name,
            rule="limit",
            id=None,
            deadline_s=9000,
        )
        for name in STARTUPS
    ]
    result = result_of(
        sweeps=[seen(NOW_S)],
        confirmed={Z: NOW_S},
        runs=[run_of(name) for name in STARTUPS],
        transfers=[charge for charge in charges if charge is not None],
        decisions=decisions,
        notices=notices,
    )
    commit(book, result, lease_of(book, now_s=NOW_S), NOW_S)


def mint(book: Book, number: int, startup: str, *scopes: str, **changes: Any) -> str:
    """A token in the book, the same for the same number."""
    text = write_token(bytes([number]) * 32)
    token_hash = fingerprint(text)
    assert token_hash is not None
    token = Token("", f"t{number}", startup, scopes, 0, 10**10, None, "tests")
    made = create_token(book, replace(token, **changes), token_hash)
    if number in REVOKED:
        revoke_token(book, made.id, 1)
    return text


REVOKED = {5}


def mint_all(book: Book) -> dict[str, str]:
    """One token of each sort."""
    return {
        "acme": mint(book, 1, "acme", "read", "request"),
        "birch": mint(book, 2, "birch", "read", "request"),
        "acme-read": mint(book, 3, "acme", "read"),
        "acme-request": mint(book, 7, "acme", "request"),
        "acme-node": mint(book, 10, "acme", "node"),
        "acme-power": mint(book, 11, "acme", "power"),
        "expired": mint(book, 4, "acme", "read", "request", expires_s=NOW_S),
        "revoked": mint(book, 5, "acme", "read", "request"),
        "admin": mint(book, 6, "", "admin"),
        "audit": mint(book, 8, "", "audit"),
        "admin-expired": mint(book, 9, "", "admin", "audit", expires_s=NOW_S),
    }


class PublishingClient(TestClient):
    """A client before whose requests the daemon has published what was committed."""

    publish: Callable[[], None]
    one_at_a_time = threading.Lock()

    def request(self, *args: Any, **more: Any) -> Any:
        """Publish, then send a request."""
        with self.one_at_a_time:
            self.publish()
        return super().request(*args, **more)


@dataclass
class ApiFixture:
    """The API over a filled book, with a client that speaks HTTP to it."""

    address: Address
    book: Book
    clock: ManualClock
    inbox: Inbox
    client: PublishingClient
    tokens: dict[str, str]

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.address.folder

    def ask(self, path: str, who: str | None = "acme", method: str = "GET", **more: Any) -> Any:
        """The answer to a request with one of the tokens."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        return self.client.request(method, path, headers=headers, **more)

    def json(self, path: str, who: str = "acme") -> Any:
        """The body of an answer that must be good."""
        answer = self.ask(path, who)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def api_fixture(place: Path | Address, rates: RateLimits = PLENTY) -> Iterator[ApiFixture]:
    """The API over a book in a folder, or at another address."""
    address = Address.from_path(place)
    book, inbox, clock = Book.open(place), Inbox(address.folder), ManualClock(NOW_S)
    fill(book)
    tokens = mint_all(book)
    app = build_app(place, inbox, clock.now_s, rates=rates)
    with PublishingClient(app, raise_server_exceptions=False) as client:
        client.publish = Publisher(book, address, clock)
        yield ApiFixture(address, book, clock, inbox, client, tokens)
    inbox.close()
    book.close()


@contextmanager
def publishing(book: Book, place: Path | Address, clock: Clock) -> Iterator[None]:
    """Publish a book at once and then every tenth of a second, for readers behind a socket."""
    publish, done = Publisher(book, place, clock), threading.Event()
    publish()

    def run() -> None:
        while not done.wait(0.1):
            publish()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    done.set()
    thread.join()


def drain_of(book: Book, state: Path) -> Callable[[int], int]:
    """What the reader's thread and then a cycle do with an inbox."""
    reader = InboxReader(state)
    drain = InboxDrain(book, reader)

    def run(now_s: int) -> int:
        with suppress(BookError):  # a worker logs it
            reader()
        return drain(now_s)

    return run
