"""What does a founder's page show? Everything of one startup, from one instant."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from exporters.api.access import Own
from exporters.api.problems import Problem
from exporters.portal.chart import burn_down, outlook
from exporters.portal.i18n import Words
from quotas.book import Book
from quotas.decisions.notices import LIVE_NOTICES
from quotas.enforcement.reminders import SNOOZABLE
from quotas.queue.requests import LIVE_REQUESTS

ROWS, MOST_LIVE = 10, 100
SNOOZES_S = {"30m": 1800, "1h": 3600, "2h": 7200}
LEVELS = {
    "open": "Everything may run.",
    "paced": "What runs may go on; nothing more may start.",
    "closed": "Nothing new may start.",
    "stopped": "What runs is powered off after its notice.",
}


def present(own: Own, words: Words) -> dict[str, Any]:
    """What changes by itself: credits, runway, GPUs, servers."""
    reads = own.reads
    standing, credits = reads.standing(), reads.credits()
    book = _book(own)
    moved = () if book is None else reads.moved(book)
    curve = own.shown.board.program.policy.pacing_curve
    return {
        "own": standing,
        "program": own.shown.board.program,
        "as_of_s": standing.balance.as_of_s,
        "from_snapshot": own.shown.from_snapshot,
        "credits": credits,
        "runway": runway(own, words),
        "outlook": outlook(standing, words),
        "about_level": words(LEVELS.get(standing.level, "")),
        "chart": None if book is None else burn_down(standing, moved, curve, words),
        "quota": reads.quota().items,
        "servers": reads.servers().items,
    }


def everything(own: Own, words: Words, asked: Mapping[str, str]) -> dict[str, Any]:
    """The whole page; `asked` is what a refused form had in its fields."""
    reads, book = own.reads, _book(own)
    found = present(own, words) | {
        "may_ask": "request" in own.token.scopes,
        "pools": [pool.name for pool in own.shown.board.program.pools],
        "asked": asked,
        "key": new_key,
        "is_readable": book is not None,
        "live_notices": LIVE_NOTICES,
        "snoozable": SNOOZABLE,
        "snoozes": SNOOZES_S,
        "live_requests": LIVE_REQUESTS,
    }
    if book is None:
        lists = ("live", "past", "requests", "statements", "decisions")
        return found | {name: [] for name in lists} | {"whys": {}}
    decisions = reads.decisions(book, None, ROWS).items
    newest = reads.notices(book, None, ROWS, only_live=False).items
    return found | {
        "live": reads.notices(book, None, MOST_LIVE, only_live=True).items,
        "past": [notice for notice in newest if notice.state not in LIVE_NOTICES],
        "requests": reads.requests(book, None, ROWS).items,
        "statements": reads.statements(book).items[:ROWS],
        "decisions": decisions,
        "whys": {each.id: reads.why(book, each.id) for each in decisions},
    }


def runway(own: Own, words: Words) -> str:
    """How long the credits last, in a sentence."""
    standing = own.reads.standing()
    money, cohort = standing.balance, standing.cohort
    if money.available_ucr <= 0:
        return words("No credits are left to spend. Ask the people who run your program.")
    if money.exhausted_s is None:
        return words("Nothing runs, so nothing is spent.")
    lasts_s = max(0, money.exhausted_s - money.as_of_s)
    if cohort is not None and cohort.starts_s <= money.as_of_s < cohort.ends_s <= money.exhausted_s:
        return words(
            "At what runs now, they last to the end of the cohort on {day}.",
            day=words.day(cohort.ends_s),
        )
    return words(
        "At what runs now, they last {duration}, until {instant}.",
        duration=words.duration(lasts_s),
        instant=words.both(money.exhausted_s),
    )


def new_key() -> str:
    """What makes one form one write, however often it is sent."""
    return secrets.token_hex(16)


def _book(own: Own) -> Book | None:
    """The book; None while it cannot be read and a snapshot is shown."""
    try:
        return own.source.book()
    except Problem:
        return None
