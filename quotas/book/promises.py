"""Was every stop promised, to that server, as long before as the policy said then?"""

from __future__ import annotations

import json

from sqlalchemy import Connection, select

from quotas.tables import INTENT, NOTICE, PROGRAM
from quotas.units import format_duration

LONGEST_CYCLE_S = 120
"""A cycle reads the program this much after the instant that it gives its notices."""


def promises_fault(connection: Connection) -> str | None:
    """The first stop that was not announced as it had to be, or None."""
    minimums = _minimums(connection)
    columns = (NOTICE.c.given_s, NOTICE.c.deadline_s, NOTICE.c.mode, NOTICE.c.server_id.label("of"))
    joined = select(INTENT, *columns).join(NOTICE, NOTICE.c.id == INTENT.c.notice_id)
    for row in connection.execute(joined.order_by(INTENT.c.id)):
        if row.mode != "enforce" or row.of != row.server_id:
            return f"intent {row.id} stops a server that its notice did not name in enforce mode"
        if row.decided_s < row.deadline_s:
            return f"intent {row.id} was decided before its notice's deadline"
        least_s = _least_s(minimums, row.given_s)
        if row.deadline_s - row.given_s < least_s:
            return (
                f"notice {row.notice_id} was given {format_duration(row.deadline_s - row.given_s)} "
                f"before its deadline; the policy's minimum was {format_duration(least_s)}"
            )
    return None


def _minimums(connection: Connection) -> list[tuple[int, int]]:
    """Since when which minimum was in force, in the order in which programs were applied."""
    rows = connection.execute(select(PROGRAM.c.applied_s, PROGRAM.c.body).order_by(PROGRAM.c.id))
    return [(row.applied_s, json.loads(row.body)["policy"]["minimum_notice_s"]) for row in rows]


def _least_s(minimums: list[tuple[int, int]], given_s: int) -> int:
    """The minimum in force at an instant; of two that a cycle may have read, the smaller."""
    before = [least_s for applied_s, least_s in minimums if applied_s < given_s][-1:]
    since = [
        least_s
        for applied_s, least_s in minimums
        if given_s <= applied_s <= given_s + LONGEST_CYCLE_S
    ]
    return min([*before, *since], default=0)
