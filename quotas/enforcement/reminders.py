"""Reminders: what falls due between a notice's beginning and its deadline.

Reminders before the deadline; a snooze, which moves the deadline later within bounds; and the
check whether the startup had the notice that it was promised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from quotas.decisions.verbs import Breach
from quotas.ledger.corrections import Refused
from quotas.model.program import Mode, Policy
from quotas.model.units import HOUR_S, format_duration, format_instant
from quotas.rules.registry import SNOOZABLE
from quotas.state.notices import Intent, IntentState, Notice, NoticeState

SHORTEST_SNOOZE_S = 60
REMINDERS_S = (HOUR_S, 600)
"""How long before a deadline a startup is reminded. An hour is enough to end work in calm, ten
minutes are enough to save it. A reminder that is longer than its notice falls away, so the two
fit every program.
"""
_EFFECTIVE = frozenset({IntentState.SENT, IntentState.CONFIRMED})
BREACH = "breach"
"""The verb of the decision that finds a promise broken."""


def reminder_due(notice: Notice, now_s: int) -> int | None:
    """The nearest reminder that an open notice has passed and was not yet reminded of."""
    if notice.state is not NoticeState.OPEN or now_s >= notice.deadline_s or notice.id is None:
        return None
    passed = [each for each in _reminders(notice) if notice.deadline_s - now_s <= each]
    nearest = min(passed, default=None)
    if nearest is None or (notice.reminded_s is not None and notice.reminded_s <= nearest):
        return None
    return nearest


def reminder_edges(notices: Iterable[Notice]) -> set[int]:
    """The instants at which reminders of open notices fall due."""
    open_ones = (notice for notice in notices if notice.state is NoticeState.OPEN)
    return {n.deadline_s - before_s for n in open_ones for before_s in _reminders(n)}


def _reminders(notice: Notice) -> list[int]:
    """Those that lie inside the notice: the notice itself tells what is nearer than they are."""
    length_s = notice.deadline_s - notice.opened_s
    return [before_s for before_s in REMINDERS_S if before_s < length_s]


def snooze_notice(notice: Notice, policy: Policy, for_s: int, now_s: int) -> Notice:
    """The notice with a later deadline. Raises Refused; a deadline never moves earlier."""
    is_open = notice.state is NoticeState.OPEN and notice.mode is Mode.ENFORCE
    if not is_open or now_s >= notice.deadline_s:
        raise Refused(
            f"notice {notice.id} is {notice.state} in {notice.mode} mode and was due at "
            f"{format_instant(notice.deadline_s)}; only an open one in enforce mode is snoozed"
        )
    if notice.rule not in SNOOZABLE:
        raise Refused(
            f"notice {notice.id} follows from {notice.rule}, and its deadline is not ours to "
            f"move; only {', '.join(sorted(SNOOZABLE))} can be snoozed"
        )
    left_s = policy.snooze_max_s - notice.snoozed_s
    if not SHORTEST_SNOOZE_S <= for_s <= left_s:
        raise Refused(
            f"--for {format_duration(for_s)} is out of bounds: a snooze is at least "
            f"{format_duration(SHORTEST_SNOOZE_S)}, and of {format_duration(policy.snooze_max_s)} "
            f"in all {format_duration(max(0, left_s))} are left for notice {notice.id}"
        )
    deadline_s, total_s = notice.deadline_s + for_s, notice.snoozed_s + for_s
    return replace(notice, deadline_s=deadline_s, snoozed_s=total_s, reminded_s=None)


def notice_shortfall(
    notice: Notice,
    intents: Iterable[Intent],
    undelivered: Collection[int],
    promised_s: int,
    now_s: int,
) -> Breach | None:
    """What was missing of the notice that a startup was promised; None where nothing was.

    A stop that we sent before the deadline took the seconds in between; one that failed took
    none, and where stops waited since, the deadline is a later one. A notice that no channel
    took before its deadline was none: all `promised_s` are missing. Each notice is found
    short once.
    """
    if notice.id is None or notice.is_breached or notice.mode is not Mode.ENFORCE:
        return None
    server, id = notice.server_name, notice.id
    breach = Breach.of(notice, server=server, notice=id, short_s=promised_s, opened_s=None)
    own = [i for i in intents if i.notice_id == notice.id and i.state in _EFFECTIVE]
    sent = [i.sent_s for i in own if i.sent_s is not None]
    if sent and min(sent) < notice.deadline_s:
        short_s = notice.deadline_s - max(min(sent), notice.opened_s)
        return replace(breach, sent_s=min(sent), opened_s=notice.opened_s, short_s=short_s)
    is_late = notice.id in undelivered and now_s >= notice.deadline_s
    return breach if is_late and promised_s > 0 else None
