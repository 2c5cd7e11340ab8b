"""The outbox: messages that wait, the claims of them, and how each sending ended.

A message is enqueued in the transaction that decided it, claimed under the lease's epoch
before it is sent, and ends sent or failed. A claim whose sender died is taken up again as
the same batch, so that the recipient sees one Message-ID however often it arrives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, false, func, or_, select, update

from quotas.book.cycle.lease import Lease, fence
from quotas.book.rows import insert_rows
from quotas.book.schema.tables import NOTICE, OUTBOX
from quotas.book.session import Book
from quotas.ledger.chain_heads import ChainHead
from quotas.messages.render import render_message
from quotas.messages.routing import (
    CHAIN_HEADS,
    OPERATOR,
    STARTUP,
    ChainHeadRecipients,
    Delivery,
    DeliveryResult,
    Message,
    PendingMessage,
)
from quotas.model.contacts import CHAT, mask_contact, scheme_of
from quotas.state.notices import LIVE_NOTICES, Notice

CLAIM_TIMEOUT_S = 300
"""After that long a claim counts as dead: far longer than any sending may take."""
FIRST_RETRY_S = 30
LAST_RETRY_S = 900
MAX_ATTEMPTS = 12
"""About two hours of retries; then the message has failed, visibly."""
MAX_IN_DIGEST = 100
MAX_IN_CHAT = 5
"""Chat services take some 1,000 characters, a letter is about that long, and the parts of a
digest go out seconds apart: more of them would outlast a sending."""
NO_NOTICE_ID = 0
MESSAGE_COLUMNS = Message.__dataclass_fields__.keys() - {"subject", "text"}


@dataclass(frozen=True, slots=True)
class OutboxBacklog:
    """How many messages are due and unsent, since when, and how many have failed."""

    count: int
    since_s: int | None
    failed: int


def enqueue(connection: Connection, pending_messages: Iterable[PendingMessage], now_s: int) -> None:
    """Put drafts into the outbox of the caller's transaction, each once."""
    pending = list(pending_messages)
    ids = _new_ids(connection, {_key_of(p.notice) for p in pending if p.notice.id is None})
    rows = [_row(p, p.notice.id or ids[_key_of(p.notice)], now_s) for p in pending]
    insert_rows(connection, OUTBOX, rows, "keep")


def enqueue_chain_heads(
    connection: Connection, chain_heads: Sequence[ChainHead], to: ChainHeadRecipients, now_s: int
) -> None:
    """Put a day's heads into the outbox of the caller's transaction, once for each recipient."""
    if not chain_heads:
        return
    row = {
        "kind": CHAIN_HEADS,
        "audience": OPERATOR,
        "startup": "",
        "server_name": "",
        "rule": CHAIN_HEADS,
        "notice_id": NO_NOTICE_ID,
        "created_s": now_s,
        "due_s": to.due_s,
        "deadline_s": now_s,
        "is_urgent": False,
        "facts": {"program": to.program, "chain_heads": [asdict(each) for each in chain_heads]},
    }
    event = f"heads.{chain_heads[0].day}."
    rows = [
        {**row, "recipient": each, "event": event + _recipient_hash(OPERATOR, each)}
        for each in to.recipients
    ]
    insert_rows(connection, OUTBOX, rows, "keep")


NoticeKey = tuple[str, str, str, str]


def _key_of(notice: Notice) -> NoticeKey:
    """What tells apart the notices of one cycle that have no number yet."""
    return (*notice.subject, notice.episode)


def _new_ids(connection: Connection, fresh: set[NoticeKey]) -> dict[NoticeKey, int]:
    """The numbers of the notices that this transaction has just written: the newest ones."""
    ids: dict[NoticeKey, int] = {}
    if not fresh:
        return ids
    newest = select(NOTICE).order_by(NOTICE.c.id.desc())
    for row in connection.execute(newest).yield_per(500):
        key = (row.startup, row.server_id, row.rule, row.episode)
        if key in fresh:
            ids.setdefault(key, row.id)
        if len(ids) == len(fresh):
            break
    return ids


def _row(message: PendingMessage, notice_id: int, now_s: int) -> dict[str, Any]:
    notice, to = message.notice, _recipient_hash(message.audience, message.recipient)
    return {
        # A snooze moves the deadline: its reminders are new events.
        "event": f"n{notice_id}.{message.kind}.{notice.deadline_s}.{to}",
        "kind": message.kind,
        "audience": message.audience,
        "recipient": message.recipient,
        "startup": notice.startup,
        "server_name": notice.server_name,
        "rule": notice.rule,
        "notice_id": notice_id,
        "created_s": now_s,
        "due_s": message.due_s,
        "deadline_s": notice.deadline_s,
        "is_urgent": message.is_urgent,
        "facts": message.facts(notice_id),
    }


def _recipient_hash(audience: str, recipient: str) -> str:
    """A recipient in the name of a message: no address, and the same each time."""
    return hashlib.sha256(f"{audience} {recipient}".encode()).hexdigest()[:12]


def claim(book: Book, lease: Lease, now_s: int) -> Delivery | None:
    """Take the next sending, most urgent first, and write down that it is ours.

    Returns None when nothing is due. Raises StaleEpoch when we no longer lead.
    """
    due = _is_due(lease, now_s)
    with book.reading() as connection:
        if connection.scalar(select(OUTBOX.c.id).where(due).limit(1)) is None:
            return None
    with book.writing() as connection:
        fence(connection, lease)
        order = (OUTBOX.c.is_urgent.desc(), OUTBOX.c.due_s, OUTBOX.c.id)
        head = connection.execute(select(OUTBOX).where(due).order_by(*order).limit(1)).first()
        if head is None:
            return None
        rows = connection.execute(_batch_of(head)).all()
        batch, attempts = head.batch or head.event, head.attempts + 1
        values = {"state": "claimed", "batch": batch, "attempts": attempts}
        values |= {"claimed_s": now_s, "epoch": lease.epoch}
        ids = [row.id for row in rows]
        connection.execute(update(OUTBOX).where(OUTBOX.c.id.in_(ids)).values(**values))
    # In one order at every attempt: the Message-ID is made from the first.
    messages = tuple(_message(row) for row in sorted(rows, key=lambda row: int(row.id)))
    return Delivery(batch, head.recipient, now_s, attempts, messages)


