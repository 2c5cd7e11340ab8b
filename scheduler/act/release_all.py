"""How is everybody reopened without a daemon? From the book's records, policy by policy.

Each policy is tried under a lease renewed for it, whatever became of the one before; at the
end every order has ended, and the lease is anybody's again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from quotas.book.actions.release_all import begin_release
from quotas.book.cycle.commit import mark
from quotas.book.cycle.lease import LONGEST_S, Lease, StaleEpoch, acquire, release, seize
from quotas.book.cycle.revoked_rules import read_withheld
from quotas.book.session import Book
from quotas.decisions.notices import Intent
from quotas.iam.narrowing import Withheld
from scheduler.act.access import Closer, GivenBack, LeaseTooShort, by_policy
from scheduler.clock import Clock
from scheduler.clouds.base import CloudError, Forbidden, KeyRefused, Refused
from scheduler.clouds.permissions import Permissions

GiveBack = Callable[[tuple[Withheld, ...]], GivenBack]
LEASE_S = LONGEST_S
"""Long enough for one policy, its four calls at their longest; renewed for each."""


@dataclass(frozen=True, slots=True)
class Released:
    """What became of one startup: what it got back, and why it did not get the rest."""

    startup: str
    given: tuple[GivenBack, ...] = ()
    error: str = ""
    is_refused: bool = False
    """Whether the cloud said no; else it could not be reached, and may do it later."""


def preview_release(book: Book, permissions: Permissions, clock: Clock) -> list[Released]:
    """What `release_all` would give back; writes nothing, anywhere."""

    def would_give(rows: tuple[Withheld, ...]) -> GivenBack:
        lease = Lease("release-all", 0, clock.now_s() + LEASE_S)
        return Closer(permissions, book, lease, clock, {}).missing(rows)

    return [_tried(name, rows, would_give) for name, rows in _by_startup(book).items()]


def release_all(
    book: Book, permissions: Permissions, clock: Clock, reason: str, actor: str
) -> list[Released]:
    """Give back every recorded rule. Repeating it gives back what is still missing.

    It takes the lease from whoever has it: what a daemon was about to write is refused.
    """
    turn = _Turn(book, clock, f"release-all of {actor}")

    def give(rows: tuple[Withheld, ...]) -> GivenBack:
        return Closer(permissions, book, turn.renewed(), clock, {}).give_back(rows)

    done: list[Released] = []
    left: list[Intent] = []
    try:
        withheld = _by_startup(book)
        left += begin_release(book, withheld, reason, actor, clock.now_s(), turn.lease)
        while left:
            name = left[0].startup
            done.append(_tried(name, withheld[name], give))
            turn.end(left[0], "failed" if done[-1].error else "confirmed", _said(done[-1]))
            del left[0]
    finally:
        for intent in left:
            turn.end(intent, "abandoned", "release-all was interrupted")
        release(book, turn.lease)
    return done


class _Turn:
    """The lease of one release-all: seized, and renewed for each policy."""

    def __init__(self, book: Book, clock: Clock, holder: str) -> None:
        self._book, self._clock, self._holder = book, clock, holder
        self.lease = seize(book, holder, clock.now_s(), LEASE_S)

    def renewed(self) -> Lease:
        """The lease, whole again. Raises StaleEpoch where it ran out, and a daemon took it."""
        lease = acquire(self._book, self._holder, self._clock.now_s(), LEASE_S)
        if lease is None:
            raise StaleEpoch("a daemon took the lease while release-all ran; run it again")
        self.lease = lease
        return lease

    def end(self, intent: Intent, state: str, said: str) -> None:
        """Write how an order ended; where a daemon took the lease, the daemon ends it."""
        detail, ended_s = f"{intent.detail}: {said}", self._clock.now_s()
        try:
            ended = replace(intent, state=state, ended_s=ended_s, detail=detail)
            mark(self._book, [ended], self.renewed())
        except StaleEpoch:
            return


def _by_startup(book: Book) -> dict[str, list[Withheld]]:
    """What is withheld from each startup, by name, in the order it was taken."""
    found: dict[str, list[Withheld]] = defaultdict(list)
    for each in read_withheld(book):
        found[each.startup].append(each)
    return dict(sorted(found.items()))


def _tried(startup: str, withheld: Iterable[Withheld], give_back: GiveBack) -> Released:
    """Every policy of a startup, one after the other, whatever the one before answered."""
    given: list[GivenBack] = []
    errors: list[str] = []
    is_refused = False
    for rows in by_policy(withheld):
        name = rows[0].policy_name
        try:
            given.append(give_back(rows))
        except LeaseTooShort as error:
            errors.append(f"{name}: IAM is so slow that only {error}; run it again")
        except (CloudError, StaleEpoch) as error:
            errors.append(f"{name}: {error}")
            is_refused |= isinstance(error, (Refused, Forbidden, KeyRefused))
    return Released(startup, tuple(given), "; ".join(errors), is_refused)


def _said(found: Released) -> str:
    """How a startup's order ended, for the book: what failed, then what it got back."""
    return "; ".join([*filter(None, [found.error]), *(each.detail for each in found.given)])
