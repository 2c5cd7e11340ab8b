"""What is given back for a promise that was broken? As many seconds as the notice was short.

They are the last that the server was charged for, refunded in the commit that sees it off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import Connection, select

from quotas.book.deeds import perform_in
from quotas.corrections import Refused
from quotas.notices import Notice
from quotas.orders import Deed, RefundOrder
from quotas.reminders import BROKEN
from quotas.tables import DECISION
from quotas.units import format_duration

ACTOR = "amends"


def make_amends(connection: Connection, notices: Iterable[Notice], now_s: int) -> None:
    """Refund what each broken notice that ended now was short of, once for each notice."""
    for notice in notices:
        if not notice.is_broken or notice.state != "executed" or notice.off_s is None:
            continue
        short_s = _short_s(connection, notice)
        order = RefundOrder(notice.off_s - short_s, notice.off_s, server=notice.server_id)
        reason = f"notice {notice.id} was short of {format_duration(short_s)}"
        try:
            perform_in(connection, Deed(order, reason, ACTOR, now_s, f"broken-{notice.id}"))
        except Refused:
            continue  # nothing was charged then, or all of it was returned before


def _short_s(connection: Connection, notice: Notice) -> int:
    """By how many seconds, as the decision that found it broken says."""
    found = (
        select(DECISION.c.inputs)
        .where(
            DECISION.c.startup == notice.startup,
            DECISION.c.server_id == notice.server_id,
            DECISION.c.verb == BROKEN,
        )
        .order_by(DECISION.c.id.desc())
        .limit(1)
    )
    return int(json.loads(connection.execute(found).scalar_one())["short_s"])
