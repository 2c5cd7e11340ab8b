"""Advances: let a part of a tranche that has not begun be spent now.

An operator advances what it decides. A startup takes a part of its next tranche ahead by
itself, once for each tranche, as far as `policy.self_advance` allows. The part is a grant of
its own, which ends and rolls over as the tranche does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from quotas.book.actions.action import (
    ActionAnswer,
    ActionContext,
    ActionEffects,
    OperatorAction,
    program_in_force,
    refuse_above,
)
from quotas.book.actions.execute import perform_in_transaction
from quotas.book.actions.grant_terms import moved_grant_rows
from quotas.book.actions.grants import parts_of_grant
from quotas.book.cycle.commit import decision_row
from quotas.book.cycle.outbox import enqueue
from quotas.book.cycle.state import read_startup_grants
from quotas.book.reads.transfers import newest_transfer_id
from quotas.book.rows import add_row, insert_value
from quotas.book.schema.records import DecisionRow, NoticeRow
from quotas.book.schema.tables import TRANSFER
from quotas.book.session import Book
from quotas.decisions.record import make_decision
from quotas.decisions.verbs import SelfAdvance
from quotas.ledger.corrections import Refused, move_transfer, split_grants
from quotas.ledger.tranches import next_tranches
from quotas.ledger.transfers import GrantBalance
from quotas.messages.routing import messages_for_notice
from quotas.model.program import Mode
from quotas.model.units import Period, format_credits, format_instant, parse_credits, parse_instant
from quotas.state.notices import Notice, NoticeState

PPM = 1_000_000
RULE = "advance"
SELF_ADVANCE_REASON = "taken ahead by the startup itself"


@dataclass(frozen=True, slots=True)
class AdvanceCommand:
    """Let the next tranche of a grant, or a part of it, be spent now."""

    startup: str
    grant: str
    amount_ucr: int | None = None

    def effects(self, context: ActionContext) -> ActionEffects:
        """A part of the first tranche that has not begun. Raises Refused."""
        parts = parts_of_grant(context, self.startup, self.grant)
        later = [e for e in parts if e.effective_s > context.now_s and e.left_ucr > 0]
        if not later:
            raise Refused(
                f"grant {self.grant} has no tranche that begins later; 'cohortd milestone' "
                "confirms one that waits for a milestone"
            )
        source = min(later, key=lambda each: (each.effective_s, each.id))
        amount_ucr = source.left_ucr if self.amount_ucr is None else self.amount_ucr
        refuse_above(amount_ucr, source.left_ucr, f"in tranche {source.id}; advance at most that")
        return _advanced(context, source, amount_ucr)


@dataclass(frozen=True, slots=True)
class SelfAdvanceCommand:
    """A startup takes a part of the next tranche of a grant ahead.

    Without a grant it is the tranche that begins first; without an amount, all that is allowed.
    """

    startup: str
    grant: str | None = None
    amount_ucr: int | None = None

    def effects(self, context: ActionContext) -> ActionEffects:
        """A part of the next tranche, as far as the policy allows. Raises Refused.

        The transfer's key names the tranche, so the book cannot take a second one either.
        """
        term = self._term(context)
        if self.amount_ucr is not None and self.amount_ucr <= 0:
            raise Refused(
                f"{format_credits(self.amount_ucr)} credits cannot be taken ahead: give an amount "
                "above zero, or none for all that is allowed"
            )
        source, most_ucr = self._takeable(context, term)
        amount_ucr = most_ucr if self.amount_ucr is None else self.amount_ucr
        of = f"of tranche {source.id} that can be taken ahead; take at most that"
        refuse_above(amount_ucr, most_ucr, of)
        made = _advanced(context, source, amount_ucr)
        (moved,), left = made.transfers, format_credits(source.left_ucr - amount_ucr)
        begins, ends = format_instant(source.effective_s), made.answer["expires"]
        sentence = (
            f"{format_credits(amount_ucr)} credits of tranche {source.id} can be "
            f"spent now, until {ends}; {left} remain in the tranche, which begins at {begins}"
        )
        answer = made.answer | {"most": format_credits(most_ucr), "remaining": left}
        answer |= {"number": context.next_transfer_id, "begins": begins, "sentence": sentence}
        return replace(made, transfers=(replace(moved, key=_ahead_key(source)),), answer=answer)

    def _term(self, context: ActionContext) -> Period:
        """From now to the end of the startup's cohort. Raises Refused if nothing may be taken."""
        program, now_s = context.program, context.now_s
        startup = program.startup(self.startup)
        if startup is None:
            raise Refused(f"{self.startup} is not in the program any more: ask its operators")
        cohort = program.cohort(startup.cohort)
        if not program.policy.self_advance_ppm:
            raise Refused("this program lets startups take nothing ahead: ask its operators")
        if now_s < cohort.starts_s:
            starts = format_instant(cohort.starts_s)
            raise Refused(f"nothing can be taken ahead before your cohort starts, at {starts}")
        return Period(now_s, max(now_s, cohort.ends_s))

    def _takeable(self, context: ActionContext, term: Period) -> tuple[GrantBalance, int]:
        """The tranche to take from, and how much at most. Raises Refused."""
        own = read_startup_grants(context.connection, self.startup)
        known = dict.fromkeys(grant.id.partition("/")[0] for grant in own)
        if self.grant is not None and self.grant not in known:
            names = ", ".join(known) or "none"
            raise Refused(f"{self.startup} has no grant {self.grant}; it has {names}")
        problems = []
        for source in next_tranches(own, term):
            if self.grant not in (None, source.id.partition("/")[0]):
                continue
            allowed_ucr = source.granted_ucr * context.program.policy.self_advance_ppm // PPM
            most_ucr = min(source.left_ucr, allowed_ucr)
            taken = select(TRANSFER.c.id).where(TRANSFER.c.key == _ahead_key(source))
            if context.connection.scalar(taken) is not None:
                problems.append(
                    f"a part of tranche {source.id} was taken ahead before, and that is possible "
                    "once for each tranche: ask the operators for more"
                )
            elif most_ucr == 0:
                problems.append(f"nothing of tranche {source.id} is left to take ahead")
            else:
                return source, most_ucr
        problems.append(
            f"no tranche of {self.grant or self.startup} is to come: ask the operators for more"
        )
        raise Refused(problems[0])


