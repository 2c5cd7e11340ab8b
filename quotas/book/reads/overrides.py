"""Reads of overrides: what a cycle obeys, the audit log, and what shadow mode recorded."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from quotas.book.rows import NOTICE_FIELDS, OVERRIDE_FIELDS, read_values
from quotas.book.schema.tables import DECISION, INTENT, NOTICE, OVERRIDE, PROGRAM, RUN, TRANSFER
from quotas.book.session import Book
from quotas.iam.closing import RULE, closed_by
from quotas.model.program import Mode, Program
from quotas.model.units import format_instant
from quotas.state.notices import Notice, NoticeState
from quotas.state.overrides import Override, shadow_start_s
from quotas.state.snapshot import (
    COUNTED_STATES,
    WINDOW_S,
    CountedStop,
    Enforcement,
    first_announcements,
)

ACTION_TEXTS = ("actor", "command", "subject", "reason", "before", "after")
_NEWEST = select(func.max(OVERRIDE.c.id)).group_by(OVERRIDE.c.family, OVERRIDE.c.subject)
_OVERRIDES = select(*OVERRIDE_FIELDS).where(OVERRIDE.c.id.in_(_NEWEST)).order_by(OVERRIDE.c.id)
_FORECASTS = select(NOTICE.c.startup, NOTICE.c.episode, NOTICE.c.opened_s).where(
    NOTICE.c.rule == "runway",
    NOTICE.c.state == NoticeState.ANNOUNCED,
    NOTICE.c.mode == Mode.ENFORCE,
)
"""Forecasts that startups received. Those of shadow mode, for operators only, do not count."""
_CLOSINGS = (
    select(NOTICE.c.startup, NOTICE.c.mode, NOTICE.c.episode)
    .where(NOTICE.c.rule == RULE, NOTICE.c.state == NoticeState.ANNOUNCED)
    .order_by(NOTICE.c.id)
)
LAST_POWEROFFS = (
    select(func.max(NOTICE.c.id))
    .where(NOTICE.c.off_s.is_not(None))
    .group_by(NOTICE.c.startup, NOTICE.c.server_id, NOTICE.c.rule)
)
"""The last poweroff of each subject. A cycle changes no other notice that is over."""
_PAST = select(*NOTICE_FIELDS).where(NOTICE.c.id.in_(LAST_POWEROFFS)).order_by(NOTICE.c.id)


def read_enforcement(connection: Connection) -> Enforcement:
    """The newest overrides, the stops of the last hour, announcements, and past poweroffs."""
    return Enforcement(
        overrides=read_values(connection, Override, _OVERRIDES),
        stops=_stops(connection),
        first_announced_s=first_announcements(map(tuple, connection.execute(_FORECASTS))),
        past=read_values(connection, Notice, _PAST),
        closed=closed_by(map(tuple, connection.execute(_CLOSINGS))),
    )


_IS_STOP = (INTENT.c.action == "poweroff") & INTENT.c.state.in_(COUNTED_STATES)
_LAST_STOP = select(func.max(INTENT.c.decided_s)).where(_IS_STOP)
_GPUS = select(func.max(RUN.c.gpus)).where(RUN.c.server_id == INTENT.c.server_id)
_STOPS = (
    select(_GPUS.scalar_subquery().label("gpus"), INTENT.c.decided_s, *NOTICE_FIELDS)
    .join(INTENT, INTENT.c.notice_id == NOTICE.c.id)
    .where(_IS_STOP, INTENT.c.decided_s > bindparam("since_s"))
    .order_by(INTENT.c.id)
)


def _stops(connection: Connection) -> tuple[CountedStop, ...]:
    """The poweroffs decided in the hour up to the last one, without those that failed."""
    last_s = connection.scalar(_LAST_STOP)
    if last_s is None:
        return ()
    rows = connection.execute(_STOPS, {"since_s": last_s - WINDOW_S})
    return tuple(
        CountedStop(Notice(*notice), gpus or 0, decided_s) for gpus, decided_s, *notice in rows
    )


def read_operator_actions(book: Book, limit: int) -> list[dict[str, Any]]:
    """Every operator action, newest first: overrides, programs applied, credits moved."""
    newest = select(*OVERRIDE_FIELDS).order_by(OVERRIDE.c.id.desc()).limit(limit)
    with book.reading() as connection:
        found = [_action_of_override(each) for each in read_values(connection, Override, newest)]
        programs = connection.execute(select(PROGRAM).order_by(PROGRAM.c.id.desc()).limit(limit))
        for row in programs.mappings():
            after = f"version {row['id']} ({row['digest'][:12]})"
            before = f"version {row['id'] - 1}" if row["id"] > 1 else ""
            by = (row["actor"], "apply", "", "")
            found.append(_action_row(row["applied_s"], *by, before, after))
        moved = select(TRANSFER).where(TRANSFER.c.epoch == 0, TRANSFER.c.reason != "")
        for row in connection.execute(moved.order_by(TRANSFER.c.id.desc()).limit(limit)).mappings():
            answer = json.loads(json.loads(row["detail"]).get("answer", "{}"))
            after = answer.get("sentence", row["key"])
            at = (row["recorded_s"], row["actor"], row["kind"], row["startup"])
            found.append(_action_row(*at, row["reason"], "", after))
    return sorted(found, key=lambda action: action["at_s"], reverse=True)[:limit]


def _action_of_override(override: Override) -> dict[str, Any]:
    until = f" until {format_instant(override.until_s)}" if override.until_s is not None else ""
    of = (override.at_s, override.actor, override.family, override.subject, override.reason)
    return _action_row(*of, override.before, f"{override.value}{until}")


def _action_row(at_s: int, *texts: str) -> dict[str, Any]:
    """An action from its instant, and its texts in the order of ACTION_TEXTS."""
    named = dict(zip(ACTION_TEXTS, texts, strict=True))
    return {"at_s": at_s, "at": format_instant(at_s), **named}


def shadow_since_s(book: Book) -> int | None:
    """Since when the program has been in shadow without a break; None if it is not now."""
    programs = select(PROGRAM.c.applied_s, PROGRAM.c.body).order_by(PROGRAM.c.id)
    overrides = select(OVERRIDE).where(OVERRIDE.c.family == "mode").order_by(OVERRIDE.c.id)
    with book.reading() as connection:
        files = [
            (at_s, Program.from_json(body).mode) for at_s, body in connection.execute(programs)
        ]
        modes = [(row.at_s, row.value) for row in connection.execute(overrides)]
    return shadow_start_s(files, modes)


def read_shadow_stops(book: Book) -> list[dict[str, Any]]:
    """Every stop that shadow mode only recorded, oldest first."""
    rows = select(DECISION).where(DECISION.c.verb == "would-stop").order_by(DECISION.c.id)
    with book.reading() as connection:
        return [
            {**row, "at": format_instant(row["at_s"])}
            for row in connection.execute(rows).mappings()
        ]
