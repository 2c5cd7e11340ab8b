"""Verify holds: each was placed on credits that outlive it, and ended exactly once (I8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, select

from quotas.book.schema.tables import HOLD
from quotas.ledger.holds import ENDED_BY, HoldEnding, HoldState, held_account, settled_account
from quotas.ledger.recorded import PostedTransfer

HOLD_KINDS = frozenset({"hold", *HoldEnding})


@dataclass(slots=True)
class _AuditedHold:
    startup: str
    placed_s: int
    expires_s: int
    draws: tuple[tuple[str, int], ...]
    amount_ucr: int
    state: HoldState = HoldState.OPEN
    settled_ucr: int = 0


_COMPARED = attrgetter("startup", "amount_ucr", "state", "settled_ucr")


class HoldAudit:
    """Follows every hold from its placing to its end; memory grows with the number of holds.

    `terms` are the first and last instant of each grant, by account.
    """

    def __init__(self, terms: Mapping[str, tuple[int, int]]) -> None:
        self._terms = terms
        self._holds: dict[str, _AuditedHold] = {}

    def fault(self, posted: PostedTransfer, detail: Mapping[str, Any]) -> str | None:
        """The first thing that is wrong with a hold's transfer, or None."""
        if posted.kind == "hold":
            return self._place(posted, detail)
        return self._end(posted, detail)

    def _place(self, posted: PostedTransfer, detail: Mapping[str, Any]) -> str | None:
        id, expires_s = detail["hold"], detail["expires_s"]
        *drawn, (account, amount_ucr) = posted.entries
        if id in self._holds or account != held_account(posted.startup, id):
            return f"places hold {id}, which was placed before or is another's"
        for source, ucr in drawn:
            terms = self._terms.get(source)
            if ucr >= 0 or terms is None:
                return f"sets credits of {source} aside, which is no grant that gives any"
            if not terms[0] <= posted.at_s < expires_s <= terms[1]:
                return f"sets credits of {source} aside, which hold {id} would outlive"
        draws = tuple((source, -ucr) for source, ucr in drawn)
        self._holds[id] = _AuditedHold(posted.startup, posted.at_s, expires_s, draws, amount_ucr)
        return None

    def _end(self, posted: PostedTransfer, detail: Mapping[str, Any]) -> str | None:
        id = detail["hold"]
        hold = self._holds.get(id)
        if hold is None or hold.startup != posted.startup:
            return f"ends hold {id}, which was never placed"
        if hold.state is not HoldState.OPEN:
            return f"ends hold {id}, which was {hold.state} already"
        if posted.at_s < hold.placed_s or (
            posted.kind == HoldEnding.EXPIRY and posted.at_s != hold.expires_s
        ):
            return f"ends hold {id} at an instant at which it could not end so"
        settled = settled_account(hold.startup)
        settled_ucr = sum(ucr for account, ucr in posted.entries if account == settled)
        due = [(held_account(hold.startup, id), -hold.amount_ucr)]
        due += [(settled, settled_ucr)] if settled_ucr else []
        if settled_ucr < 0 or (settled_ucr and posted.kind != HoldEnding.SETTLE):
            return f"settles {settled_ucr} ucr of hold {id}"
        if list(posted.entries) != due + _returned(hold, hold.amount_ucr - settled_ucr):
            return f"does not return what hold {id} drew"
        hold.state, hold.settled_ucr = ENDED_BY[HoldEnding(posted.kind)], settled_ucr
        return None

    def missing(self, connection: Connection) -> str | None:
        """The first hold whose row differs from its transfers, or None."""
        for row in connection.execute(select(HOLD).order_by(HOLD.c.id)):
            hold = self._holds.pop(row.id, None)
            if hold is None or _COMPARED(row) != _COMPARED(hold):
                return f"the hold {row.id} is not as its transfers say"
        return f"the hold {min(self._holds)} is not in the table" if self._holds else None


def _returned(hold: _AuditedHold, left_ucr: int) -> list[tuple[str, int]]:
    """What returns of a hold: to the last drawn first, to none more than it gave."""
    back = []
    for account, drawn_ucr in reversed(hold.draws):
        part_ucr = min(drawn_ucr, left_ucr)
        if part_ucr:
            back.append((account, part_ucr))
            left_ucr -= part_ucr
    return back
