"""Refunds and transfers: give charged credits back, or move credits between startups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from quotas.book.actions.action import ActionAnswer, ActionContext, ActionEffects, refuse_above
from quotas.book.actions.grant_terms import moved_grant_rows
from quotas.book.cycle.state import read_grants
from quotas.book.reads.charges import read_charges
from quotas.book.schema.tables import RUN
from quotas.ledger.balance import by_startup
from quotas.ledger.corrections import (
    Refused,
    expire_refunds,
    move_transfer,
    refund_transfers,
    transfer_parts,
)
from quotas.ledger.transfers import Transfer
from quotas.model.units import Period, format_credits, format_instant


@dataclass(frozen=True, slots=True)
class RefundCommand:
    """Return every charged second within [from_s, to_s) of a server, a startup, or a whole zone."""

    from_s: int
    to_s: int
    server: str | None = None
    startup: str | None = None
    zone: str | None = None

    def effects(self, context: ActionContext) -> ActionEffects:
        """A refund for each charge, and an expiry for what returns to an ended grant."""
        window, now_s = Period(self.from_s, self.to_s), context.now_s
        startups = self._startups(context)
        self._refuse_before_cohorts(context, startups)
        grants = {grant.account: grant for grant in read_grants(context.connection)}
        refunds = [
            refund
            for charge in read_charges(context.connection, startups, window, self.server, self.zone)
            for refund in refund_transfers(charge, window, now_s, context.reason)
        ]
        what = self._subject
        if not refunds:
            raise Refused(
                f"nothing charged to {what} from {format_instant(self.from_s)} to "
                f"{format_instant(self.to_s)} is left to refund; seconds are refunded once, and "
                "only after they are charged"
            )
        lost = [each for refund in refunds for each in expire_refunds(refund, grants, now_s)]
        whole = _sums(refunds, lost)
        own, own_lost = by_startup(refunds), by_startup(lost)
        each = {name: _sums(own[name], own_lost.get(name, [])) for name in sorted(own)}
        parts = ", ".join(f"{name} {sums['refunded']}" for name, sums in each.items())
        answer = {
            **whole,
            "startups": each,
            "to": _returned_by_account(refunds),
            "sentence": f"{whole['refunded']} credits for {whole['seconds']} s of {what} go back "
            "to where they were drawn"
            + f"; {whole['expired']} of them expire, because their grants have ended" * bool(lost)
            + f": {parts}" * (self.zone is not None),
        }
        return ActionEffects((*refunds, *lost), answer)

    @property
    def _subject(self) -> str:
        return f"server {self.server}" if self.server else self.startup or f"zone {self.zone}"

    def _startups(self, context: ActionContext) -> list[str]:
        """The startup named, or those that ran the server or something in the zone."""
        if self.startup is not None:
            context.grants_of(self.startup)
            return [self.startup]
        named = RUN.c.server_id == self.server if self.server else RUN.c.zone == self.zone
        ran = select(RUN.c.startup).where(named).distinct()
        startups = sorted(context.connection.scalars(ran))
        if not startups and self.server:
            raise Refused(f"no server {self.server} ever ran; 'cohortd explain STARTUP' names them")
        if not startups:
            found = context.connection.scalars(select(RUN.c.zone).distinct())
            zones = ", ".join(sorted(found)) or "no zone"
            raise Refused(f"no server ever ran in zone {self.zone}; servers ran in {zones}")
        return startups

    def _refuse_before_cohorts(self, context: ActionContext, startups: list[str]) -> None:
        program = context.program
        members = [startup for name in startups if (startup := program.startup(name))]
        first = min(members, key=lambda m: program.cohort(m.cohort).starts_s, default=None)
        if first and self.from_s < program.cohort(first.cohort).starts_s:
            raise context.before_cohort_start("--from", self.from_s, first)


@dataclass(frozen=True, slots=True)
class TransferCommand:
    """Move credits of one startup to another of its cohort."""

    sender: str
    to: str
    amount_ucr: int

    def effects(self, context: ActionContext) -> ActionEffects:
        """One transfer for all parts, each of which becomes a grant of the receiver."""
        own = context.grants_of(self.sender)
        receiver = context.startup(self.to)
        if receiver.name == self.sender:
            raise Refused(f"{self.sender} cannot transfer credits to itself; name another startup")
        same = [grant for grant in own if grant.cohort == receiver.cohort]
        if len(same) < len(own):
            raise Refused(
                f"{self.to} is in cohort {receiver.cohort} and {self.sender} is not; void and "
                "grant instead"
            )
        of = (
            f"that {self.sender} has available; usage not yet charged, holds and the reserve are "
            "set aside: transfer at most that"
        )
        refuse_above(self.amount_ucr, context.available_ucr(self.sender), of)
        now_s = context.now_s
        parts = transfer_parts(same, self.to, self.amount_ucr, now_s, context.next_transfer_id)
        moved = move_transfer(parts, context.key, now_s, context.reason)
        drawn = ", ".join(
            f"{format_credits(p.destination.granted_ucr)} of {p.source.id} as {p.destination.id}"
            for p in parts
        )
        amount = format_credits(self.amount_ucr)
        answer = {
            "from": self.sender,
            "to": self.to,
            "moved": amount,
            "parts": [
                {
                    "from_grant": part.source.id,
                    "to_grant": part.destination.id,
                    "credits": format_credits(part.destination.granted_ucr),
                    "expires": format_instant(part.destination.expires_s),
                }
                for part in parts
            ],
            "sentence": f"{amount} credits from {self.sender} to {self.to}: {drawn}",
        }
        return ActionEffects((moved,), answer, moved_grant_rows(context.connection, parts))


def _sums(refunds: Sequence[Transfer], lost: Sequence[Transfer]) -> ActionAnswer:
    """The number of charges and seconds, the credits refunded, and those that expire at once."""
    return {
        "charges": len({refund.detail["charge"] for refund in refunds}),
        "seconds": sum(int(r.detail["end_s"]) - int(r.detail["start_s"]) for r in refunds),
        "refunded": format_credits(-sum(refund.entries[0].amount_ucr for refund in refunds)),
        "expired": format_credits(sum(each.entries[1].amount_ucr for each in lost)),
    }


def _returned_by_account(refunds: Sequence[Transfer]) -> dict[str, str]:
    back: Counter[str] = Counter()
    for entry in (entry for refund in refunds for entry in refund.entries[1:]):
        back[entry.account] += entry.amount_ucr
    return {account: format_credits(ucr) for account, ucr in sorted(back.items())}
