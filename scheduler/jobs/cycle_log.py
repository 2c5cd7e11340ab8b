"""The log of a cycle: chain heads, decisions, and the alarms that are new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import structlog

from quotas.enforcement.invariants import InvariantBroken
from quotas.ledger.chain_heads import ChainHead
from quotas.messages.catalogue import decision_text
from quotas.state.snapshot import Decision

log = structlog.get_logger()


class CycleLog:
    """Logs what a cycle did, and remembers the alarms of the cycle before."""

    def __init__(self) -> None:
        self._alarms: frozenset[str] = frozenset()

    def log_commit(self, chain_heads: Iterable[ChainHead], decisions: Iterable[Decision]) -> None:
        """Log what a commit wrote."""
        for head in chain_heads:
            log.info("book.chain_head", **asdict(head))
        for decision in decisions:
            log.info(
                f"decision.{decision.verb}",
                startup=decision.startup,
                server=decision.server_id,
                rule=decision.rule,
                reason=decision_text(decision),
            )

    def log_broken_invariant(self, error: InvariantBroken) -> None:
        """Log that `decide` refused its own result: a defect of cohortd, to be reported."""
        log.error("decide.invariant_broken", invariant=str(error))

    def log_alarms(self, alarms: Iterable[str]) -> None:
        """Log the alarms that the cycle before did not have."""
        now = frozenset(alarms)
        for alarm in sorted(now - self._alarms):
            log.warning("alarm.raised", text=alarm)
        self._alarms = now
