"""How does the book stand on PostgreSQL? One writer at a time, and readers of one instant.

The same promise as BEGIN IMMEDIATE: a transaction that writes takes one lock of the whole
book before it reads anything, and gives it back with its end. So writers follow one
another, each sees all that the one before committed, and a lease that was read is still
the newest when the transaction commits. The lock is of the transaction, not of the
session: it dies with its backend, and what it protected is rolled back with it.
READ COMMITTED is enough under that lock, and cannot fail to serialise. Readers take
REPEATABLE READ: one instant for as long as they read, without a lock.

Nothing is set for the length of a session, so that a pooler may stand in between.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, Integer, create_engine, event

from quotas.book.address import BookError

WRITE_LOCK = 7_164_016_203_388_301_412
"""The key of the one advisory lock that writers hold; of no meaning but to be ours."""
LOCK_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 60_000
IDLE_TIMEOUT_MS = 30_000
"""A writer that falls silent is ended by the server: a host that died must not hold the lock."""
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
"""What the address may say otherwise. A server that is gone is noticed within seconds: by
readers sooner, for the API asks on each request and has a snapshot to answer from."""
MIN_SERVER_VERSION = 130_000


def make_engine(url: URL, *, writes: bool) -> Engine:
    """An engine on a database; one that does not write takes a standby too. Raises BookError."""
    wanted = {**DEFAULTS, **(WRITER_SETTINGS if writes else READER_SETTINGS)}
    missing = {name: value for name, value in wanted.items() if name not in url.query}
    try:
        engine = create_engine(
            url.update_query_dict(missing),
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            # Prepared statements are of a session: a pooler gives each transaction another.
            connect_args={"prepare_threshold": None},
            execution_options={} if writes else {"postgresql_readonly": True},
        )
    except ModuleNotFoundError:
        raise BookError(
            "--database: this environment has no driver for PostgreSQL: "
            "pip install 'cohortd[postgres]'"
        ) from None
    # No cast to 32 bits: a number that no row can have is not found, and is no error.
    engine.dialect.colspecs = {**engine.dialect.colspecs, Integer: Integer}
    event.listen(engine, "connect", _check)
    event.listen(engine, "begin", _begin)
    return engine


def _check(connection: Any, _record: object) -> None:
    """Refuse a server on which the book would not be what it is on SQLite."""
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
