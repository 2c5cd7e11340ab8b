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

from quotas.book.actions.commands import Deed
from quotas.book.actions.context import Answer, key_of
from quotas.book.actions.handlers import outcome_of
from quotas.book.reads.holds import end_holds
from quotas.book.schema import DEED, GRANT, HOLD, PRICE, TRANSFER
from quotas.book.session import Book
from quotas.book.transfers import canonical, post
from quotas.ledger.corrections import Refused


def preview(book: Book, deed: Deed) -> Answer:
    """The answer that the deed would have; writes nothing. Raises Refused."""
    with book.reading() as connection:
        return _first_answer(connection, deed) or outcome_of(connection, deed).answer


def perform(book: Book, deed: Deed) -> Answer:
    """Write the deed, or repeat its first answer. Raises Refused and writes nothing then."""
    with book.writing() as connection:
        return perform_in(connection, deed)


def perform_in(connection: Connection, deed: Deed) -> Answer:
    """The same within a transaction that writes more. Raises Refused before it writes."""
    known = _first_answer(connection, deed)
    if known is not None:
        return known
    outcome = outcome_of(connection, deed)
    if outcome.price is not None:
        asked = {"deed": deed.key, "body": deed.body, "answer": canonical(outcome.answer)}
        connection.execute(PRICE.insert().values(**outcome.price, **asked))
    if not outcome.transfers:
        return outcome.answer
    first, *rest = outcome.transfers
    kept = {"deed": key_of(connection, deed), "order": deed.body}
    kept |= {"answer": canonical(outcome.answer)}
    first = replace(first, detail={**first.detail, **kept})
    if outcome.grants:
        connection.execute(GRANT.insert(), list(outcome.grants))
    if outcome.hold:
        connection.execute(HOLD.insert().values(**outcome.hold))
    end_holds(connection, outcome.transfers)
    posted = post(connection, [first, *rest], recorded_s=deed.now_s, epoch=0, actor=deed.actor)
    assert posted == len(outcome.transfers), "a deed's transfers are new, all of them"
    of = select(TRANSFER.c.id).where(TRANSFER.c.key == first.key).scalar_subquery()
    connection.execute(DEED.insert().values(key=kept["deed"], transfer_id=of))
    return outcome.answer


def _first_answer(connection: Connection, deed: Deed) -> Answer | None:
    if deed.key is None:
        return None
    kept = select(TRANSFER.c.detail).join(DEED, DEED.c.transfer_id == TRANSFER.c.id)
    text = connection.scalar(kept.where(DEED.c.key == deed.key))
    # A price may move no credits, and is kept by itself.
    priced = select(PRICE.c.body, PRICE.c.answer).where(PRICE.c.deed == deed.key)
    price = connection.execute(priced).one_or_none()
    if text is not None:
        detail = json.loads(text)
    elif price is not None:
        detail = {"order": price.body, "answer": price.answer}
    else:
        return None
    if detail["order"] != deed.body:
        raise Refused(f"--key {deed.key} was used for another command; choose a new key")
    answer: Answer = json.loads(detail["answer"])
    return answer
