"""How is everybody reopened without a daemon? From the book's records, startup by startup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from quotas.book.commit import mark
from quotas.book.lease import Lease, StaleEpoch, acquire, release, seize
from quotas.book.release import begin_release
from quotas.book.session import Book
from quotas.book.withheld import read_withheld
from scheduler.clock import Clock
from scheduler.closing import Closer, GivenBack
from scheduler.clouds.base import CloudError, Forbidden, KeyRefused, Refused
from scheduler.clouds.permissions import Permissions

GiveBack = Callable[[str], list[GivenBack]]
LEASE_S = 300
"""Long enough for one startup's policies; renewed for each."""


@dataclass(frozen=True, slots=True)
class Released:
    """What became of one startup: what it got back, or why it did not."""

    startup: str
    given: tuple[GivenBack, ...] = ()
    error: str = ""
    is_refused: bool = False
    """Whether the cloud said no; else it could not be reached, and may do it later."""


def preview_release(book: Book, permissions: Permissions, clock: Clock) -> list[Released]:
    """What `release_all` would give back; writes nothing, anywhere."""
    lease = Lease("release-all", 0, clock.now_s() + LEASE_S)
    closer = Closer(permissions, book, lease, clock, {})
    return [_tried(name, closer.would_reopen) for name in _startups(book)]


def release_all(
    book: Book, permissions: Permissions, clock: Clock, reason: str, actor: str
) -> list[Released]:
    """Give back every recorded rule. Repeating it gives back what is still missing.

    It takes the lease from whoever has it: what a daemon was about to write is refused.
    """
    holder = f"release-all of {actor}"
    lease: Lease | None = seize(book, holder, clock.now_s(), LEASE_S)
    done = []
    assert lease is not None, "an operator takes the lease whoever holds it"
    names = _startups(book)
    for intent in begin_release(book, names, reason, actor, clock.now_s(), lease):
        lease = acquire(book, holder, clock.now_s(), LEASE_S)
        if lease is None:
            raise StaleEpoch("a daemon took the lease while release-all ran; run it again")
        closer = Closer(permissions, book, lease, clock, {})
        found = _tried(intent.startup, closer.reopen)
        state = "failed" if found.error else "confirmed"
        said = found.error or "; ".join(each.detail for each in found.given)
        detail = f"{intent.detail}: {said}"
        mark(book, [replace(intent, state=state, ended_s=clock.now_s(), detail=detail)], lease)
        done.append(found)
    release(book, lease)
    return done


def _startups(book: Book) -> list[str]:
    return sorted({each.startup for each in read_withheld(book)})


def _tried(startup: str, give_back: GiveBack) -> Released:
    try:
        return Released(startup, tuple(give_back(startup)))
    except CloudError as error:
        is_refused = isinstance(error, (Refused, Forbidden, KeyRefused))
        return Released(startup, error=str(error), is_refused=is_refused)
