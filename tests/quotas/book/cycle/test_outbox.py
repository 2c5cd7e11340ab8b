"""Messages are enqueued with the decision, claimed before sending, and end once."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from quotas.book.cycle.commit import StaleNotice, commit
from quotas.book.cycle.lease import Lease, StaleEpoch, acquire
from quotas.book.cycle.outbox import (
    CLAIM_TIMEOUT_S,
    MAX_ATTEMPTS,
    claim,
    read_backlog,
    record_delivery,
    retry_delay_s,
)
from quotas.book.schema.tables import NOTICE, OUTBOX
from quotas.book.session import Book
from quotas.messages.routing import Delivery, DeliveryResult, PendingMessage
from tests.builders import a_notice

from ..book_builders import lease_of, result_of

CTO, OPS = "mailto://cto@example.com", "mailto://ops@example.com"
SENT, DOWN = DeliveryResult("sent"), DeliveryResult("retry", "no route")


def a_draft(server_id: str = "s1", **changes: Any) -> PendingMessage:
    """An urgent draft to acme's mail for a notice that is new in this commit."""
    notice = a_notice(server_id, id=None, opened_s=3600, deadline_s=9000)
    values = {"kind": "notice", "audience": "startup", "recipient": CTO, "due_s": 3600}
    return PendingMessage(notice, **{**values, "is_urgent": True, **changes})  # type: ignore[arg-type]


def kept(book: Book, *pending_messages: PendingMessage) -> Lease:
    """The lease under which these drafts and their notices were committed at 3600."""
    lease = lease_of(book, now_s=3600)
    notices = list(
        {
            pending_message.notice.subject: pending_message.notice
            for pending_message in pending_messages
        }.values()
    )
    commit(
        book,
        result_of(transfers=[], notices=notices, pending_messages=pending_messages),
        lease,
        3600,
    )
    return lease


def rows(book: Book) -> list[Any]:
    """The outbox, oldest first."""
    with book.reading() as connection:
        return list(connection.execute(select(OUTBOX).order_by(OUTBOX.c.id)))


def taken(book: Book, lease: Lease, now_s: int) -> Delivery:
    """The parcel that is claimed, which must be there."""
    delivery = claim(book, lease, now_s)
    assert delivery is not None
    return delivery


@pytest.fixture
def book() -> Book:
    """An empty book in memory."""
    return Book.in_memory()


def test_messages_name_the_notice_that_the_same_commit_made(book: Book) -> None:
    """Each draft finds the number of its own new notice among several."""
    lease = kept(book, a_draft("s1"), a_draft("s2"), a_draft("s2", recipient=OPS))
    with book.reading() as connection:
        ids = {row.server_id: row.id for row in connection.execute(select(NOTICE))}
    assert [row.notice_id for row in rows(book)] == [ids["s1"], ids["s2"], ids["s2"]]
    assert f"cohortctl notices ack {ids['s1']}" in taken(book, lease, 3600).text


def test_a_message_says_what_was_true_when_it_was_queued(book: Book) -> None:
    """A deadline that moved before the delivery does not change the words that were queued."""
    lease = kept(book, a_draft())
    with book.writing() as connection:
        connection.execute(update(NOTICE).values(deadline_s=99_999))
    delivery = taken(book, lease, 4000)
    assert "1970-01-01T02:30:00Z, in 01:30:00" in delivery.text
    assert delivery.subject == "[acme] name-s1 stops Thu 1 Jan 1970 02:30 UTC"


def test_a_commit_that_fails_enqueues_nothing(book: Book) -> None:
    """Notice and message stand or fall together."""
    stale = Lease("b", 7, 10**6)
    with pytest.raises(StaleEpoch):
        commit(
            book, result_of(notices=[a_draft().notice], pending_messages=[a_draft()]), stale, 3600
        )
    assert rows(book) == []


def test_a_message_is_claimed_once_and_ends_sent(book: Book) -> None:
    """A claimed message is nobody else's, and a sent one comes never again."""
    lease = kept(book, a_draft())
    delivery = taken(book, lease, 3601)
    assert claim(book, lease, 3601) is None
    assert record_delivery(book, lease, delivery, SENT, 3602) == "sent"
    assert claim(book, lease, 10**6) is None
    assert [(row.state, row.attempts, row.ended_s) for row in rows(book)] == [("sent", 1, 3602)]


def test_a_dead_claim_is_taken_up_with_the_same_name(book: Book) -> None:
    """The sender never came back: after CLAIM_S, or under a new epoch, the same batch goes out."""
    lease = kept(book, a_draft())
    first = taken(book, lease, 3601)
    assert claim(book, lease, 3600 + CLAIM_TIMEOUT_S) is None
    again = taken(book, lease, 3601 + CLAIM_TIMEOUT_S)
    assert (again.batch, again.attempts) == (first.batch, 2)
    successor = acquire(book, "b", 10**5, 180)
    assert successor is not None and successor.epoch != lease.epoch
    third = taken(book, successor, 10**5)
    assert (third.batch, third.messages) == (first.batch, first.messages)
    with pytest.raises(StaleEpoch):
        record_delivery(book, lease, again, SENT, 10**5)


