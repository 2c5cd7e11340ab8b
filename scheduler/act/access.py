"""Closing and reopening by IAM: rules are recorded before they are replaced.

Closing: read the rules, record those to revoke, replace the list, read it back. Reopening:
read the rules, restore what is missing, read them back, end the record. A crash may follow any
step. A repetition reads the rules again, and so finds what is left to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import structlog

from quotas.book.cycle.lease import Lease
from quotas.book.cycle.revoked_rules import end_revocations, read_revoked_rules, record_revocation
from quotas.book.cycle.state import BookState
from quotas.book.session import Book
from quotas.enforcement.decide import DecideResult
from quotas.iam.closing import (
    CLOSE,
    ClosingHistory,
    Closings,
    ClosingView,
    announce_closings,
    assign_to_successors,
    closing_alarms,
    closing_views,
    decide_closings,
    projects_at,
    with_ended_intents,
)
from quotas.iam.narrowing import RevokedRules, is_own, restore_rules, successor_of, without_start
from quotas.iam.policies import Policy, Rule
from quotas.messages.catalogue import render
from quotas.model.program import Mode
from quotas.state.notices import Intent, IntentCode, IntentState
from quotas.state.overrides import EVERYONE, Overrides
from scheduler.clock import Clock
from scheduler.clouds.base import (
    CloudError,
    Conflict,
    Forbidden,
    KeyRefused,
    NotFound,
    RequestRejected,
)
from scheduler.clouds.permissions import Permissions

CALL_BUDGET_S = 70
"""The longest that one call to the cloud takes, all timeouts added up; it needs as much lease."""

NO_CLOSINGS = Closings((), (), ())
REFUSALS = (RequestRejected, KeyRefused, Forbidden)
"""The errors with which the cloud says no. After any other error it may do the work later."""

log = structlog.get_logger()


class LeaseTooShort(Exception):
    """The next call might outlast the lease, so the next cycle has to make it."""


@dataclass(frozen=True, slots=True)
class RestoredRules:
    """The rules that were, or would be, restored in one policy.

    `outcome` is restored, complete or gone.
    """

    startup: str
    policy_id: str
    policy_name: str
    rules: tuple[Rule, ...]
    outcome: str


def outcomes(restored: Iterable[RestoredRules]) -> dict[str, list[str]]:
    """The names of policies, by what became of them."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in restored:
        found[each.outcome].append(each.policy_name)
    return dict(found)


class AccessChanger:
    """Carries out closing intents of one cycle, under its lease."""

    def __init__(
        self,
        permissions: Permissions,
        book: Book,
        lease: Lease,
        clock: Clock,
        projects: Mapping[str, Collection[str]],
    ) -> None:
        """`projects` are those that each startup owns now."""
        self._permissions, self._book, self._projects = permissions, book, projects
        self._lease, self._clock = lease, clock
        self._policies: tuple[Policy, ...] | None = None
        self._is_down = False

    def carry_out(self, intent: Intent) -> Intent | None:
        """The intent as it ended; None if the next cycle has to try again."""
        if self._is_down:
            return None
        now_s = self._clock.now_s()
        try:
            if intent.action == CLOSE:
                policies = self._close(intent.startup)
            else:
                policies = outcomes(self.reopen(intent.startup))
        except (Conflict, LeaseTooShort) as error:
            log.warning("closing.delayed", startup=intent.startup, error=str(error))
            return None
        except REFUSALS as error:
            log.warning("closing.refused", startup=intent.startup, error=str(error))
            code = IntentCode.REFUSED
            return intent.ended(IntentState.FAILED, code, now_s, error=str(error))
        except CloudError as error:
            # Only a read can tell whether it was done, and the next try begins with a read.
            # The other startups wait too, because an API that hangs would hang once for each.
            self._is_down = True
            log.warning("closing.unsure", startup=intent.startup, error=str(error))
            return None
        log.info("closing.done", startup=intent.startup, action=intent.action, **policies)
        sent = replace(intent, sent_s=now_s)
        code = IntentCode.POLICIES
        return sent.ended(IntentState.CONFIRMED, code, now_s, policies=policies)

    def _close(self, startup: str) -> dict[str, list[str]]:
        if self._policies is None:
            self._check_lease()
            self._policies = self._permissions.policies()
        own = self._projects.get(startup, ())
        done = [policy.name for policy in self._policies if self._narrow(startup, policy, own)]
        return {"narrowed": done} if done else {}

    def _narrow(self, startup: str, policy: Policy, own: Collection[str]) -> bool:
        """Revoke start and create from one policy. False if it had nothing to revoke."""
        if not is_own(policy, own) or not without_start(policy.rules)[1]:
            return False
        before = self._read(policy.id)
        after, revoked = without_start(before)
        if not revoked or not is_own(replace(policy, rules=before), own):
            return False
        now_s = self._clock.now_s()
        record = RevokedRules(startup, policy.id, policy.name, before, revoked, now_s)
        record_revocation(self._book, record, self._lease)
        self._set(policy.id, after)
        if without_start(self._read(policy.id))[1]:
            raise Conflict(f"the rules of {policy.name} were changed meanwhile")
        return True

    def reopen(self, startup: str) -> list[RestoredRules]:
        """Restore the revoked rules of every policy of a startup. Raises CloudError."""
        every = read_revoked_rules(self._book)
        own = (
            r for r in every if successor_of(r.startup, r.project_ids, self._projects) == startup
        )
        return [self.restore_policy(rows) for rows in group_by_policy(own)]

    def restore_policy(self, rows: tuple[RevokedRules, ...]) -> RestoredRules:
        """Restore the revoked rules of one policy. Raises CloudError, LeaseTooShort."""
        found = self.missing_rules(rows)
        revoked = [each for row in rows for each in row.revoked]
        if found.rules:
            self._set(found.policy_id, restore_rules(self._read(found.policy_id), revoked))
            now = self._read(found.policy_id)
            if restore_rules(now, revoked) != now:
                raise Conflict(f"the rules of {found.policy_name} were changed meanwhile")
        ids = [row.id for row in rows if row.id is not None]
        end_revocations(self._book, ids, found.outcome, self._clock.now_s(), self._lease)
        return found

    def missing_rules(self, rows: tuple[RevokedRules, ...]) -> RestoredRules:
        """The revoked rules that one policy still lacks. Raises CloudError, LeaseTooShort."""
        first = rows[0]
        made = RestoredRules(first.startup, first.policy_id, first.policy_name, (), "complete")
        try:
            current = self._read(first.policy_id)
        except NotFound:
            return replace(made, outcome="gone")
        after = restore_rules(current, [each for row in rows for each in row.revoked])
        rules = tuple(rule for rule in after if rule not in current)
        return replace(made, rules=rules, outcome="restored") if rules else made

    def _read(self, policy_id: str) -> tuple[Rule, ...]:
        self._check_lease()
        return self._permissions.rules(policy_id)

    def _set(self, policy_id: str, rules: Iterable[Rule]) -> None:
        self._check_lease()
        self._permissions.set_rules(policy_id, rules)

    def _check_lease(self) -> None:
        left_s = self._lease.left_s(self._clock.now_s(), int(self._clock.monotonic()))
        if left_s < CALL_BUDGET_S:
            raise LeaseTooShort(f"{left_s} s of the lease are left")


