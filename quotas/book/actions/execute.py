"""How does an operator's deed enter the book? In one transaction, once for each key.

A deed is an order with a reason and an actor. Its first transfer keeps the deed's key,
its order and its answer in `detail`, under the hash chain: the same key with the same
order repeats the answer, with another one it is refused. The table `deed` finds that
transfer by the key. A price keeps the three in its own row.
"""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import Connection, select

from quotas.book.actions.commands import OperatorAction
from quotas.book.actions.context import ActionAnswer, action_key
from quotas.book.actions.handlers import handle_action
from quotas.book.reads.holds import close_holds
from quotas.book.schema.records import HoldRow, PriceRow
from quotas.book.schema.tables import GRANT, OPERATOR_ACTION, PRICE, TRANSFER
from quotas.book.session import Book, rows_of
from quotas.book.transfers import canonical_json, post
from quotas.ledger.corrections import Refused


def preview_action(book: Book, operator_action: OperatorAction) -> ActionAnswer:
    """The answer that the deed would have; writes nothing. Raises Refused."""
    with book.reading() as connection:
        return (
            _recorded_answer(connection, operator_action)
            or handle_action(connection, operator_action).answer
        )


def perform_action(book: Book, operator_action: OperatorAction) -> ActionAnswer:
    """Write the deed, or repeat its first answer. Raises Refused and writes nothing then."""
    with book.writing() as connection:
        return perform_in_transaction(connection, operator_action)


def perform_in_transaction(connection: Connection, operator_action: OperatorAction) -> ActionAnswer:
    """The same within a transaction that writes more. Raises Refused before it writes."""
    known = _recorded_answer(connection, operator_action)
    if known is not None:
        return known
    effects = handle_action(connection, operator_action)
    body, answer = operator_action.body, canonical_json(effects.answer)
    with rows_of(connection) as rows:
        if effects.price is not None:
            rows.add(
                PriceRow(
                    **effects.price, operator_action=operator_action.key, body=body, answer=answer
                )
            )
        if effects.hold is not None:
            rows.add(HoldRow(**effects.hold))
    if not effects.transfers:
        return effects.answer
    first, *rest = effects.transfers
    kept = {
        "operator_action": action_key(connection, operator_action),
        "command": body,
        "answer": answer,
    }
    first = replace(first, detail={**first.detail, **kept})
    if effects.grants:
        connection.execute(GRANT.insert(), list(effects.grants))
    close_holds(connection, effects.transfers)
    posted = post(
        connection,
        [first, *rest],
        recorded_s=operator_action.now_s,
        epoch=0,
        actor=operator_action.actor,
    )
    assert posted == len(effects.transfers), "a deed's transfers are new, all of them"
    of = select(TRANSFER.c.id).where(TRANSFER.c.key == first.key).scalar_subquery()
    connection.execute(OPERATOR_ACTION.insert().values(key=kept["operator_action"], transfer_id=of))
    return effects.answer


def _recorded_answer(
    connection: Connection, operator_action: OperatorAction
) -> ActionAnswer | None:
    if operator_action.key is None:
        return None
    kept = select(TRANSFER.c.detail).join(
        OPERATOR_ACTION, OPERATOR_ACTION.c.transfer_id == TRANSFER.c.id
    )
    text = connection.scalar(kept.where(OPERATOR_ACTION.c.key == operator_action.key))
    # A price may move no credits, and is kept by itself.
    priced = select(PRICE.c.body, PRICE.c.answer).where(
        PRICE.c.operator_action == operator_action.key
    )
    price = connection.execute(priced).one_or_none()
    if text is not None:
        detail = json.loads(text)
    elif price is not None:
        detail = {"command": price.body, "answer": price.answer}
    else:
        return None
    if detail["command"] != operator_action.body:
        raise Refused(f"--key {operator_action.key} was used for another command; choose a new key")
    answer: ActionAnswer = json.loads(detail["answer"])
    return answer
