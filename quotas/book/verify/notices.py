"""Verify notices: every stop had one, for that server, with the minimum notice in force then."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from quotas.book.schema.tables import DECISION, INTENT, NOTICE, PROGRAM
from quotas.model.units import format_duration

MAX_CYCLE_S = 120
"""The most seconds from the instant of a cycle's notices until the cycle reads the program."""


def notice_fault(connection: Connection) -> str | None:
    """The first stop that was not announced as it had to be, or None."""
    minimums, extensions = _minimums(connection), _extensions(connection)
    named = (NOTICE.c.startup.label("notice_startup"), NOTICE.c.server_id.label("notice_server"))
    columns = (*named, NOTICE.c.opened_s, NOTICE.c.deadline_s, NOTICE.c.mode, *_EPISODE_COLUMNS)
    intents = (INTENT.c.id, INTENT.c.notice_id, INTENT.c.server_id, INTENT.c.decided_s)
    joined: Select[Any] = select(*intents, *columns).join(NOTICE, NOTICE.c.id == INTENT.c.notice_id)
    for row in connection.execute(joined.order_by(INTENT.c.id)):
        if row.mode != "enforce" or row.notice_server != row.server_id:
            return f"intent {row.id} stops a server that its notice did not name in enforce mode"
        due_s = _due_s(row, extensions)
        if row.decided_s < due_s:
            return f"intent {row.id} was decided before its notice's deadline"
        least_s = _minimum_s(minimums, row.opened_s)
        if due_s - row.opened_s < least_s:
            return (
                f"notice {row.notice_id} was given {format_duration(due_s - row.opened_s)} "
                f"before its deadline; the policy's minimum was {format_duration(least_s)}"
            )
    return None


_EPISODE_COLUMNS = (NOTICE.c.rule, NOTICE.c.episode)
Extensions = dict[tuple[str, ...], list[tuple[int, int]]]
"""When each notice was extended, and its deadline until then, in order."""


def _extensions(connection: Connection) -> Extensions:
    """Notices that fell due while stops waited, and got their minimum notice again."""
    of = (DECISION.c.startup, DECISION.c.server_id, DECISION.c.rule, DECISION.c.episode)
    rows = select(*of, DECISION.c.at_s, DECISION.c.inputs).where(DECISION.c.verb == "extend")
    found: Extensions = defaultdict(list)
    for *subject, at_s, inputs in connection.execute(rows.order_by(DECISION.c.id)):
        found[tuple(subject)].append((at_s, inputs["was_due_s"]))
    return found


def _due_s(row: Row[Any], extensions: Extensions) -> int:
    """The deadline in force when an intent was decided, before later extensions moved it.

    An extension of a later notice of the same episode has a later deadline, so it does not count.
    """
    extended = extensions.get((row.notice_startup, row.notice_server, row.rule, row.episode), ())
    stands_s: int = row.deadline_s
    return min([stands_s, *(was_s for at_s, was_s in extended if at_s > row.decided_s)])


def _minimums(connection: Connection) -> list[tuple[int, int]]:
    """Each minimum notice with the instant since which it was in force, in order."""
    rows = connection.execute(select(PROGRAM.c.applied_s, PROGRAM.c.body).order_by(PROGRAM.c.id))
    return [(row.applied_s, json.loads(row.body)["policy"]["minimum_notice_s"]) for row in rows]


def _minimum_s(minimums: list[tuple[int, int]], opened_s: int) -> int:
    """The minimum in force at an instant; the smaller of two if a cycle may have read either."""
    before = [least_s for applied_s, least_s in minimums if applied_s < opened_s][-1:]
    until_s = opened_s + MAX_CYCLE_S
    since = [least_s for applied_s, least_s in minimums if opened_s <= applied_s <= until_s]
    return min([*before, *since], default=0)
