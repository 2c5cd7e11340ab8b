"""Message texts: the subject and plain text of a notice, in the startup's local time."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from quotas.messages.catalogue import changed_by_text
from quotas.messages.routing import BREACHED, OPERATOR, TEST, PendingMessage
from quotas.model.units import format_duration, format_instant
from quotas.state.notices import Notice


def render_message(pending_message: PendingMessage, notice_id: int, now_s: int) -> tuple[str, str]:
    """Subject and text of a draft, whose notice has that number."""
    notice, zone = pending_message.notice, ZoneInfo(pending_message.timezone)
    when = local_time(notice.deadline_s, zone)
    what = notice.server_name or notice.startup
    subject = f"[{notice.startup}] {_headline(pending_message, what, when)}"
    lines = [f"Startup: {notice.startup}"]
    if notice.server_name:
        lines.append(f"Server: {notice.server_name} ({notice.server_id}) in {notice.zone}")
    if notice.rule != TEST:
        left = format_duration(max(0, notice.deadline_s - now_s))
        lines.append(f"When: {when}, {format_instant(notice.deadline_s)}, in {left}")
    lines += [f"Rule: {notice.rule}", "", notice.text]
    lines += ["", *_closing_lines(pending_message.kind, notice, notice_id)]
    if pending_message.audience == OPERATOR:
        lines.append(_operator_copy_line(pending_message.kind, notice))
    return subject, "\n".join(lines) + "\n"


def local_time(instant_s: int, zone: ZoneInfo) -> str:
    """An instant on the program's own clock: Tue 5 Jan 2027 10:00 CET."""
    moment = datetime.fromtimestamp(instant_s, zone)
    return f"{moment:%a} {moment.day} {moment:%b %Y %H:%M %Z}"


def _headline(pending_message: PendingMessage, what: str, when: str) -> str:
    if pending_message.notice.rule == TEST:
        return "test notice: please acknowledge"
    kind = pending_message.kind.partition("-")[0]
    verb = "would stop" if pending_message.notice.mode == "shadow" else "stops"
    return {
        "notice": f"{what} {verb} {when}",
        "reminder": f"reminder: {what} {verb} {when}",
        "extended": f"postponed: {what} {verb} {when}",
        "snoozed": f"snoozed: {what} {verb} {when}",
        "stopping": f"{what} is being stopped now",
        "would": f"{what} would be stopped now",
        "executed": f"{what} was stopped",
        "cancelled": f"cancelled: {what} is not stopped",
        "deferred": f"on hold: {what} is not stopped yet",
        "restarting": f"{what} is being powered on again",
        "restarted": f"{what} runs again",
        BREACHED: f"broken promise: {what} had less notice than was promised",
    }.get(kind, f"{pending_message.notice.rule}: {when}")


def _closing_lines(kind: str, notice: Notice, notice_id: int) -> list[str]:
    """What would avoid it and how to acknowledge, or how it ended."""
    if kind == "cancelled":
        return [f"This notice ({notice_id}) is cancelled: its cause ended. Nothing is stopped."]
    if kind == "executed":
        return [
            f"It was stopped, as notice {notice_id} announced. Its volumes are kept; you may "
            "start it again once the cause has ended."
        ]
    if kind == BREACHED:
        return [
            f"Notice {notice_id} was not kept: we stopped its server before the deadline, or no "
            f"channel of {notice.startup} took a word of it by then. 'cohortd explain "
            f"{notice.startup}' says which, and by how much; that is refunded when the server is "
            "off."
        ]
    if kind in _STATE_TEXTS:
        return [_STATE_TEXTS[kind]]
    lines = []
    if notice.rule != TEST:
        lines.append(f"Who may change it: {changed_by_text(notice.rule)}.")
    lines.append(f"To acknowledge: cohortd notice ack {notice_id}, or tell your operator.")
    return lines


_STATE_TEXTS = {
    "deferred": (
        "Too many servers were due at once: it runs on until the stops of the last hour leave "
        "room for it, or an operator approves it."
    ),
    "restarting": (
        "Scaleway is asked to power it on; where it has no such server free, again later."
    ),
    "restarted": "It is charged again from now on. Its scratch disk, where it has one, is empty.",
}


def _operator_copy_line(kind: str, notice: Notice) -> str:
    if kind == BREACHED:
        return f"{notice.startup} is not told of this by cohortd: tell it in person."
    if notice.mode == "shadow":
        return "Shadow mode: nothing is touched, and the startup is not told."
    return f"This is the operator's copy; {notice.startup} is told on its own channels."
