"""Compensation for a breached notice: as many seconds as the notice was short.

They are the last seconds that the server was charged for. The commit that sees the server off
refunds them.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_in_transaction
from quotas.book.actions.refunds import RefundCommand
from quotas.book.schema.tables import DECISION, RUN
from quotas.enforcement.reminders import BREACH
from quotas.ledger.corrections import Refused
from quotas.model.units import format_duration
from quotas.state.notices import Notice, NoticeState

ACTOR = "notice-compensation"


def compensate_breaches(connection: Connection, notices: Iterable[Notice], now_s: int) -> None:
    """Refund the missing seconds of each breached notice that ended now, once for each notice."""
    for notice in notices:
        is_over = notice.state is NoticeState.EXECUTED and notice.is_breached
        if not is_over or notice.off_s is None:
            continue
        short_s = _shortfall_s(connection, notice)
        end_s = _charged_until_s(connection, notice.server_id, notice.off_s)
        command = RefundCommand(end_s - short_s, end_s, server=notice.server_id)
        reason = f"notice {notice.id} was short of {format_duration(short_s)}"
        action = OperatorAction(command, reason, ACTOR, now_s, f"broken-{notice.id}")
        try:
            perform_in_transaction(connection, action)
        except Refused:
            continue  # nothing was charged then, or all of it was returned before


def _charged_until_s(connection: Connection, server_id: str, off_s: int) -> int:
    """When the server's last run ended. After an outage that is long before it was seen off."""
    ends = select(func.max(RUN.c.end_s)).where(RUN.c.server_id == server_id, RUN.c.end_s <= off_s)
    end_s: int | None = connection.scalar(ends)
    return off_s if end_s is None else end_s


def _shortfall_s(connection: Connection, notice: Notice) -> int:
    """By how many seconds the notice was short, from the decision that found the breach."""
    own = (DECISION.c.startup == notice.startup, DECISION.c.server_id == notice.server_id)
    found = select(DECISION.c.inputs).where(*own, DECISION.c.verb == BREACH)
    newest = connection.execute(found.order_by(DECISION.c.id.desc()).limit(1))
    return int(newest.scalar_one()["short_s"])
