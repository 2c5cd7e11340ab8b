"""Grants: give credits to a startup, void what is left of a grant, and confirm a milestone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import select

from quotas.book.actions.action import ActionContext, ActionEffects
from quotas.book.actions.grant_terms import (
    future_grants_ucr,
    grant_row,
    granted_total_ucr,
    startup_with_grant,
)
from quotas.book.schema.tables import GRANT, TRANSFER
from quotas.ledger.corrections import Refused, void_transfer
from quotas.ledger.tranches import Part, belongs_to, milestones
from quotas.ledger.transfers import GrantBalance, grant_transfer
from quotas.model.program import Grant
from quotas.model.units import format_credits, format_instant


@dataclass(frozen=True, slots=True)
class GrantCommand:
    """Give credits to a startup. Without instants they last from now to the cohort's end."""

    startup: str
    id: str
    amount_ucr: int
    category: str = "sponsor"
    priority: int = 0
    effective_s: int | None = None
    expires_s: int | None = None

    def effects(self, context: ActionContext) -> ActionEffects:
        """A new grant with its transfer. Raises Refused."""
        startup = context.startup(self.startup)
        holder = startup_with_grant(context.connection, context.program, self.id)
        if holder is not None:
            raise Refused(f"--id {self.id} is a grant of {holder} already; choose a new id")
        cohort = context.program.cohort(startup.cohort)
        effective_s = self.effective_s
        if effective_s is None:
            effective_s = max(context.now_s, cohort.starts_s)
        expires_s = cohort.ends_s if self.expires_s is None else self.expires_s
        if effective_s < cohort.starts_s:
            raise context.before_cohort_start("--effective", effective_s, startup)
        if expires_s <= max(effective_s, context.now_s):
            raise Refused(
                f"the grant would end at {format_instant(expires_s)}, before anything can be spent "
                "from it; give a later --expires"
            )
        _refuse_above_budget(context, self.amount_ucr)
        made = grant_transfer(cohort.name, startup.name, self.id, self.amount_ucr, effective_s)
        part = Part(self.id, self.amount_ucr, effective_s, expires_s)
        row = grant_row(startup.name, cohort.name, part, self.category, self.priority)
        granted, effective = format_credits(self.amount_ucr), format_instant(effective_s)
        answer = {
            "startup": startup.name,
            "grant": self.id,
            "granted": granted,
            "effective": effective,
            "expires": format_instant(expires_s),
            "sentence": f"grant {self.id} of {granted} credits to {startup.name}, "
            f"from {effective} to {format_instant(expires_s)}",
        }
        return ActionEffects((replace(made, reason=context.reason),), answer, (row,))


@dataclass(frozen=True, slots=True)
class VoidCommand:
    """Return what is left of a grant, with all its tranches, to the sponsor."""

    startup: str
    grant: str

    def effects(self, context: ActionContext) -> ActionEffects:
        """One transfer from every part of the grant. Raises Refused."""
        parts = parts_of_grant(context, self.startup, self.grant)
        made = void_transfer(self.grant, parts, context.key, context.now_s, context.reason)
        left_ucr = made.entries[-1].amount_ucr
        names = {part.id for part in parts}
        # A tranche's amount already includes what was advanced from it.
        granted_ucr = sum(p.granted_ucr for p in parts if p.id.rpartition(".")[0] not in names)
        granted, voided = format_credits(granted_ucr), format_credits(left_ucr)
        used = format_credits(granted_ucr - left_ucr)
        answer = {
            "startup": self.startup,
            "grant": self.grant,
            "granted": granted,
            "used": used,
            "voided": voided,
            "sentence": f"{voided} of grant {self.grant} of {self.startup} go back to "
            f"the sponsor; {used} of {granted} were used before",
        }
        return ActionEffects((made,), answer)


