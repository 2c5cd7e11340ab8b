"""Write an operator action: in one transaction, once for each key.

The first transfer of an action keeps its key, its command and its answer in `detail`, under
the hash chain. The same key with the same command repeats that answer; the same key with
another command is refused. The table `operator_action` finds the transfer by the key. A price
keeps all three in its own row, because it may move no credits.
"""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import Connection, select

from quotas.book.actions.action import ActionAnswer, ActionContext, OperatorAction, program_in_force
from quotas.book.reads.holds import close_holds
from quotas.book.rows import add_row
from quotas.book.schema.records import HoldRow, PriceRow
from quotas.book.schema.tables import GRANT, OPERATOR_ACTION, PRICE, TRANSFER
from quotas.book.session import Book
from quotas.book.transfers import post
from quotas.ledger.corrections import Refused
from quotas.state.facts import canonical_json


def preview_action(book: Book, action: OperatorAction) -> ActionAnswer:
    """The answer that the action would have. Writes nothing. Raises Refused."""
    with book.reading() as connection:
        context = ActionContext(connection, program_in_force(connection), action)
        return _recorded_answer(connection, action) or action.command.effects(context).answer


def perform_action(book: Book, action: OperatorAction) -> ActionAnswer:
    """Write the action, or repeat its first answer. Raises Refused, and then writes nothing."""
    with book.writing() as connection:
        return perform_in_transaction(connection, action)


def perform_in_transaction(connection: Connection, action: OperatorAction) -> ActionAnswer:
    """The same within a transaction that writes more. Raises Refused before it writes."""
    recorded = _recorded_answer(connection, action)
    if recorded is not None:
        return recorded
    context = ActionContext(connection, program_in_force(connection), action)
    effects = action.command.effects(context)
    body, answer = action.body, canonical_json(effects.answer)
    if effects.price is not None:
        price = {**effects.price, "operator_action": action.key}
        add_row(connection, PriceRow(**price, body=body, answer=answer))
    if effects.hold is not None:
        add_row(connection, HoldRow(**effects.hold))
    if not effects.transfers:
        return effects.answer
    first, *rest = effects.transfers
    key = context.key
    kept = {"operator_action": key, "command": body, "answer": answer}
    first = replace(first, detail={**first.detail, **kept})
    if effects.grants:
        connection.execute(GRANT.insert(), list(effects.grants))
    close_holds(connection, effects.transfers)
    written = [first, *rest]
    posted = post(connection, written, recorded_s=action.now_s, epoch=0, actor=action.actor)
    assert posted == len(effects.transfers), "every transfer of an operator action is new"
    of = select(TRANSFER.c.id).where(TRANSFER.c.key == first.key).scalar_subquery()
    connection.execute(OPERATOR_ACTION.insert().values(key=key, transfer_id=of))
    return effects.answer


def _recorded_answer(connection: Connection, action: OperatorAction) -> ActionAnswer | None:
    """The answer that the action's key has already; None if the key is new. Raises Refused."""
    if action.key is None:
        return None
    of_transfer = select(TRANSFER.c.detail).join(OPERATOR_ACTION)
    text = connection.scalar(of_transfer.where(OPERATOR_ACTION.c.key == action.key))
    of_price = select(PRICE.c.body, PRICE.c.answer).where(PRICE.c.operator_action == action.key)
    price = connection.execute(of_price).one_or_none()
    if text is not None:
        detail = json.loads(text)
    elif price is not None:
        detail = {"command": price.body, "answer": price.answer}
    else:
        return None
    if detail["command"] != action.body:
        raise Refused(f"--key {action.key} was used for another command; choose a new key")
    answer: ActionAnswer = json.loads(detail["answer"])
    return answer
