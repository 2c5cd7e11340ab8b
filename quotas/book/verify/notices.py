"""Was every stop promised, to that server, as long before as the policy said then?"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Row, select

from quotas.book.schema import DECISION, INTENT, NOTICE, PROGRAM
from quotas.model.units import format_duration

LONGEST_CYCLE_S = 120
"""A cycle reads the program this much after the instant that it gives its notices."""


def promises_fault(connection: Connection) -> str | None:
    """The first stop that was not announced as it had to be, or None."""
    minimums, renewals = _minimums(connection), _renewals(connection)
    promised = (NOTICE.c.startup.label("whose"), NOTICE.c.server_id.label("of"))
    columns = (*promised, NOTICE.c.given_s, NOTICE.c.deadline_s, NOTICE.c.mode, *_NAMED)
    joined = select(INTENT, *columns).join(NOTICE, NOTICE.c.id == INTENT.c.notice_id)
    for row in connection.execute(joined.order_by(INTENT.c.id)):
        if row.mode != "enforce" or row.of != row.server_id:
            return f"intent {row.id} stops a server that its notice did not name in enforce mode"
        due_s = _due_s(row, renewals)
        if row.decided_s < due_s:
            return f"intent {row.id} was decided before its notice's deadline"
        least_s = _least_s(minimums, row.given_s)
        if due_s - row.given_s < least_s:
            return (
                f"notice {row.notice_id} was given {format_duration(due_s - row.given_s)} "
                f"before its deadline; the policy's minimum was {format_duration(least_s)}"
            )
    return None


_NAMED = (NOTICE.c.rule, NOTICE.c.cause)
Renewals = dict[tuple[str, ...], list[tuple[int, int]]]
"""When each notice was renewed, and when it had been due until then, in order."""


def _renewals(connection: Connection) -> Renewals:
    """What fell due while stops waited, and had its minimum notice again."""
    of = (DECISION.c.startup, DECISION.c.server_id, DECISION.c.rule, DECISION.c.cause)
    rows = select(*of, DECISION.c.at_s, DECISION.c.inputs).where(DECISION.c.verb == "renew")
    found: Renewals = defaultdict(list)
    for *subject, at_s, inputs in connection.execute(rows.order_by(DECISION.c.id)):
        found[tuple(subject)].append((at_s, json.loads(inputs)["was_due_s"]))
    return found


def _due_s(row: Row[Any], renewals: Renewals) -> int:
    """The deadline that stood when an intent was decided: a later renewal moved it since.

    A renewal of a later notice of the same cause had a later deadline: it changes nothing.
    """
    renewed = renewals.get((row.whose, row.of, row.rule, row.cause), ())
    stands_s: int = row.deadline_s
    return min([stands_s, *(was_s for at_s, was_s in renewed if at_s > row.decided_s)])


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
