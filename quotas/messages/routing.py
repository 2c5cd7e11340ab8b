"""Message routing: who receives a notice, on which channel, and how soon.

A notice that is opened, announced, reminded of, stopping or ended becomes one message for each
channel of its startup and of the operators, and in shadow mode of the operators alone. A breached
notice becomes a message too. What falls due before the next quiet hours end is urgent and goes
at once. The rest waits for the digest, and in quiet hours for their end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from quotas.model.program import Program
from quotas.model.units import DAY_S
from quotas.state.facts import FactsJson
from quotas.state.notices import Notice, NoticeState

STARTUP, OPERATOR = "startup", "operator"
TEST = "test"
"""The rule of a notice that only tries the channels."""
BREACHED = "breached"
"""The kind of message that says that a notice was not kept."""
NOT_FOR_STARTUPS = frozenset({"stopping", BREACHED})
"""A stop in progress is the operators' to watch: the startup hears when it is done. A broken
promise they own up to in person: the startup's channels are often what failed."""
CHAIN_HEADS = "chain-heads"
"""The rule of a message that belongs to no notice: it carries the chain heads of the books."""
DIGEST_S = 900
"""What is not urgent waits so long, and goes out as one message. A quarter of an hour gathers
what a few cycles say. Nobody acts on it sooner, and urgent messages never wait.
"""


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message to be put into the outbox: what of which notice, to whom, and not before."""

    notice: Notice
    kind: str
    audience: str
    recipient: str
    due_s: int
    is_urgent: bool
    timezone: str = "UTC"
    snooze: FactsJson | None = None

    def facts(self, notice_id: int) -> dict[str, Any]:
        """What its words name, as the outbox stores it; the notice moves on meanwhile."""
        notice = asdict(replace(self.notice, id=notice_id))
        return {"notice": notice, "timezone": self.timezone, "snooze": self.snooze}


@dataclass(frozen=True, slots=True)
class ChainHeadRecipients:
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
class Delivery:
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
        about = sorted({message.startup for message in self.messages if message.startup})
        about += ["the books"] if any(m.rule == CHAIN_HEADS for m in self.messages) else []
        return f"{len(self.messages)} notices about {', '.join(about)}"

    @property
    def text(self) -> str:
        """The messages one after the other, each below its subject where there are several."""
        if len(self.messages) == 1:
            return self.messages[0].text
        return "\n\n".join(f"{m.subject}\n{'=' * len(m.subject)}\n{m.text}" for m in self.messages)


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """How a sending ended: taken, to be tried again, or never to be taken."""

    outcome: Literal["sent", "retry", "refused"]
    detail: str = ""


def messages_for_changes(
    program: Program, before: Iterable[Notice], changed: Iterable[Notice], now_s: int
) -> tuple[PendingMessage, ...]:
    """A message for each channel that is told of each notice that a cycle changed."""
    known = {notice.id: notice for notice in before}
    pending_messages: list[PendingMessage] = []
    for notice in changed:
        was = known.get(notice.id) if notice.id is not None else None
        # A stop and what was wrong with it may come at once.
        breached = was is not None and notice.is_breached and not was.is_breached
        for kind in filter(None, (_message_kind(was, notice), BREACHED if breached else None)):
            pending_messages += messages_for_notice(program, notice, kind, now_s)
    return tuple(pending_messages)


_KIND_OF_STATE = {
    NoticeState.OPEN: "extended",
    NoticeState.DEFERRED: "deferred",
    NoticeState.EXECUTING: "stopping",
    NoticeState.SHADOW: "would-stop",
    NoticeState.EXECUTED: "executed",
    NoticeState.CANCELLED: "cancelled",
    NoticeState.RESTARTING: "restarting",
    NoticeState.RESTARTED: "restarted",
}


def _message_kind(before: Notice | None, notice: Notice) -> str | None:
    """What there is to say of a notice's course; None for what nobody has to hear."""
    if before is None:
        return {NoticeState.OPEN: "notice", NoticeState.ANNOUNCED: "announced"}.get(notice.state)
    if notice.state != before.state:
        return _KIND_OF_STATE.get(notice.state)
    if notice.deadline_s != before.deadline_s:
        return "extended"
    if notice.reminded_s != before.reminded_s:
        return f"reminder-{notice.reminded_s}"
    return None


def chain_head_recipients(program: Program, now_s: int) -> ChainHeadRecipients:
    """Whom the heads of the books are mailed to: the operators, where the policy says so."""
    mailed = dict.fromkeys(program.operators if program.policy.mails_chain_heads else ())
    return ChainHeadRecipients(program.name, tuple(mailed), not_before_s(program, now_s))


def messages_for_notice(
    program: Program, notice: Notice, kind: str, now_s: int, snooze: FactsJson | None = None
) -> Iterator[PendingMessage]:
    """One draft for each channel that hears of this kind; `snooze` are the facts of a snooze."""
    soon = notice.deadline_s <= quiet_hours_end_s(program, now_s)
    is_urgent = soon or notice.rule == TEST or kind == BREACHED
    due_s = now_s if is_urgent else not_before_s(program, now_s)
    for audience, recipient in _channels(program, notice, kind):
        to = (kind, audience, recipient, due_s, is_urgent)
        yield PendingMessage(notice, *to, program.timezone, snooze)


def _channels(program: Program, notice: Notice, kind: str) -> Iterator[tuple[str, str]]:
    startup = program.known(notice.startup)
    is_theirs = notice.mode == "enforce" and kind not in NOT_FOR_STARTUPS
    if is_theirs and startup is not None:
        yield from ((STARTUP, each) for each in dict.fromkeys(startup.contacts))
    if not kind.startswith("reminder") and notice.mode in {"enforce", "shadow"}:
        yield from ((OPERATOR, each) for each in dict.fromkeys(program.operators))


def quiet_hours_end_s(program: Program, now_s: int) -> int:
    """When quiet hours end next; without any, a day from now."""
    hours = program.policy.quiet_hours_s
    if not hours:
        return now_s + DAY_S
    now = datetime.fromtimestamp(now_s, ZoneInfo(program.timezone))
    ends_s = (_local_instant_s(now, day, hours[1]) for day in (0, 1, 2))
    return next(end_s for end_s in ends_s if end_s > now_s)


def _local_instant_s(now: datetime, days: int, of_day_s: int) -> int:
    """A local time of a day, `days` after today; where DST skips it, the instant after."""
    day = now.date() + timedelta(days=days)
    local = datetime(day.year, day.month, day.day, of_day_s // 3600, of_day_s % 3600 // 60)
    return int(local.replace(tzinfo=now.tzinfo).timestamp())


def not_before_s(program: Program, now_s: int) -> int:
    """When what is not urgent is sent: after the digest's window, outside of quiet hours."""
    due_s = now_s + DIGEST_S
    return quiet_hours_end_s(program, due_s) if is_quiet(program, due_s) else due_s


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


def as_json(delivery: Delivery) -> Mapping[str, object]:
    """A delivery as a webhook's body."""
    messages = [asdict(message) for message in delivery.messages]
    for each in messages:
        del each["audience"]
        each |= {"server": each.pop("server_name"), "notice": each.pop("notice_id")}
    return {"id": delivery.batch, "subject": delivery.subject, "messages": messages}
