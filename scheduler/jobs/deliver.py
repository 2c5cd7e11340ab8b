"""Delivery of messages by the leader, one claimed delivery at a time, beside the cycle.

A claim precedes each sending, and a record follows it. No transaction is open in between, and a
crash there sends the same batch again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError

from quotas.book.cycle.lease import Lease, StaleEpoch
from quotas.book.cycle.outbox import (
    MAX_ATTEMPTS,
    OutboxBacklog,
    claim,
    read_backlog,
    record_delivery,
)
from quotas.book.session import Book
from quotas.messages.routing import Delivery, DeliveryResult
from quotas.model.contacts import mask_contact
from scheduler.clock import Clock

SEND_BUDGET_S = 60
"""The longest that a sending takes; each needs that much lease left."""
DELIVERIES_PER_RUN = 200

log = structlog.get_logger()


Deliver = Callable[[Delivery], DeliveryResult]
"""Sends one delivery once; it raises nothing, and returns how the sending ended."""


class DeliveryMetrics(Protocol):
    """The counters of deliveries."""

    def delivery(self, outcome: str) -> None:
        """A sending ended: sent, retried or failed."""

    def outbox(self, found: OutboxBacklog, now_s: int) -> None:
        """The messages that are due and unsent now."""


class DeliveryWorker:
    """One daemon's deliveries; `run` sends what is due, until `stop` or nothing is left."""

    def __init__(
        self,
        *,
        book: Book,
        clock: Clock,
        lease: Callable[[], Lease | None],
        deliver: Deliver,
        metrics: DeliveryMetrics,
    ) -> None:
        self.book, self.clock, self.lease = book, clock, lease
        self.deliver, self.metrics = deliver, metrics
        self._stopped = threading.Event()

    def run(self) -> int:
        """Send what is due; returns how many deliveries were tried. Never raises a book's error."""
        try:
            tried = 0
            self._count()
            while tried < DELIVERIES_PER_RUN and not self._stopped.is_set() and self._next():
                tried += 1
                self._count()
        except StaleEpoch:
            log.info("delivery.lease_lost")
        except SQLAlchemyError as error:
            log.warning("delivery.book_failed", error=str(error.args[0]))
        return tried

    def stop(self) -> None:
        """Start no further sending; the one under way ends within its timeouts."""
        self._stopped.set()

    def _count(self) -> None:
        """Count what waits before and after each sending, because one may take a minute."""
        if self._leads() is not None:
            now_s = self.clock.now_s()
            self.metrics.outbox(read_backlog(self.book, now_s), now_s)

    def _leads(self) -> Lease | None:
        """The lease, if enough of it is left for a sending."""
        lease = self.lease()
        now_s, monotonic_s = self.clock.now_s(), int(self.clock.monotonic())
        left_s = lease.left_s(now_s, monotonic_s) if lease else 0
        return lease if left_s >= SEND_BUDGET_S else None

    def _next(self) -> bool:
        """Send one delivery; False if there is none, or another daemon leads."""
        lease = self._leads()
        delivery = claim(self.book, lease, self.clock.now_s()) if lease else None
        if lease is None or delivery is None:
            return False
        result = DeliveryResult("refused", "given up: no attempt at it ever came to an end")
        if delivery.attempts <= MAX_ATTEMPTS:
            result = self.deliver(delivery)
        outcome = record_delivery(self.book, lease, delivery, result, self.clock.now_s())
        self.metrics.delivery(outcome)
        log_outcome = log.info if outcome == "sent" else log.warning
        to = mask_contact(delivery.recipient)
        log_outcome(f"message.{outcome}", batch=delivery.batch, to=to, detail=result.detail)
        return True
