"""Reads of tokens: their terms, without the hash."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlmodel import col, select

from quotas.book.schema.records import TokenRow
from quotas.book.session import rows_of
from quotas.model.tokens import Token


def read_unexpired_tokens(connection: Connection, at_s: int) -> tuple[Token, ...]:
    """The tokens that expire after an instant, revoked or not, in order of their ids."""
    query = select(TokenRow).where(col(TokenRow.expires_s) > at_s).order_by(col(TokenRow.id))
    with rows_of(connection) as rows:
        return tuple(token_of(row) for row in rows.exec(query))


def token_of(row: TokenRow) -> Token:
    """The terms that a row stores."""
    return Token(**{**row.model_dump(exclude={"hash"}), "scopes": tuple(row.scopes.split())})
