"""Rendering of messages: subject and plain text, from the facts that the outbox stores."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from quotas.decisions.verbs import Snooze
from quotas.ledger.chain_heads import ChainHead
from quotas.messages.catalogue import TEXTS, changed_by_text, notice_text, text_of
from quotas.messages.catalogue.mail import Mail
from quotas.messages.catalogue.operators import chain_head_text
from quotas.messages.catalogue.texts import render
from quotas.messages.routing import BREACHED, CHAIN_HEADS, OPERATOR, TEST
from quotas.model.program import Mode
from quotas.model.units import format_duration, format_instant
from quotas.state.facts import from_json
from quotas.state.notices import Notice


def render_message(
    kind: str, audience: str, facts: Mapping[str, Any], queued_s: int
) -> tuple[str, str]:
    """Subject and text of a message, with what was true at `queued_s`.

    `facts` are what `PendingMessage.facts` or the daily chain heads put into the outbox.
    """
    if kind == CHAIN_HEADS:
        return chain_head_text(facts["program"], [ChainHead(**h) for h in facts["chain_heads"]])
    notice = Notice(**facts["notice"])
    when = local_time(notice.deadline_s, ZoneInfo(facts["timezone"]))
    mail = Mail(notice, notice.server_name or notice.startup, when)
    subject = f"[{notice.startup}] {_part(kind, 'subject', mail)}"
    lines = [f"Startup: {notice.startup}"]
    if notice.server_name:
        lines.append(f"Server: {notice.server_name} ({notice.server_id}) in {notice.zone}")
    if notice.rule != TEST:
        left = format_duration(max(0, notice.deadline_s - queued_s))
        lines.append(f"When: {when}, {format_instant(notice.deadline_s)}, in {left}")
    text = notice_text(notice)
    if facts["snooze"] is not None:
        text = f"{text_of('snooze', from_json(Snooze, facts['snooze']))}. {text}"
    lines += [f"Rule: {notice.rule}", "", text, "", *_closing_lines(kind, audience, mail)]
    if audience == OPERATOR:
        copy = "mail.shadow-copy" if notice.mode is Mode.SHADOW else "mail.copy"
        lines.append(render(TEXTS, f"mail.{BREACHED}.copy" if kind == BREACHED else copy, mail))
    return subject, "\n".join(lines) + "\n"


def local_time(instant_s: int, zone: ZoneInfo) -> str:
    """An instant on the program's own clock: Tue 5 Jan 2027 10:00 CET."""
    moment = datetime.fromtimestamp(instant_s, zone)
    return f"{moment:%a} {moment.day} {moment:%b %Y %H:%M %Z}"


def _part(kind: str, part: str, mail: Mail) -> str:
    """The subject or the closing of a kind of message; a reminder's kind ends in its seconds."""
    name = "reminder" if kind.startswith("reminder-") else kind
    return render(TEXTS, f"mail.{name}.{part}", mail)


def _closing_lines(kind: str, audience: str, mail: Mail) -> list[str]:
    """What would avoid it and how to acknowledge, or how it ended."""
    if f"mail.{kind}.closing" in TEXTS:
        return [_part(kind, "closing", mail)]
    rule = mail.notice.rule
    changed_by = [] if rule == TEST else [f"Who may change it: {changed_by_text(rule)}."]
    acknowledge = "mail.acknowledge-copy" if audience == OPERATOR else "mail.acknowledge"
    return [*changed_by, render(TEXTS, acknowledge, mail)]