def test_a_channel_that_is_down_is_retried_with_patience_and_then_given_up(book: Book) -> None:
    """Retries double up to a bound; after the last the message has failed, and that is shown."""
    lease, now_s, waits = kept(book, a_draft()), 3600, []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        delivery = taken(book, lease, now_s)
        assert delivery.attempts == attempt
        outcome = record_delivery(book, lease, delivery, DOWN, now_s)
        assert outcome == ("retried" if attempt < MAX_ATTEMPTS else "failed")
        assert claim(book, lease, now_s) is None
        waits.append(retry_delay_s(attempt))
        now_s += waits[-1]
    assert waits[:4] == [30, 60, 120, 240] and max(waits) == 900
    assert claim(book, lease, 10**7) is None
    assert read_backlog(book, now_s).failed == 1
    assert [(row.state, row.detail) for row in rows(book)] == [("failed", "no route")]


def test_a_failure_holds_back_all_that_waits_for_the_same_channel(book: Book) -> None:
    """A hundred messages for a dead channel make one attempt, not a hundred; others go on."""
    pending_messages = [a_draft(f"s{n}") for n in range(100)]
    lease = kept(book, *pending_messages, a_draft("s1", recipient=OPS, audience="operator"))
    record_delivery(book, lease, taken(book, lease, 3600), DOWN, 3600)
    other = taken(book, lease, 3600)
    assert other.recipient == OPS
    record_delivery(book, lease, other, SENT, 3600)
    assert claim(book, lease, 3629) is None
    assert read_backlog(book, 3630).count == 100


def test_a_refusal_ends_at_once(book: Book) -> None:
    """What the channel will never take is not sent again."""
    lease = kept(book, a_draft())
    delivery = taken(book, lease, 3600)
    assert (
        record_delivery(book, lease, delivery, DeliveryResult("refused", "550 no such user"), 3600)
        == "failed"
    )
    assert claim(book, lease, 10**6) is None


def test_a_digest_joins_what_can_wait_for_one_recipient(book: Book) -> None:
    """Three calm messages go as one once the first is due; the urgent one goes alone, first."""
    calm = [a_draft(f"s{n}", is_urgent=False, due_s=4500 + n) for n in range(3)]
    others = a_draft("s1", is_urgent=False, due_s=4500, recipient=OPS, audience="operator")
    lease = kept(book, *calm, others, a_draft("s9"))
    urgent = taken(book, lease, 3600)
    assert len(urgent.messages) == 1
    record_delivery(book, lease, urgent, SENT, 3600)
    assert claim(book, lease, 4499) is None
    digest = taken(book, lease, 4500)
    assert [m.server_name for m in digest.messages] == ["name-s0", "name-s1", "name-s2"]
    assert digest.subject == "3 notices about acme"
    assert record_delivery(book, lease, digest, SENT, 4500) == "sent"
    assert len(taken(book, lease, 4500).messages) == 1


def test_a_digest_for_a_chat_is_small_and_holds_what_is_due(book: Book) -> None:
    """What is due goes first, with four more at most, in the order they were written; then on."""
    calm = {"is_urgent": False, "recipient": "discord://1/a"}
    pending_messages = [a_draft(f"s{n}", due_s=4500, **calm) for n in range(6)]
    lease = kept(book, *pending_messages, a_draft("s6", due_s=4000, **calm))
    digest = taken(book, lease, 4000)
    assert [m.server_name for m in digest.messages] == [f"name-s{n}" for n in (0, 1, 2, 3, 6)]
    record_delivery(book, lease, digest, SENT, 4000)
    assert len(taken(book, lease, 4500).messages) == 2


def test_a_retried_digest_is_the_same_digest(book: Book) -> None:
    """What arrives after the first attempt joins a later digest: one name, one content."""
    lease = kept(book, a_draft("s1", is_urgent=False), a_draft("s2", is_urgent=False))
    first = taken(book, lease, 3600)
    record_delivery(book, lease, first, DOWN, 3600)
    later = a_draft("s3", is_urgent=False, due_s=3631)
    commit(
        book, result_of(transfers=[], notices=[later.notice], pending_messages=[later]), lease, 3600
    )
    again = taken(book, lease, 3630)
    assert (again.batch, again.messages) == (first.batch, first.messages)


def test_a_cycle_does_not_stop_what_was_snoozed_meanwhile(book: Book) -> None:
    """The commit refuses to act on a deadline that a person moved while it decided."""
    lease = kept(book, a_draft())
    with book.writing() as connection:
        connection.execute(NOTICE.update().values(deadline_s=9999))
    due = a_notice("s1", id=1, deadline_s=9000, state="executing")
    with pytest.raises(StaleNotice):
        commit(book, result_of(transfers=[], notices=[due]), lease, 9000)
