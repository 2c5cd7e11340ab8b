"""The book on PostgreSQL: one writer at a time, and readers that see one instant.

A transaction that writes takes one lock of the whole book before it reads anything, and
releases it at its end, as BEGIN IMMEDIATE does on SQLite. So writers follow one another, each
sees all that the one before committed, and a lease that was read is still the newest when the
transaction commits. The lock belongs to the transaction, not to the session: it dies with its
backend, and the database rolls back what it protected. READ COMMITTED is enough under that
lock, and cannot fail to serialise. Readers take REPEATABLE READ, without a lock.

Nothing is set for the length of a session, so that a pooler may stand in between.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, Integer, create_engine, event

from quotas.book.address import BookError

WRITE_LOCK = 7_164_016_203_388_301_412
"""The key of the one advisory lock that writers hold. An arbitrary number."""
LOCK_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 60_000
IDLE_TIMEOUT_MS = 30_000
"""The server ends a writer that falls silent: a host that died must not hold the lock."""
BEGIN_WRITING = (
    f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; "
    f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}; "
    f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}; "
    f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"
)
READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
DEFAULTS = {
    "application_name": "cohortd",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
WRITER_SETTINGS = {"target_session_attrs": "read-write"}
READER_SETTINGS = {"connect_timeout": "2", "tcp_user_timeout": "3000"}
"""Defaults that the address may override. Everyone notices a dead server within seconds. Readers
notice it sooner."""
MIN_SERVER_VERSION = 130_000


def make_engine(url: URL, *, writes: bool) -> Engine:
    """An engine on a database. One that does not write accepts a standby too. Raises BookError."""
    wanted = {**DEFAULTS, **(WRITER_SETTINGS if writes else READER_SETTINGS)}
    missing = {name: value for name, value in wanted.items() if name not in url.query}
    try:
        engine = create_engine(
            url.update_query_dict(missing),
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            # A prepared statement belongs to a session; a pooler gives each transaction another.
            connect_args={"prepare_threshold": None},
            execution_options={} if writes else {"postgresql_readonly": True},
        )
    except ModuleNotFoundError:
        raise BookError(
            "--database: this environment has no driver for PostgreSQL: "
            "pip install 'cohortd[postgres]'"
        ) from None
    # Without a cast to 32 bits, a number that no row can have is not found instead of an error.
    engine.dialect.colspecs = {**engine.dialect.colspecs, Integer: Integer}
    event.listen(engine, "connect", _check)
    event.listen(engine, "begin", _begin)
    return engine


def _check(connection: Any, _record: object) -> None:
    """Refuse a server on which the book would behave otherwise than on SQLite."""
    version, encoding = connection.info.server_version, connection.info.parameter_status
    if version < MIN_SERVER_VERSION:
        raise BookError(f"PostgreSQL {version // 10_000} is too old: the book needs 13 or newer")
    if encoding("server_encoding") != "UTF8":
        raise BookError(
            f"the database's encoding is {encoding('server_encoding')}: make one with "
            "createdb --encoding UTF8 --template template0"
        )


def _begin(connection: Connection) -> None:
    if not connection.get_execution_options().get("reading", False):
        connection.exec_driver_sql(BEGIN_WRITING)
