"""Delivery of messages by the leader, one claimed delivery at a time, beside the cycle.

The port that is handed in does the sending; here is what precedes and follows it. Between
claim and result there is no transaction open, and a crash there sends the same batch again.
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
"""The longest a sending may take, which `deliver` keeps to; it needs that much lease left."""
DELIVERIES_PER_RUN = 200

log = structlog.get_logger()


class Deliver(Protocol):
    """How a parcel is sent; it raises nothing, and says how it ended."""

    def __call__(self, delivery: Delivery) -> DeliveryResult:
        """Send a parcel once."""


class DeliveryMetrics(Protocol):
    """Who counts what becomes of messages."""

    def delivery(self, outcome: str) -> None:
        """A sending ended: sent, retried or failed."""

    def outbox(self, found: OutboxBacklog, now_s: int) -> None:
        """What is due and unsent now."""


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
        """Send what is due; returns how many parcels were tried. Raises nothing of the book's."""
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
        """Begin nothing new; the sending under way ends within its timeouts."""
        self._stopped.set()

    def _count(self) -> None:
        """Tell what waits, before each sending and after it: one may take its whole budget."""
        if self._leads() is not None:
            now_s = self.clock.now_s()
            self.metrics.outbox(read_backlog(self.book, now_s), now_s)

    def _leads(self) -> Lease | None:
        """The lease, where enough of it is left for a sending."""
        lease = self.lease()
        now_s, monotonic_s = self.clock.now_s(), int(self.clock.monotonic())
        left_s = lease.left_s(now_s, monotonic_s) if lease else 0
        return lease if left_s >= SEND_BUDGET_S else None

    def _next(self) -> bool:
        """Send one parcel; False when there is none, or we do not lead."""
        lease = self._leads()
        delivery = claim(self.book, lease, self.clock.now_s()) if lease else None
        if lease is None or delivery is None:
            return False
        if delivery.attempts > MAX_ATTEMPTS:
            delivery_result = DeliveryResult(
                "refused", "given up: no attempt at it ever came to an end"
            )
        else:
            delivery_result = self.deliver(delivery)
        outcome = record_delivery(self.book, lease, delivery, delivery_result, self.clock.now_s())
        self.metrics.delivery(outcome)
        log_outcome = log.info if outcome == "sent" else log.warning
        to, detail = mask_contact(delivery.recipient), delivery_result.detail
        log_outcome(f"message.{outcome}", batch=delivery.batch, to=to, detail=detail)
        return True
