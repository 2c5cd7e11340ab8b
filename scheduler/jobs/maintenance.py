"""Jobs beside the cycle: they verify the book, and look for ways around a closing.

They share one worker of their own, so that none delays a cycle. None writes to the book.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from quotas.book.cycle.state import load_state
from quotas.book.session import Address, Book, BookError, BookUnreachable
from quotas.book.verify.verify import verify
from quotas.iam.bypasses import bypasses
from quotas.iam.closing import projects_at
from scheduler.checks.permissions import PERMISSION_SETS
from scheduler.clock import Clock
from scheduler.clouds.base import CloudError
from scheduler.clouds.permissions import Permissions

VERIFY_EVERY_S = 6 * 3600
BYPASSES_EVERY_S = 3600
HEARTBEAT_EVERY_S = 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MaintenanceJob:
    """A job that runs every `every_s` seconds."""

    name: str
    every_s: int
    run: Callable[[], None]


def verification_job(location: Path | Address, report: Callable[[int], None]) -> MaintenanceJob:
    """Check the book as `cohortd verify` does, through a connection that cannot write."""

    def run() -> None:
        try:
            book = Book.open_read_only(location)
        except BookUnreachable as error:
            # No verdict on a database that does not answer: failed cycles have their own alarm.
            log.error("book.unreachable", error=str(error))
            return
        except BookError as error:
            log.error("book.unreadable", error=str(error))
            report(0)
            return
        try:
            verdict = verify(book)
        finally:
            book.close()
        if verdict.fault is not None:
            log.error("book.fault", fault=verdict.fault)
        report(1 if verdict.fault is None else 0)

    return MaintenanceJob("verification", VERIFY_EVERY_S, run)


def bypass_job(
    book: Book,
    clock: Clock,
    permissions: Callable[[], Permissions | None],
    report: Callable[[int], None],
) -> MaintenanceJob:
    """Count the principals that could start servers of a closed startup; 0 without an IAM key."""

    def run() -> None:
        reached, program = permissions(), load_state(book).program
        if reached is None or program is None:
            report(0)
            return
        try:
            policies = reached.policies()
            principals = [each for kind in PERMISSION_SETS for each in reached.principals(kind)]
        except CloudError as error:
            log.warning("iam.bypasses_unknown", error=str(error))
            return
        projects = projects_at(program, clock.now_s())
        report(sum(not each.is_startups for each in bypasses(policies, principals, projects)))

    return MaintenanceJob("bypasses", BYPASSES_EVERY_S, run)
