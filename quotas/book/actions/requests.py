"""Requests for GPUs: open, withdraw and list them, for the command line and the inbox alike.

A request is only a row here. The next cycle counts it as demand and decides what follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, func, select

from quotas.book.actions.action import program_in_force
from quotas.book.cycle.state import read_catalogue
from quotas.book.rows import REQUEST_FIELDS, insert_value, read_values
from quotas.book.schema.records import RequestRow
from quotas.book.schema.tables import REQUEST, RUN
from quotas.book.session import Book, rows_of
from quotas.ledger.corrections import Refused
from quotas.shares.allocation import step_of
from quotas.state.requests import LIVE_REQUESTS, Request, RequestSpec, request_from, withdraw


def open_request(book: Book, spec: RequestSpec) -> Request:
    """Write a request, once for each key. Raises Refused, and then writes nothing.

    The same key with the same request returns it as it stands. With another request it is refused.
    """
    with book.writing() as connection:
        known = _known(connection, spec)
        return known or insert_value(connection, RequestRow, _checked(connection, spec))


def preview_request(book: Book, spec: RequestSpec) -> Request:
    """The request that would be written. Raises Refused."""
    with book.reading() as connection:
        return _known(connection, spec) or _checked(connection, spec)


def withdraw_request(
    book: Book, number: int, now_s: int, why: str, owner: str | None = None
) -> Request:
    """Withdraw a live request. Raises Refused.

    `owner` is the startup that the request must belong to, if the caller acts for one startup.
    """
    with book.writing() as connection, rows_of(connection) as rows:
        row = rows.get(RequestRow, number)
        if row is None or owner not in (None, row.startup):
            raise Refused(f"there is no request {number}; 'cohortd request list' shows them")
        request = withdraw(Request(**row.model_dump()), now_s, why)
        row.sqlmodel_update(asdict(request))
        return request


def read_requests(book: Book, limit: int) -> Iterable[Request]:
    """The newest requests, ended ones included, newest first."""
    query = select(*REQUEST_FIELDS).order_by(REQUEST.c.id.desc()).limit(limit)
    with book.reading() as connection:
        return read_values(connection, Request, query)


def _known(connection: Connection, spec: RequestSpec) -> Request | None:
    """The request that was written with the same key. Raises Refused if it is another one."""
    if spec.key is None:
        return None
    with rows_of(connection) as rows:
        row = rows.scalars(select(RequestRow).filter_by(key=spec.key)).one_or_none()
        if row is None:
            return None
        request = Request(**row.model_dump())
    same = ("startup", "pool", "gpus", "duration_s", "reason", "refused")
    if any(getattr(request, name) != getattr(spec, name) for name in same):
        raise Refused(f"--key {spec.key} was used for another request; choose a new key")
    return request


def _checked(connection: Connection, spec: RequestSpec) -> Request:
    program = program_in_force(connection)
    startup = program.startup(spec.startup)
    pools = [pool for pool in program.pools if pool.name == spec.pool]
    catalogue = read_catalogue(connection).at(spec.now_s)
    step = step_of(startup, pools[0], catalogue) if startup and pools else 1
    live = select(*REQUEST_FIELDS).where(REQUEST.c.state.in_(LIVE_REQUESTS))
    own = read_values(connection, Request, live.where(REQUEST.c.startup == spec.startup))
    flavors = pools[0].flavors if pools else ()
    used = select(func.sum(RUN.c.gpus)).where(RUN.c.end_s.is_(None), RUN.c.flavor.in_(flavors))
    return request_from(program, spec, step, own, connection.scalar(used) or 0)
