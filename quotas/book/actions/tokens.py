"""Tokens of the API: create, list, rotate and revoke them. The book has a hash of each, no token.

Every change is one transaction. A token is never deleted, because other rows name its id.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace

from sqlalchemy import Connection
from sqlmodel import Session, col, select

from quotas.book.cycle.state import read_program
from quotas.book.reads.tokens import token_of
from quotas.book.schema.records import TokenRow
from quotas.book.session import Book, rows_of
from quotas.ledger.corrections import Refused
from quotas.model.tokens import LEAVERS_READ_S, Token, id_of


def create_token(book: Book, token: Token, token_hash: str) -> Token:
    """Write a token under its hash. Raises Refused for an unknown startup."""
    made = replace(token, id=id_of(token_hash))
    with book.writing() as connection, rows_of(connection) as rows:
        _check_member(connection, made.startup)
        rows.add(_row(made, token_hash))
    return made


def list_tokens(book: Book) -> tuple[Token, ...]:
    """Every token ever created, in order of creation."""
    query = select(TokenRow).order_by(col(TokenRow.created_s), col(TokenRow.id))
    with book.reading() as connection, rows_of(connection) as rows:
        return tuple(token_of(row) for row in rows.exec(query))


def rotate_token(book: Book, id: str, successor: Token, token_hash: str, ends_s: int) -> Token:
    """Create a successor of a token, and end the token at `ends_s`. Raises Refused."""
    with book.writing() as connection, rows_of(connection) as rows:
        row = _live(rows, id, successor.created_s)
        old = token_of(row)
        _check_member(connection, old.startup)
        made = replace(successor, name=old.name, startup=old.startup, scopes=old.scopes)
        made = replace(made, id=id_of(token_hash))
        rows.add(_row(made, token_hash))
        row.revoked_s = min(ends_s, old.expires_s, old.revoked_s or ends_s)
    return made


def revoke_token(book: Book, id: str, now_s: int) -> Token:
    """Revoke a token now. Raises Refused if it is not in force."""
    with book.writing() as connection, rows_of(connection) as rows:
        row = _live(rows, id, now_s)
        row.revoked_s = now_s
        return token_of(row)


def find_token(book: Book, token_hash: str) -> Token | None:
    """The token with a hash, in force or not; None if there is none."""
    query = select(TokenRow).where(TokenRow.hash == token_hash)
    with book.reading() as connection, rows_of(connection) as rows:
        row = rows.exec(query).one_or_none()
        return None if row is None else token_of(row)


def shorten_tokens(connection: Connection, left: Collection[str], now_s: int) -> None:
    """End the tokens of startups that leave after 90 days, unless they end earlier."""
    ends_s = now_s + LEAVERS_READ_S
    with rows_of(connection) as rows:
        query = select(TokenRow).where(col(TokenRow.startup).in_(left))
        for row in rows.exec(query.where(col(TokenRow.expires_s) > ends_s)):
            row.expires_s = ends_s


def _check_member(connection: Connection, startup: str) -> None:
    """Refuse a token of a startup that is no member of the program. Raises Refused."""
    _, program = read_program(connection)
    if startup and (program is None or program.startup(startup) is None):
        raise Refused(f"{startup!r} is no startup of the program: see 'cohortd status'")


def _live(rows: Session, id: str, now_s: int) -> TokenRow:
    row = rows.get(TokenRow, id)
    if row is None:
        raise Refused(f"there is no token {id}: 'cohortd token list' shows them")
    state = token_of(row).state(now_s)
    if state != "active":
        raise Refused(f"token {id} is {state} already: nothing was changed")
    return row


def _row(token: Token, token_hash: str) -> TokenRow:
    return TokenRow(**{**asdict(token), "scopes": " ".join(token.scopes)}, hash=token_hash)
