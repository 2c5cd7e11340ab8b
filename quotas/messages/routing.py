"""Who is told of a notice, on which channel, and how soon? Drafts for the outbox.

A notice that is given, reminded of, stopping, ended or told becomes one draft for each
channel of its startup and of the operators; in shadow mode of the operators alone. So is a
promise that was broken. What falls due before the next quiet hours end is urgent and goes
at once. The rest waits for the digest, and in quiet hours for their end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from quotas.decisions.notices import Notice
from quotas.model.program import Program
from quotas.model.units import DAY_S

STARTUP, OPERATOR = "startup", "operator"
TEST = "test"
"""The rule of a notice that only tries the channels."""
BROKEN = "broken"
"""The kind of message that says that a notice was not kept."""
NOT_FOR_STARTUPS = frozenset({"stopping", BROKEN})
"""A stop in progress is the operators' to watch: the startup hears when it is done. A broken
promise they own up to in person: the startup's channels are often what failed."""
HEADS = "heads"
"""The rule of a message that is of no notice: it carries the heads of the books."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be put into the outbox: what of which notice, to whom, and not before."""

    notice: Notice
    kind: str
    audience: str
    recipient: str
    due_s: int
    is_urgent: bool
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Addressees:
    """Who is sent the daily heads of a program's books, and not before when."""

    program: str
    recipients: tuple[str, ...]
    due_s: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the outbox, as it is delivered; `event` is its name for good."""

    event: str
    kind: str
    audience: str
    startup: str
    server_name: str
    rule: str
    notice_id: int
    created_s: int
    deadline_s: int
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one sending carries to one recipient: a message, or a digest of several.

    `batch` is the same at every attempt, and so is the Message-ID made from it.
    """

    batch: str
    recipient: str
    claimed_s: int
    attempts: int
    messages: tuple[Message, ...]

    @property
    def startup(self) -> str:
        """Whose channel it is; "" for an operator's."""
        first = self.messages[0]
        return first.startup if first.audience == STARTUP else ""

    @property
    def subject(self) -> str:
        """The message's own, or how many of them there are."""
        if len(self.messages) == 1:
            return self.messages[0].subject
        startups = sorted({message.startup for message in self.messages if message.startup})
        about = ", ".join(startups + ["the books"] * any(m.rule == HEADS for m in self.messages))
        return f"{len(self.messages)} notices about {about}"

    @property
    def text(self) -> str:
        """The messages one after the other, each below its subject where there are several."""
        if len(self.messages) == 1:
            return self.messages[0].text
        return "\n\n".join(f"{m.subject}\n{'=' * len(m.subject)}\n{m.text}" for m in self.messages)


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a sending ended: taken, to be tried again, or never to be taken."""

    outcome: Literal["sent", "retry", "refused"]
    detail: str = ""


def drafts_of(
    program: Program, before: Iterable[Notice], changed: Iterable[Notice], now_s: int
) -> tuple[Draft, ...]:
    """A draft for each channel that is to hear of each notice that a cycle changed."""
    known = {notice.id: notice for notice in before}
    drafts: list[Draft] = []
    for notice in changed:
        before_it = known.get(notice.id) if notice.id is not None else None
        for kind in _kinds(before_it, notice):
            drafts += drafts_to(program, notice, kind, now_s)
    return tuple(drafts)


def _kinds(before: Notice | None, notice: Notice) -> Iterator[str]:
    """All that there is to say of a change: a stop and what was wrong with it may come at once."""
    kind = _kind(before, notice)
    if kind is not None:
        yield kind
    if before is not None and notice.is_broken and not before.is_broken:
        yield BROKEN


def _kind(before: Notice | None, notice: Notice) -> str | None:
    """What there is to say of a notice's course; None for what nobody has to hear."""
    if before is None:
        return {"open": "notice", "told": "told"}.get(notice.state)
    if notice.state != before.state:
        kinds = {"executing": "stopping", "executed": "executed", "cancelled": "cancelled"}
        kinds |= {"held": "held", "open": "renewed"}
        kinds |= {"returning": "returning", "restored": "restored"}
        return kinds.get(notice.state, "would-stop" if notice.state == "shadow" else None)
    if notice.deadline_s != before.deadline_s:
        return "renewed"
    if notice.reminded_s != before.reminded_s:
        return f"reminder-{notice.reminded_s}"
    return None


