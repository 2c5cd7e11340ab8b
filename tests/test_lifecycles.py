"""Recorded lives of real GPU servers, replayed at their instants, cost the right amount.

The far end answers from ../shared/scaleway/recorded; adapter, cycle and book are the real
ones. `LIVES` was worked out by hand from the recorded `modification_date` of the first
`starting` and of the first `stopping` (floored to seconds), and from the price of that day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from quotas.book import Book
from quotas.book.cycle.commit import apply_program
from quotas.book.reads.audit import account_sums, read_runs, read_unconfirmed_periods
from quotas.book.verify.verify import verify
from quotas.ledger.transfers import grant_account
from quotas.metering.runs import Run
from quotas.model.program import Cohort, Grant, Pool, Program, Startup, Tenure
from scheduler.clock import ManualClock
from scheduler.cycle import Cycle
from scheduler.timing import Timing

from .clouds import scripted_http
from .clouds.recordings import Recording, read, read_lifecycle

ZONE = "fr-par-2"
DAY_S = 86_400
GRANT_UCR = 10_000_000
H100 = "test-create-server-scratch-storage-default-scratch-storage"
L40S = "server-scratch-storage"
UNTIL_2026 = "price_history/fr-par-2_20250505"
UNTIL_JUNE = "price_history/fr-par-2_20251215"
SINCE_JUNE = "latest/fr-par-2_20260811"

Seen = tuple[int, dict[str, Any] | None]
"""An instant, and the server as Scaleway answered then; None if it is not there."""


@dataclass(frozen=True)
class Life:
    """A recorded life, with its charge computed by hand: start, end, errors and cost.

    `late_s` is the distance of the start from the date of `starting`. It is 0 if that date is the
    start, and 1 if a sweep had already seen the second of that date.
    """

    name: str
    prices: str
    rate_ucr_per_h: int
    start: str
    end: str
    charge_ucr: int
    errors_s: tuple[int, int]
    late_s: int = 0

    @property
    def start_s(self) -> int:
        return utc_s(self.start)

    @property
    def end_s(self) -> int:
        """The price on the day of the start; no recording runs over midnight."""
        return utc_s(f"{self.start[:10]}T{self.end}")


LIVES = [
    # H100-1-80G at 2.73: 28 s, 27 s, 21 s and 22 s; powered off, then deleted.
    Life(
        f"20250522_{H100}_14", UNTIL_2026, 2_730_000,
        "2025-05-22T13:34:39", "13:35:07", 21_233, (0, 6),
    ),
    Life(
        f"20250611_{H100}_13", UNTIL_2026, 2_730_000,
        "2025-06-11T13:48:40", "13:49:07", 20_475, (0, 5),
    ),
    Life(
        f"20251104_{H100}_9", UNTIL_2026, 2_730_000,
        "2025-11-04T10:20:03", "10:20:24", 15_925, (1, 5),
    ),
    Life(
        f"20260114_{H100}_8", UNTIL_JUNE, 2_730_000,
        "2026-01-14T10:24:22", "10:24:44", 16_683, (0, 6),
    ),
    # L40S-1-48G at 1.40: 20 s, 21 s and 21 s; terminated.
    Life(
        f"20260226_{L40S}_6", UNTIL_JUNE, 1_400_000,
        "2026-02-26T00:32:28", "00:32:48", 7_777, (1, 5), late_s=1,
    ),
    Life(
        f"20260226_{L40S}_5", UNTIL_JUNE, 1_400_000,
        "2026-02-26T13:39:44", "13:40:05", 8_166, (1, 5),
    ),
    Life(
        f"20260226_{L40S}_4", UNTIL_JUNE, 1_400_000,
        "2026-02-26T16:00:23", "16:00:44", 8_166, (1, 5),
    ),
    # L40S-1-48G at 1.469916, the price first seen on 2026-06-23: 20 s each.
    Life(
        f"20260625_{L40S}_2", SINCE_JUNE, 1_469_916,
        "2026-06-25T15:08:27", "15:08:47", 8_166, (1, 5), late_s=1,
    ),
    Life(
        f"20260811_{L40S}_0", SINCE_JUNE, 1_469_916,
        "2026-08-11T08:51:24", "08:51:44", 8_166, (1, 5), late_s=1,
    ),
]  # fmt: skip
each_life = pytest.mark.parametrize("life", LIVES, ids=[life.name for life in LIVES])


@dataclass
class FakeListing:
    """Answers the two listings that a cycle reads, from the recordings."""

    catalogue: list[Recording]
    server: dict[str, Any] | None = None

    def answer(self, request: requests.PreparedRequest) -> scripted_http.Reply:
        path = urlsplit(str(request.url)).path
        if path.endswith("/products/servers"):
            return self.catalogue[scripted_http.query(request, "page") - 1].reply()
        assert path == f"/instance/v1/zones/{ZONE}/servers", path
        return scripted_http.listing([self.server] if self.server else [])


def utc_s(text: str) -> int:
    """UTC seconds of an instant, floored; a text without offset is UTC."""
    return int(datetime.fromisoformat(text if "+" in text else f"{text}+00:00").timestamp())


def date_s(recording: Recording) -> int:
    """The instant of a recorded answer, from its Date header."""
    headers = {name.lower(): value for name, value in recording.headers.items()}
    return int(parsedate_to_datetime(headers["date"]).timestamp())


def seen(shared: Path, life: Life) -> list[Seen]:
    """Every recorded GET of the server in order, between two sweeps without it."""
    folder = shared / "scaleway" / "recorded" / "lifecycles"
    recorded = read_lifecycle(folder / f"gpu_{life.name}.json")
    lines: list[Seen] = [(date_s(recorded[0]), None)]
    for each in recorded:
        parts = urlsplit(each.url).path.split("/")
        if each.method == "GET" and parts[-2] == "servers" and "products" not in parts:
            body = each.body
            assert isinstance(body, dict) and each.status in (200, 404)
            lines.append((date_s(each), body["server"] if each.status == 200 else None))
    return [*lines, (date_s(recorded[-1]) + 1, None)]


def last_of_each_second(lines: Iterable[Seen]) -> list[Seen]:
    """The answers that a daemon with one sweep a second would get."""
    return list(dict(lines).items())


def dated_s(lines: Iterable[Seen], state: str) -> int:
    """The recorded date of the first answer in a state."""
    return next(
        utc_s(server["modification_date"])
        for _, server in lines
        if server is not None and server["state"] == state
    )


def program(server: dict[str, Any], start_s: int) -> Program:
    """A cohort of one startup around a life: its project, its flavor, one grant."""
    begins_s, ends_s = start_s - DAY_S, start_s + DAY_S
    grant = Grant("acme-1", GRANT_UCR, begins_s, ends_s)
    acme = Startup("acme", "spring", (Tenure(server["project"], 0),), grants=(grant,))
    flavor = f"{server['commercial_type']}@{ZONE}"
    return Program(
        "recorded",
        10**12,
        mode="shadow",
        zones=(ZONE,),
        pools=(Pool("gpu", ((0, 8),), flavors=(flavor,)),),
        cohorts=(Cohort("spring", begins_s, ends_s, (acme,)),),
    )


def played(shared: Path, life: Life, lines: list[Seen]) -> Book:
    """The book after one cycle at each instant."""
    pages = shared / "scaleway" / "recorded" / "instance" / "products_servers"
    far = FakeListing([read(page) for page in sorted(pages.glob(f"{life.prices}_p*.json"))])
    server = next(server for _, server in lines if server is not None)
    harness = scripted_http.harness(far.answer, organization=server["organization"])
    book, clock = Book.in_memory(), ManualClock(lines[0][0])
    apply_program(book, program(server, life.start_s), lines[0][0], "tests")
    cycle = Cycle(
        cloud=harness.cloud,
        book=book,
        clock=clock,
        holder="tests",
        timing=Timing(),
        publish=lambda view: None,
    )
    for at_s, far.server in lines:
        clock.move_to(at_s)
        assert cycle.run().outcome == "done"
    return book


def only_run(book: Book) -> Run:
    """The only run of the book, ended and posted; the books verify and balance."""
    assert verify(book).fault is None
    assert not list(read_unconfirmed_periods(book))
    (run,) = read_runs(book)
    assert run.end_s is not None and run.posted_until_s == run.end_s
    sums = account_sums(book)
    assert sums[grant_account("acme", "acme-1")] + sums["usage:acme"] == GRANT_UCR
    return run


@each_life
def test_a_recorded_life_is_charged_what_its_instants_and_its_price_say(
    life: Life, shared: Path
) -> None:
    """The charge is floor(rate x seconds / 3600), from the dates of starting and stopping."""
    lines = last_of_each_second(seen(shared, life))
    assert life.start_s == dated_s(lines, "starting") + life.late_s
    assert life.end_s == dated_s(lines, "stopping")
    seconds = life.end_s - life.start_s
    assert life.charge_ucr == life.rate_ucr_per_h * seconds // 3600

    book = played(shared, life, lines)
    run = only_run(book)
    assert (run.start_s, run.end_s) == (life.start_s, life.end_s)
    assert run.rate_ucr_per_h == life.rate_ucr_per_h
    assert (run.start_error_s, run.end_error_s) == life.errors_s
    assert account_sums(book)["usage:acme"] == life.charge_ucr


@each_life
def test_the_recorded_errors_bound_how_far_the_edges_lie_from_the_dates(
    life: Life, shared: Path
) -> None:
    """With every GET played, even two in a second, the run stays within its own bounds."""
    lines = seen(shared, life)
    book = played(shared, life, lines)
    run = only_run(book)
    assert run.end_s == dated_s(lines, "stopping")
    early_s = run.start_s - dated_s(lines, "starting")
    assert 0 <= early_s <= run.start_error_s
    charged_ucr = account_sums(book)["usage:acme"]
    whole_ucr = life.rate_ucr_per_h * (run.end_s - run.start_s + early_s) // 3600
    missing_ucr = life.rate_ucr_per_h * run.start_error_s // 3600
    assert whole_ucr - missing_ucr - 1 <= charged_ucr <= whole_ucr


@each_life
def test_a_server_that_vanishes_is_charged_until_it_was_last_seen(life: Life, shared: Path) -> None:
    """If no sweep saw the stop, the run ends at the last sweep before, with the gap as error."""
    lines = last_of_each_second(seen(shared, life))
    billable = [at_s for at_s, s in lines if s and s["state"] not in ("stopping", "stopped")]
    unseen = [line for line in lines if line[0] <= billable[-1] or line[1] is None]
    gone_s = next(at_s for at_s, server in unseen if server is None and at_s > billable[-1])
    book = played(shared, life, unseen)
    run = only_run(book)
    assert run.end_s == billable[-1] < life.end_s
    assert run.end_error_s == gone_s - billable[-1]
    seconds = billable[-1] - life.start_s
    assert account_sums(book)["usage:acme"] == life.rate_ucr_per_h * seconds // 3600
    assert run.end_s + run.end_error_s >= life.end_s
