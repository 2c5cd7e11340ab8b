"""The contexts of a founder's page: everything about one startup, from one instant."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from exporters.api.access import Viewer
from exporters.api.read_model import LATE_S
from exporters.portal.chart import burn_down, outlook
from exporters.portal.i18n import Translator
from quotas.messages.levels import LEVELS
from quotas.rules.registry import SNOOZABLE
from quotas.state.notices import LIVE_NOTICES
from quotas.state.requests import LIVE_REQUESTS

ROWS_SHOWN, MAX_LIVE = 10, 100
SNOOZE_CHOICES_S = {"30m": 1800, "1h": 3600, "2h": 7200}


def live_context(viewer: Viewer, translator: Translator) -> dict[str, Any]:
    """The part of the page that refreshes: credits, runway, GPUs, servers."""
    reads = viewer.reads
    status, credits = reads.status(), reads.credits()
    movements, age_s = reads.credit_movements(viewer.read_model.book()), viewer.read_model.age_s()
    level, about_level = LEVELS[status.level]
    curve = viewer.cached.program_status.program.policy.pacing_curve
    return {
        "status": status,
        "program": viewer.cached.program_status.program,
        "as_of_s": status.balance.as_of_s,
        "late_since_s": viewer.read_model.now_s() - age_s if age_s > LATE_S else None,
        "credits": credits,
        "runway": runway(viewer, translator),
        "outlook": outlook(status, translator),
        "level": translator(level),
        "about_level": translator(about_level),
        "chart": burn_down(status, movements, curve, translator),
        "quota": reads.quota().items,
        "servers": reads.servers().items,
    }


def page_context(
    viewer: Viewer, translator: Translator, form_values: Mapping[str, str]
) -> dict[str, Any]:
    """The whole page. `form_values` are the fields of a refused form."""
    reads, book = viewer.reads, viewer.read_model.book()
    found = live_context(viewer, translator) | {
        "may_ask": "request" in viewer.token.scopes,
        "pools": [pool.name for pool in viewer.cached.program_status.program.pools],
        "form_values": form_values,
        "key": new_key,
        "live_notices": LIVE_NOTICES,
        "snoozable": SNOOZABLE,
        "snoozes": SNOOZE_CHOICES_S,
        "live_requests": LIVE_REQUESTS,
    }
    decisions = reads.decisions(book, None, ROWS_SHOWN).items
    newest = reads.notices(book, None, ROWS_SHOWN, only_live=False).items
    return found | {
        "live": reads.notices(book, None, MAX_LIVE, only_live=True).items,
        "finished": [notice for notice in newest if notice.state not in LIVE_NOTICES],
        "requests": reads.requests(book, None, ROWS_SHOWN).items,
        "statements": reads.statements(book).items[:ROWS_SHOWN],
        "decisions": decisions,
        "explanations": {each.id: reads.explanation(book, each.id) for each in decisions},
    }


def runway(viewer: Viewer, translator: Translator) -> str:
    """How long the credits last, in a sentence."""
    status = viewer.reads.status()
    money, cohort = status.balance, status.cohort
    if money.available_ucr <= 0:
        return translator("No credits are left to spend. Ask the people who run your program.")
    if money.exhausted_s is None:
        return translator("Nothing runs, so nothing is spent.")
    lasts_s = max(0, money.exhausted_s - money.as_of_s)
    if cohort is not None and cohort.starts_s <= money.as_of_s < cohort.ends_s <= money.exhausted_s:
        return translator(
            "At what runs now, they last to the end of the cohort on {day}.",
            day=translator.day(cohort.ends_s),
        )
    return translator(
        "At what runs now, they last {duration}, until {instant}.",
        duration=translator.duration(lasts_s),
        instant=translator.instant_with_utc(money.exhausted_s),
    )


def new_key() -> str:
    """The key of a form, which makes it one write however often it is sent."""
    return secrets.token_hex(16)