@dataclass(frozen=True, slots=True)
class MilestoneCommand:
    """Confirm that a milestone was reached: its tranche is credited now."""

    startup: str
    grant: str
    milestone: str

    def effects(self, context: ActionContext) -> ActionEffects:
        """The milestone's tranche as a part of its grant, in force from now on. Raises Refused."""
        grant = self._grant(context)
        known = milestones(grant)
        if self.milestone not in known:
            names = ", ".join(known) or "none"
            raise Refused(f"grant {grant.id} has no milestone {self.milestone!r}; it has {names}")
        id, tranche = known[self.milestone]
        ends_s = grant.expires_s if tranche.by_s is None else tranche.by_s
        self._refuse_settled(context, grant, id, ends_s)
        now_s, cohort = context.now_s, context.startup(self.startup).cohort
        made = grant_transfer(cohort, self.startup, id, tranche.amount_ucr, now_s)
        part = Part(id, tranche.amount_ucr, now_s, grant.expires_s)
        row = grant_row(self.startup, cohort, part, grant.category, grant.priority)
        credits, expires = format_credits(tranche.amount_ucr), format_instant(grant.expires_s)
        answer = {
            "startup": self.startup,
            "grant": id,
            "milestone": self.milestone,
            "granted": credits,
            "effective": format_instant(now_s),
            "expires": expires,
            "sentence": f"milestone {self.milestone} of {self.startup} is confirmed: {credits} "
            f"credits as {id}, until {expires}",
        }
        return ActionEffects((replace(made, reason=context.reason),), answer, (row,))

    def _grant(self, context: ActionContext) -> Grant:
        """The grant in the program. Raises Refused."""
        grants = {grant.id: grant for grant in context.startup(self.startup).grants}
        if self.grant in grants:
            return grants[self.grant]
        known = ", ".join(grants) or "none"
        raise Refused(f"{self.startup} has no grant {self.grant} in the program; it has {known}")

    def _refuse_settled(self, context: ActionContext, grant: Grant, part: str, ends_s: int) -> None:
        """Raises Refused if the milestone is confirmed, its grant voided, or its time over."""
        posted = select(GRANT.c.id).where(GRANT.c.grant_id == part)
        if context.connection.scalar(posted) is not None:
            raise Refused(f"milestone {self.milestone} of {grant.id} was confirmed already")
        key = TRANSFER.c.key.startswith(f"void:{self.startup}:{grant.id}:", autoescape=True)
        if context.connection.scalar(select(TRANSFER.c.id).where(key).limit(1)) is not None:
            raise Refused(f"grant {grant.id} was voided; grant {self.milestone} under a new id")
        if not grant.effective_s <= context.now_s < ends_s:
            begins, ends = format_instant(grant.effective_s), format_instant(ends_s)
            raise Refused(
                f"milestone {self.milestone} can be confirmed from {begins} until {ends}; grant "
                "the credits under a new id instead"
            )


def parts_of_grant(context: ActionContext, startup: str, grant: str) -> list[GrantBalance]:
    """A grant or tranche as the book has it, with all its parts. Raises Refused."""
    own = context.grants_of(startup)
    parts = [each for each in own if belongs_to(each.id, grant)]
    if not parts:
        known = ", ".join(each.id for each in own) or "none"
        raise Refused(f"{startup} has no grant {grant}; it has {known}")
    return parts


def _refuse_above_budget(context: ActionContext, amount_ucr: int) -> None:
    coming_ucr = future_grants_ucr(context.connection, context.program, context.now_s)
    granted_ucr = granted_total_ucr(context.connection, context.program)
    left_ucr = context.program.budget_ucr - granted_ucr - coming_ucr
    if amount_ucr > left_ucr:
        kept = f", with {format_credits(coming_ucr)} kept for milestones to come" * bool(coming_ucr)
        raise Refused(
            f"{format_credits(amount_ucr)} more would bring the grants above the program's "
            f"budget of {format_credits(context.program.budget_ucr)}; at most "
            f"{format_credits(max(0, left_ucr))} remain{kept}"
        )
