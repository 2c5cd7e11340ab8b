"""Reopening of every startup without a daemon, from the book's records, policy by policy.

Each policy is tried under a renewed lease, even if the one before failed. At the end every order
has ended, and the lease is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from quotas.book.actions.release_all import begin_release
from quotas.book.cycle.commit import save_intents
from quotas.book.cycle.lease import MAX_LEASE_S, Lease, StaleEpoch, acquire, release, seize
from quotas.book.cycle.revoked_rules import read_revoked_rules
from quotas.book.session import Book
from quotas.iam.narrowing import RevokedRules
from quotas.ledger.balance import by_startup
from quotas.state.notices import Intent, IntentCode, IntentState
from scheduler.act.access import (
    REFUSALS,
    AccessChanger,
    LeaseTooShort,
    RestoredRules,
    group_by_policy,
    outcomes,
)
from scheduler.clock import Clock
from scheduler.clouds.base import CloudError
from scheduler.clouds.permissions import Permissions

RestoreRules = Callable[[tuple[RevokedRules, ...]], RestoredRules]
LEASE_S = MAX_LEASE_S
"""Long enough for one policy, its four calls at their longest; renewed for each."""


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """The outcome for one startup: the restored rules, and why others were not restored."""

    startup: str
    restored: tuple[RestoredRules, ...] = ()
    error: str = ""
    is_refused: bool = False
    """Whether the cloud refused; if not, the cloud did not answer and may do it later."""


def preview_release(book: Book, permissions: Permissions, clock: Clock) -> list[ReleaseResult]:
    """What `release_all` would restore. Writes nothing to the book or to IAM."""

    def would_restore(rows: tuple[RevokedRules, ...]) -> RestoredRules:
        lease = Lease("release-all", 0, clock.now_s() + LEASE_S)
        return AccessChanger(permissions, book, lease, clock, {}).missing_rules(rows)

    return [_restore_startup(name, rows, would_restore) for name, rows in _by_startup(book).items()]


def release_all(
    book: Book, permissions: Permissions, clock: Clock, reason: str, actor: str
) -> list[ReleaseResult]:
    """Restore every recorded rule. A repetition restores what is still missing.

    It takes the lease, so that the book refuses what a running daemon was about to write.
    """
    held_lease = _ReleaseLease(book, clock, f"release-all of {actor}")

    def restore(rows: tuple[RevokedRules, ...]) -> RestoredRules:
        return AccessChanger(permissions, book, held_lease.renew(), clock, {}).restore_policy(rows)

    done: list[ReleaseResult] = []
    left: list[Intent] = []
    try:
        revoked_rules = _by_startup(book)
        left += begin_release(book, revoked_rules, reason, actor, clock.now_s(), held_lease.lease)
        while left:
            name = left[0].startup
            done.append(_restore_startup(name, revoked_rules[name], restore))
            held_lease.end(left[0], done[-1])
            del left[0]
    finally:
        for intent in left:
            held_lease.end(intent, None)
        release(book, held_lease.lease)
    return done


class _ReleaseLease:
    """The lease of one release-all: seized, and renewed for each policy."""

    def __init__(self, book: Book, clock: Clock, holder: str) -> None:
        self._book, self._clock, self._holder = book, clock, holder
        self.lease = seize(book, holder, clock.now_s(), LEASE_S)

    def renew(self) -> Lease:
        """The lease, renewed. Raises StaleEpoch if it ran out and a daemon took it."""
        lease = acquire(self._book, self._holder, self._clock.now_s(), LEASE_S)
        if lease is None:
            raise StaleEpoch("a daemon took the lease while release-all ran; run it again")
        self.lease = lease
        return lease

    def end(self, intent: Intent, found: ReleaseResult | None) -> None:
        """Write how an order ended; None means that it was interrupted.

        If a daemon took the lease, the daemon ends the order.
        """
        assert intent.result is not None, "a release says whose order it is"
        state = IntentState.ABANDONED
        result = replace(intent.result, code=IntentCode.RELEASE_INTERRUPTED)
        if found is not None:
            state = IntentState.FAILED if found.error else IntentState.CONFIRMED
            policies = outcomes(found.restored)
            result = replace(intent.result, error=found.error, policies=policies)
        ended = intent.to(state, ended_s=self._clock.now_s(), result=result)
        with suppress(StaleEpoch):
            save_intents(self._book, [ended], self.renew())


def _by_startup(book: Book) -> dict[str, list[RevokedRules]]:
    """The revoked rules of each startup, by name, in the order in which they were revoked."""
    return dict(sorted(by_startup(read_revoked_rules(book)).items()))


def _restore_startup(
    startup: str, revoked_rules: Iterable[RevokedRules], restore_policy: RestoreRules
) -> ReleaseResult:
    """Try every policy of a startup, one after the other, even if one fails."""
    restored: list[RestoredRules] = []
    errors: list[str] = []
    is_refused = False
    for rows in group_by_policy(revoked_rules):
        name = rows[0].policy_name
        try:
            restored.append(restore_policy(rows))
        except LeaseTooShort as error:
            errors.append(f"{name}: IAM is so slow that only {error}; run it again")
        except (CloudError, StaleEpoch) as error:
            errors.append(f"{name}: {error}")
            is_refused |= isinstance(error, REFUSALS)
    return ReleaseResult(startup, tuple(restored), "; ".join(errors), is_refused)
