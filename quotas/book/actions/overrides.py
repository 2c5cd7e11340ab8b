"""How does an operator's word enter the book, and which words and stops does a cycle read?"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from quotas.book.rows import NOTICE_FIELDS, columns_of
from quotas.book.schema import DECISION, INTENT, NOTICE, PROGRAM, RUN, TRANSFER, WORD
from quotas.book.session import Book
from quotas.decisions.disruption_budget import COUNTED, WINDOW_S, Enforcement, Stop, first_told
from quotas.decisions.notices import Notice
from quotas.decisions.overrides import Word, unbroken_s
from quotas.iam.closing import RULE, closed_since
from quotas.model.program import Program
from quotas.model.units import format_instant


def say(book: Book, word: Word) -> Word:
    """Keep a word, with the one it takes the place of. The same word twice is kept once."""
    with book.writing() as connection:
        return keep(connection, word)


def keep(connection: Connection, word: Word) -> Word:
    """The same within a transaction that writes more."""
    newest = select(WORD).where(WORD.c.family == word.family, WORD.c.subject == word.subject)
    row = connection.execute(newest.order_by(WORD.c.id.desc()).limit(1)).mappings().first()
    old = Word(**row) if row else None
    if old and old.stands_at(word.at_s) and _same(old, word):
        return old
    before = f"{old.value} by {old.actor}: {old.reason}" if old else ""
    values = {k: v for k, v in asdict(replace(word, before=before)).items() if k != "id"}
    done = connection.execute(WORD.insert().values(**values))
    assert done.inserted_primary_key is not None, "an insert has a key"
    return replace(word, before=before, id=done.inserted_primary_key[0])


def _same(old: Word, new: Word) -> bool:
    same_end = (old.until_s is None) == (new.until_s is None)
    if old.until_s is not None and new.until_s is not None:
        same_end = old.until_s >= new.until_s
    return old.value == new.value and old.reason == new.reason and same_end


_NEWEST = select(func.max(WORD.c.id)).group_by(WORD.c.family, WORD.c.subject)
_WORDS = select(*columns_of(WORD, Word)).where(WORD.c.id.in_(_NEWEST)).order_by(WORD.c.id)
_FORECASTS = select(NOTICE.c.startup, NOTICE.c.cause, NOTICE.c.given_s).where(
    NOTICE.c.rule == "runway", NOTICE.c.state == "told", NOTICE.c.mode == "enforce"
)
"""What startups were told, and not what only operators heard in shadow: that stops nobody."""
_CLOSINGS = (
    select(NOTICE.c.startup, NOTICE.c.mode, NOTICE.c.cause, NOTICE.c.given_s)
    .where(NOTICE.c.rule == RULE, NOTICE.c.state == "told")
    .order_by(NOTICE.c.id)
)
_LAST_OFF = (
    select(func.max(NOTICE.c.id))
    .where(NOTICE.c.off_s.is_not(None))
    .group_by(NOTICE.c.startup, NOTICE.c.server_id, NOTICE.c.rule)
)
_PAST = select(*NOTICE_FIELDS).where(NOTICE.c.id.in_(_LAST_OFF)).order_by(NOTICE.c.id)


def read_enforcement(connection: Connection) -> Enforcement:
    """The newest words, the stops of the last hour, what was told, and what went off."""
    return Enforcement(
        words=tuple(Word(*row) for row in connection.execute(_WORDS)),
        stops=_stops(connection),
        announced=first_told(
            (startup, cause, given_s) for startup, cause, given_s in connection.execute(_FORECASTS)
        ),
        past=tuple(Notice(*row) for row in connection.execute(_PAST)),
        closed=closed_since(
            (startup, mode, cause, given_s)
            for startup, mode, cause, given_s in connection.execute(_CLOSINGS)
        ),
    )


_IS_STOP = (INTENT.c.action == "poweroff") & INTENT.c.state.in_(COUNTED)
_LAST_STOP = select(func.max(INTENT.c.decided_s)).where(_IS_STOP)
_GPUS = select(func.max(RUN.c.gpus)).where(RUN.c.server_id == INTENT.c.server_id)
_STOPS = (
    select(_GPUS.scalar_subquery().label("gpus"), INTENT.c.decided_s, *NOTICE_FIELDS)
    .join(INTENT, INTENT.c.notice_id == NOTICE.c.id)
    .where(_IS_STOP, INTENT.c.decided_s > bindparam("since_s"))
    .order_by(INTENT.c.id)
)


def _stops(connection: Connection) -> tuple[Stop, ...]:
    """The poweroffs decided in the hour before the last one, but those that came to nothing."""
    last_s = connection.scalar(_LAST_STOP)
    if last_s is None:
        return ()
    rows = connection.execute(_STOPS, {"since_s": last_s - WINDOW_S})
    return tuple(Stop(Notice(*notice), gpus or 0, decided_s) for gpus, decided_s, *notice in rows)


def read_deeds(book: Book, limit: int) -> list[dict[str, Any]]:
    """Every operator's deed, newest first: words, programs applied, credits moved."""
    with book.reading() as connection:
        words = connection.execute(select(WORD).order_by(WORD.c.id.desc()).limit(limit))
        found = [_of_word(Word(**row)) for row in words.mappings()]
        programs = connection.execute(select(PROGRAM).order_by(PROGRAM.c.id.desc()).limit(limit))
        for row in programs.mappings():
            after = f"version {row['id']} ({row['digest'][:12]})"
            before = f"version {row['id'] - 1}" if row["id"] > 1 else ""
            found.append(_deed(row["applied_s"], row["actor"], "apply", "", "", before, after))
        moved = select(TRANSFER).where(TRANSFER.c.epoch == 0, TRANSFER.c.reason != "")
        for row in connection.execute(moved.order_by(TRANSFER.c.id.desc()).limit(limit)).mappings():
            answer = json.loads(json.loads(row["detail"]).get("answer", "{}"))
            after = answer.get("sentence", row["key"])
            at = (row["recorded_s"], row["actor"], row["kind"], row["startup"])
            found.append(_deed(*at, row["reason"], "", after))
    return sorted(found, key=lambda deed: deed["at_s"], reverse=True)[:limit]


