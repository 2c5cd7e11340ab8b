"""Self-advance: a startup takes a part of its next tranche ahead, and everybody hears of it.

The transfer, the decision and the messages are one transaction, so that none of them is ever
there without the others. The same key repeats the first answer and writes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from sqlalchemy import Connection

from quotas.book.actions.commands import OperatorAction, SelfAdvanceCommand
from quotas.book.actions.context import ActionAnswer
from quotas.book.actions.execute import perform_in_transaction
from quotas.book.cycle.commit import decision_row
from quotas.book.cycle.outbox import enqueue
from quotas.book.cycle.state import read_program
from quotas.book.reads.transfers import newest_transfer_id
from quotas.book.schema.records import DecisionRow, NoticeRow
from quotas.book.session import Book, rows_of
from quotas.decisions.notices import Notice
from quotas.decisions.record import make_decision
from quotas.decisions.verbs import SelfAdvance
from quotas.messages.routing import messages_for_notice
from quotas.model.units import parse_credits, parse_instant

RULE = "advance"
REASON = "taken ahead by the startup itself"


def take_ahead(
    book: Book, command: SelfAdvanceCommand, actor: str, now_s: int, key: str | None = None
) -> ActionAnswer:
    """Make a part of the next tranche usable now, once for each key. Raises Refused."""
    with book.writing() as connection:
        before = newest_transfer_id(connection)
        action = OperatorAction(command, REASON, actor, now_s, key)
        answer = perform_in_transaction(connection, action)
        if newest_transfer_id(connection) != before:
            _announce(connection, answer, actor, now_s)
        return answer


def _announce(connection: Connection, answer: ActionAnswer, actor: str, now_s: int) -> None:
    """Record the decision, and put a message for each channel into the outbox.

    The credits moved in shadow mode too, so shadow mode sends the messages. Mode off sends none.
    """
    _, program = read_program(connection)
    assert program is not None, "an operator action needs a program"
    begins_s = parse_instant(answer["begins"])
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
    with rows_of(connection) as rows:
        rows.add(DecisionRow(**decision_row(decision, "enforce", now_s)))
        if program.mode == "off":
            return
        of = (answer["startup"], "", "", "", RULE, episode, "enforce", now_s, begins_s)
        notice = Notice(*of, decision.reason, "announced")
        row = NoticeRow(**asdict(notice))
        rows.add(row)
        rows.flush()
        notice = replace(notice, id=row.id)
    enqueue(connection, messages_for_notice(program, notice, "announced", now_s), now_s)