def take_ahead(
    book: Book, command: SelfAdvanceCommand, actor: str, now_s: int, key: str | None = None
) -> ActionAnswer:
    """Let a startup take a part of its next tranche ahead, once for each key. Raises Refused.

    The transfer, the decision and the messages are one transaction, so none of them is ever
    there without the others. The same key repeats the first answer and writes nothing.
    """
    with book.writing() as connection:
        before = newest_transfer_id(connection)
        action = OperatorAction(command, SELF_ADVANCE_REASON, actor, now_s, key)
        answer = perform_in_transaction(connection, action)
        if newest_transfer_id(connection) != before:
            _announce(connection, answer, actor, now_s)
        return answer


def _advanced(context: ActionContext, source: GrantBalance, amount_ucr: int) -> ActionEffects:
    """A part of a tranche as a grant of its own from now on."""
    now_s, next_id = context.now_s, context.next_transfer_id
    parts = split_grants([source], source.startup, amount_ucr, now_s, next_id)
    moved = move_transfer(parts, context.key, now_s, context.reason, kind="advance")
    destination, advanced = parts[0].destination, format_credits(amount_ucr)
    answer = {
        "startup": source.startup,
        "from_grant": source.id,
        "to_grant": destination.id,
        "advanced": advanced,
        "expires": format_instant(destination.expires_s),
        "sentence": f"{advanced} credits of {source.id} of {source.startup} "
        f"can be spent now, as {destination.id}, instead of from "
        f"{format_instant(source.effective_s)}",
    }
    return ActionEffects((moved,), answer, moved_grant_rows(context.connection, parts))


def _ahead_key(source: GrantBalance) -> str:
    """The key of the transfer by which a startup takes a part of a tranche ahead."""
    return f"self-advance:{source.startup}:{source.id}"


def _announce(connection: Connection, answer: ActionAnswer, actor: str, now_s: int) -> None:
    """Record the decision, and put a message for each channel into the outbox.

    The credits moved in shadow mode too, so shadow mode sends the messages. Mode off sends none.
    """
    program, begins_s = program_in_force(connection), parse_instant(answer["begins"])
    facts = SelfAdvance(
        startup=answer["startup"],
        actor=actor,
        tranche=answer["from_grant"],
        amount_ucr=parse_credits(answer["advanced"]),
        most_ucr=parse_credits(answer["most"]),
        left_ucr=parse_credits(answer["remaining"]),
        begins_s=begins_s,
    )
    episode = f"{RULE}:{answer['from_grant']}"
    decision = make_decision((answer["startup"], ""), RULE, RULE, episode, facts)
    add_row(connection, DecisionRow(**decision_row(decision, Mode.ENFORCE, now_s)))
    if program.mode is Mode.OFF:
        return
    of = (answer["startup"], "", "", "", RULE, episode, Mode.ENFORCE, now_s, begins_s)
    notice = Notice(*of, decision.inputs, NoticeState.ANNOUNCED)
    notice = insert_value(connection, NoticeRow, notice)
    enqueue(connection, messages_for_notice(program, notice, "announced", now_s), now_s)