def _is_due(lease: Lease, now_s: int) -> ColumnElement[bool]:
    """Waiting and due, or claimed by a sender that no longer leads or never came back."""
    dead = or_(OUTBOX.c.epoch != lease.epoch, OUTBOX.c.claimed_s <= now_s - CLAIM_TIMEOUT_S)
    return or_(
        and_(OUTBOX.c.state == "waiting", OUTBOX.c.due_s <= now_s),
        and_(OUTBOX.c.state == "claimed", dead),
    )


def _batch_of(head: Row[Any]) -> Any:
    """What is sent together with the first: what was before, or else its digest."""
    rows = select(OUTBOX).order_by(OUTBOX.c.due_s, OUTBOX.c.id)
    if head.batch:
        return rows.where(OUTBOX.c.batch == head.batch)
    if head.is_urgent:
        return rows.where(OUTBOX.c.id == head.id)
    mine = and_(OUTBOX.c.recipient == head.recipient, OUTBOX.c.audience == head.audience)
    # One digest is of one startup, so that nobody reads of another through a shared channel.
    if head.audience == STARTUP:
        mine = and_(mine, OUTBOX.c.startup == head.startup)
    fresh = and_(OUTBOX.c.state == "waiting", OUTBOX.c.batch == "")
    rows = rows.where(mine, fresh, OUTBOX.c.is_urgent == false())
    is_chat = scheme_of(head.recipient) in CHAT
    return rows.limit(MAX_IN_CHAT if is_chat else MAX_IN_DIGEST)


def _message(row: Row[Any]) -> Message:
    subject, text = render_message(row.kind, row.audience, row.facts, row.created_s)
    fields = {name: getattr(row, name) for name in MESSAGE_COLUMNS}
    return Message(**fields, subject=subject, text=text)


def record_delivery(
    book: Book, lease: Lease, delivery: Delivery, delivery_result: DeliveryResult, now_s: int
) -> str:
    """Write what became of a sending: "sent", "retried" or "failed". Raises StaleEpoch."""
    ours = and_(
        OUTBOX.c.batch == delivery.batch,
        OUTBOX.c.state == "claimed",
        OUTBOX.c.epoch == lease.epoch,
    )
    detail = delivery_result.detail[:500]
    again = delivery_result.outcome == "retry" and delivery.attempts < MAX_ATTEMPTS
    with book.writing() as connection:
        fence(connection, lease)
        if again:
            retry_s = now_s + retry_delay_s(delivery.attempts)
            values: dict[str, Any] = {"state": "waiting", "due_s": retry_s, "detail": detail}
            connection.execute(update(OUTBOX).where(ours).values(**values))
            # A channel that is down is asked once for all that waits for it: no storm.
            others = and_(OUTBOX.c.recipient == delivery.recipient, OUTBOX.c.state == "waiting")
            sooner = and_(others, OUTBOX.c.due_s < retry_s)
            connection.execute(update(OUTBOX).where(sooner).values(due_s=retry_s))
            return "retried"
        state = "sent" if delivery_result.outcome == "sent" else "failed"
        values = {"state": state, "ended_s": now_s, "detail": detail}
        connection.execute(update(OUTBOX).where(ours).values(**values))
    return state


def retry_delay_s(attempts: int) -> int:
    """How long to wait after that many attempts: twice as long each time, up to a bound."""
    return min(FIRST_RETRY_S << min(attempts - 1, 10), LAST_RETRY_S)


def read_backlog(book: Book, now_s: int) -> OutboxBacklog:
    """What is due and not sent yet, and what has failed."""
    unsent = and_(OUTBOX.c.state.in_(("waiting", "claimed")), OUTBOX.c.due_s <= now_s)
    with book.reading() as connection:
        row = connection.execute(select(func.count(), func.min(OUTBOX.c.due_s)).where(unsent)).one()
        failed = select(func.count()).where(OUTBOX.c.state == "failed")
        return OutboxBacklog(row[0], row[1], connection.scalar(failed) or 0)


_SENT = func.max(case((OUTBOX.c.state == "sent", 1), else_=0))
_UNDELIVERED = (
    select(OUTBOX.c.notice_id)
    .join(NOTICE, NOTICE.c.id == OUTBOX.c.notice_id)
    .where(NOTICE.c.state.in_(LIVE_NOTICES), OUTBOX.c.audience == STARTUP)
    .group_by(OUTBOX.c.notice_id)
    .having(_SENT == 0)
)


def undelivered(connection: Connection) -> frozenset[int]:
    """Live notices with channels of their startup, none of which took a word of them."""
    return frozenset(connection.scalars(_UNDELIVERED))


def list_deliveries(connection: Connection, notice_id: int) -> list[dict[str, Any]]:
    """What was sent of a notice, to whom and how it went; addresses that are secrets masked."""
    rows = select(OUTBOX).where(OUTBOX.c.notice_id == notice_id).order_by(OUTBOX.c.id)
    return [
        {
            "kind": row.kind,
            "audience": row.audience,
            "to": mask_contact(row.recipient),
            "state": row.state,
            "attempts": row.attempts,
            "detail": row.detail,
        }
        for row in connection.execute(rows)
    ]