def closing_status(
    permissions: Permissions | None, state: BookState, overrides: Overrides
) -> tuple[tuple[ClosingView, ...], list[str]]:
    """The state of every closing, and alarms about closings that fail while they are tried."""
    assert state.program is not None
    mode, has_key = state.program.mode, permissions is not None
    is_tried = has_key and mode is Mode.ENFORCE and not overrides.on("maintenance", EVERYONE)
    tried = {s.name for s in state.program.startups()} if is_tried else set()
    views = closing_views(state.closing_history, tried)
    alarms = closing_alarms(views, has_key=has_key, mode=mode)
    return views, [render(alarm) for alarm in alarms]


def group_by_policy(revoked_rules: Iterable[RevokedRules]) -> Iterator[tuple[RevokedRules, ...]]:
    """Revoked rules, policy by policy, in the order in which they were revoked."""
    rows = list(revoked_rules)
    for policy_id in dict.fromkeys(row.policy_id for row in rows):
        yield tuple(row for row in rows if row.policy_id == policy_id)


def decide_access_changes(
    permissions: Permissions | None,
    state: BookState,
    decided: DecideResult,
    overrides: Overrides,
    now_s: int,
) -> Closings:
    """The startups to close and reopen by IAM; without its key or in shadow, announcements.

    In maintenance nothing is ordered, because an order that may not be sent would count as failed.
    """
    assert state.program is not None
    mode, members = state.program.mode, {s.name for s in state.program.startups()}
    restrictions, closed = decided.context.restrictions, state.enforcement.closed
    if permissions is None or mode is not Mode.ENFORCE:
        # A startup whose rules are still revoked has its notice from the closing by IAM.
        members -= {name for name, own in state.closing_history.items() if own.has_revoked_rules}
        return announce_closings(restrictions, closed, members, mode, now_s)
    if overrides.on("maintenance", EVERYONE):
        return NO_CLOSINGS
    past = with_ended_intents(state.closing_history, decided.intents)
    past = assign_to_successors(past, projects_at(state.program, now_s))
    made = decide_closings(restrictions, past, members, now_s)
    # A closing that was only announced, before there was a key, also ends by an announcement.
    free = {
        name
        for name in members - {intent.startup for intent in made.intents}
        if past.get(name, ClosingHistory()).last is None
    }
    announced = announce_closings(restrictions, closed, free, mode, now_s)
    return Closings(
        made.intents, (*made.decisions, *announced.decisions), (*made.notices, *announced.notices)
    )