def _of_word(word: Word) -> dict[str, Any]:
    until = f" until {format_instant(word.until_s)}" if word.until_s is not None else ""
    of = (word.at_s, word.actor, word.family, word.subject, word.reason)
    return _deed(*of, word.before, f"{word.value}{until}")


def _deed(
    at_s: int, actor: str, command: str, subject: str, reason: str, before: str, after: str
) -> dict[str, Any]:
    return {
        "at_s": at_s,
        "at": format_instant(at_s),
        "actor": actor,
        "command": command,
        "subject": subject,
        "reason": reason,
        "before": before,
        "after": after,
    }


def shadow_since_s(book: Book) -> int | None:
    """Since when the program has been in shadow without a break; None where it is not now."""
    programs = select(PROGRAM.c.applied_s, PROGRAM.c.body).order_by(PROGRAM.c.id)
    words = select(WORD).where(WORD.c.family == "mode").order_by(WORD.c.id)
    with book.reading() as connection:
        files = [
            (row.applied_s, Program.from_json(row.body).mode)
            for row in connection.execute(programs)
        ]
        said = [(row.at_s, row.value) for row in connection.execute(words)]
    return unbroken_s(files, said)


def read_shadow(book: Book) -> list[dict[str, Any]]:
    """Every stop that shadow mode only recorded, oldest first."""
    rows = select(DECISION).where(DECISION.c.verb == "would-stop").order_by(DECISION.c.id)
    with book.reading() as connection:
        return [
            {**row, "at": format_instant(row["at_s"]), "inputs": json.loads(row["inputs"])}
            for row in connection.execute(rows).mappings()
        ]
