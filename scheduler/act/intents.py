"""Sends intents: each at most once, under the lease. Observation confirms them later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from quotas.book.cycle.commit import changed_since, save_intents
from quotas.book.cycle.lease import Lease
from quotas.book.cycle.state import BookState, pending_intents
from quotas.book.session import Book
from quotas.iam.closing import ACTIONS as CLOSINGS
from quotas.model.observation import Complete, Sweep
from quotas.model.program import Mode
from quotas.state.notices import Intent, IntentCode, IntentResult, IntentState
from quotas.state.overrides import EVERYONE, Overrides
from scheduler.act.access import CALL_BUDGET_S, REFUSALS, AccessChanger
from scheduler.clock import Clock
from scheduler.clouds.base import Cloud, CloudError, Throttled

INTENTS_PER_CYCLE = 200

log = structlog.get_logger()


def sendable_intents(
    book: Book, state: BookState, overrides: Overrides, sweeps: Mapping[str, Sweep]
) -> tuple[Intent, ...]:
    """The intents that may be sent: none outside enforce, none in maintenance.

    An intent of an earlier cycle waits while its zone is not Complete, because what it was
    decided from may have changed. All intents wait if an operator or startup changed something
    since the state was read: the next cycle reads that change and decides with it.
    """
    assert state.program is not None
    if state.program.mode is not Mode.ENFORCE or overrides.on("maintenance", EVERYONE):
        return ()
    if changed_since(book, state):
        log.info("act.state_changed", reason="an operator changed the state during this cycle")
        return ()
    return tuple(
        intent
        for intent in pending_intents(book)
        if not intent.zone or isinstance(sweeps.get(intent.zone), Complete)
    )


def act(
    cloud: Cloud,
    book: Book,
    lease: Lease,
    clock: Clock,
    intents: Iterable[Intent],
    access_changer: AccessChanger | None = None,
) -> int:
    """Send the pending intents that may still be sent; returns how many were sent.

    Without a key for IAM, intents to close or reopen wait until they expire. The outcome of each
    intent is written at once, under the lease's epoch. A crash in between leaves the intent
    pending, and the next cycle repeats it: poweroff is idempotent.
    """
    sent = 0
    pending = [intent for intent in intents if intent.state is IntentState.PENDING]
    # Stops first: a slow IAM must not use up the lease that they need.
    pending.sort(key=lambda intent: intent.action in CLOSINGS)
    for intent in pending[:INTENTS_PER_CYCLE]:
        now_s = clock.now_s()
        left_s = lease.left_s(now_s, int(clock.monotonic()))
        if left_s < CALL_BUDGET_S:
            log.warning("act.lease_too_short", left_s=left_s)
            break
        if now_s > intent.not_after_s:
            continue  # decide ends it as expired, and may order another
        outcome = None
        if intent.action not in CLOSINGS:
            outcome = _send(cloud, intent, now_s)
        elif access_changer is not None:
            outcome = access_changer.carry_out(intent)
        if outcome is not None:
            save_intents(book, [outcome], lease)
            sent += 1
    return sent


def _send(cloud: Cloud, intent: Intent, now_s: int) -> Intent | None:
    """The intent after one call; None if the next cycle has to try again."""
    try:
        call = cloud.power_on if intent.action == "poweron" else cloud.power_off
        call(intent.zone, intent.server_id)
    except Throttled:
        return None
    except REFUSALS as error:
        log.warning(f"server.{intent.action}_refused", server=intent.server_id, error=str(error))
        code = IntentCode.REFUSED
        return intent.ended(IntentState.FAILED, code, now_s, error=str(error))
    except CloudError as error:
        # It may have been done nevertheless: only the next observation can tell.
        log.warning(f"server.{intent.action}_unsure", server=intent.server_id, error=str(error))
        result = IntentResult(code=IntentCode.UNSURE, error=str(error))
        return intent.to(IntentState.SENT, sent_s=now_s, result=result)
    log.info(f"server.{intent.action}_sent", server=intent.server_id, zone=intent.zone)
    return intent.to(IntentState.SENT, sent_s=now_s)