def addressees(program: Program, now_s: int) -> Addressees:
    """Whom the heads of the books are mailed to: the operators, where the policy says so."""
    mailed = program.operators if program.policy.mails_heads else ()
    return Addressees(program.name, tuple(dict.fromkeys(mailed)), calm_s(program, now_s))


def drafts_to(program: Program, notice: Notice, kind: str, now_s: int) -> Iterator[Draft]:
    """One draft for each channel that hears of this kind of message."""
    soon = notice.deadline_s <= next_end_s(program, now_s)
    is_urgent = soon or notice.rule == TEST or kind == BROKEN
    due_s = now_s if is_urgent else calm_s(program, now_s)
    for audience, recipient in _channels(program, notice, kind):
        yield Draft(notice, kind, audience, recipient, due_s, is_urgent, program.timezone)


def _channels(program: Program, notice: Notice, kind: str) -> Iterator[tuple[str, str]]:
    startup = program.known(notice.startup)
    is_theirs = notice.mode == "enforce" and kind not in NOT_FOR_STARTUPS
    if is_theirs and startup is not None:
        yield from ((STARTUP, each) for each in dict.fromkeys(startup.contacts))
    if not kind.startswith("reminder") and notice.mode in {"enforce", "shadow"}:
        yield from ((OPERATOR, each) for each in dict.fromkeys(program.operators))


def next_end_s(program: Program, now_s: int) -> int:
    """When quiet hours end next; without any, a day from now."""
    hours = program.policy.quiet_hours_s
    if not hours:
        return now_s + DAY_S
    now = datetime.fromtimestamp(now_s, ZoneInfo(program.timezone))
    return next(end_s for end_s in (_at(now, day, hours[1]) for day in (0, 1, 2)) if end_s > now_s)


def _at(now: datetime, days: int, of_day_s: int) -> int:
    """A local time of a day, `days` after today; where DST skips it, the instant after."""
    day = now.date() + timedelta(days=days)
    local = datetime(day.year, day.month, day.day, of_day_s // 3600, of_day_s % 3600 // 60)
    return int(local.replace(tzinfo=now.tzinfo).timestamp())


def calm_s(program: Program, now_s: int) -> int:
    """When what is not urgent is sent: after the digest's window, outside of quiet hours."""
    due_s = now_s + program.policy.digest_s
    return next_end_s(program, due_s) if is_quiet(program, due_s) else due_s


def is_quiet(program: Program, at_s: int) -> bool:
    """Whether an instant lies in the program's quiet hours, by its local clock."""
    if not program.policy.quiet_hours_s:
        return False
    begin_s, end_s = program.policy.quiet_hours_s
    local = datetime.fromtimestamp(at_s, ZoneInfo(program.timezone))
    of_day_s = local.hour * 3600 + local.minute * 60 + local.second
    if begin_s < end_s:
        return begin_s <= of_day_s < end_s
    return of_day_s >= begin_s or of_day_s < end_s


def as_json(parcel: Parcel) -> Mapping[str, object]:
    """A parcel as a webhook's body."""
    return {
        "id": parcel.batch,
        "subject": parcel.subject,
        "messages": [
            {
                "event": m.event,
                "kind": m.kind,
                "startup": m.startup,
                "server": m.server_name,
                "rule": m.rule,
                "notice": m.notice_id,
                "created_s": m.created_s,
                "deadline_s": m.deadline_s,
                "subject": m.subject,
                "text": m.text,
            }
            for m in parcel.messages
        ],
    }
