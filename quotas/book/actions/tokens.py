"""Which tokens are in force? Rows with a hash each; the token itself is nowhere.

Every change is one transaction. A token is never deleted: its id stays in what it did.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import RowMapping, select, update

from quotas.book.cycle.state import read_program
from quotas.book.schema.tables import TOKEN
from quotas.book.session import Book
from quotas.ledger.corrections import Refused
from quotas.model.tokens import Token, id_of


def create_token(book: Book, token: Token, token_hash: str) -> Token:
    """Write a token down under its hash. Raises Refused for a startup that is not there."""
    made = replace(token, id=id_of(token_hash))
    with book.writing() as connection:
        _, program = read_program(connection)
        if made.startup and (program is None or program.startup(made.startup) is None):
            raise Refused(f"{made.startup!r} is no startup of the program: see 'cohortd status'")
        connection.execute(TOKEN.insert().values(**_row(made), hash=token_hash))
    return made


def list_tokens(book: Book) -> tuple[Token, ...]:
    """Every token that ever was, in the order of making."""
    with book.reading() as connection:
        rows = connection.execute(select(TOKEN).order_by(TOKEN.c.created_s, TOKEN.c.id))
        return tuple(token_from_row(row) for row in rows.mappings())


def rotate_token(book: Book, id: str, successor: Token, token_hash: str, ends_s: int) -> Token:
    """Put a successor beside a token, which ends at `ends_s`. Raises Refused."""
    with book.writing() as connection:
        row = connection.execute(select(TOKEN).where(TOKEN.c.id == id)).mappings().one_or_none()
        old = _live(row, id, successor.created_s)
        made = replace(
            successor,
            id=id_of(token_hash),
            name=old.name,
            startup=old.startup,
            scopes=old.scopes,
        )
        connection.execute(TOKEN.insert().values(**_row(made), hash=token_hash))
        ends_s = min(ends_s, old.expires_s, old.revoked_s or ends_s)
        connection.execute(update(TOKEN).where(TOKEN.c.id == id).values(revoked_s=ends_s))
    return made


def revoke_token(book: Book, id: str, now_s: int) -> Token:
    """End a token now. Raises Refused where there is none in force."""
    with book.writing() as connection:
        row = connection.execute(select(TOKEN).where(TOKEN.c.id == id)).mappings().one_or_none()
        old = _live(row, id, now_s)
        connection.execute(update(TOKEN).where(TOKEN.c.id == id).values(revoked_s=now_s))
    return replace(old, revoked_s=now_s)


def find_token(book: Book, token_hash: str) -> Token | None:
    """The token of a hash, in force or not; None where there is none."""
    with book.reading() as connection:
        rows = connection.execute(select(TOKEN).where(TOKEN.c.hash == token_hash))
        row = rows.mappings().one_or_none()
        return None if row is None else token_from_row(row)


def hashed_tokens(book: Book) -> tuple[tuple[str, Token], ...]:
    """Every token with its hash, for a copy that answers while the book cannot."""
    with book.reading() as connection:
        rows = connection.execute(select(TOKEN).order_by(TOKEN.c.id)).mappings()
        return tuple((row["hash"], token_from_row(row)) for row in rows)


def token_from_row(row: RowMapping) -> Token:
    """A row as the value it stands for."""
    values = {key: value for key, value in row.items() if key not in ("hash", "scopes")}
    return Token(**values, scopes=tuple(row["scopes"].split()))


def _live(row: RowMapping | None, id: str, now_s: int) -> Token:
    if row is None:
        raise Refused(f"there is no token {id}: 'cohortd token list' shows them")
    token = token_from_row(row)
    if token.state(now_s) != "active":
        raise Refused(f"token {id} is {token.state(now_s)} already: nothing was changed")
    return token


def _row(token: Token) -> dict[str, Any]:
    names = ("id", "name", "startup", "created_s", "expires_s", "revoked_s", "actor")
    return {**{name: getattr(token, name) for name in names}, "scopes": " ".join(token.scopes)}
