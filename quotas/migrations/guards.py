"""Triggers that keep rows as they were written, in the SQL of each database."""

from __future__ import annotations

from collections.abc import Iterable

from alembic import op
from sqlalchemy import Connection, text

_REFUSE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_NEXT_ID = """
CREATE OR REPLACE FUNCTION next_id(of regclass) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE last integer;
BEGIN
  EXECUTE format('SELECT max(id) FROM %s', of) INTO last;
  RETURN coalesce(last, 0) + 1;
END $$
"""
_TEXTS = """
SELECT format('ALTER TABLE %I %s', table_name, string_agg(
  format('ALTER COLUMN %I TYPE varchar COLLATE "C"', column_name), ', ' ORDER BY ordinal_position))
FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name <> 'alembic_version'
  AND data_type = 'character varying' AND collation_name IS DISTINCT FROM 'C'
GROUP BY table_name ORDER BY table_name
"""
_NUMBERS = """
SELECT format('ALTER TABLE %1$I ALTER COLUMN id SET DEFAULT next_id(%1$L::regclass)', table_name)
  || coalesce('; DROP SEQUENCE ' || pg_get_serial_sequence(format('%I', table_name), 'id'), '')
FROM information_schema.columns
WHERE table_schema = current_schema() AND column_name = 'id' AND data_type = 'integer'
  AND (column_default IS NULL OR column_default LIKE 'nextval(%')
ORDER BY table_name
"""


def append_only(tables: Iterable[str]) -> None:
    """Refuse every change of these tables except new rows; also refuse to truncate them."""
    for table in tables:
        if op.get_context().dialect.name == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_refuses_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
            continue
        op.execute(_REFUSE)
        for verb, each in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER {table}_refuses_{verb.lower()} BEFORE {verb} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION refuse_change()"
            )


def behave_as_sqlite(connection: Connection) -> None:
    """Let new columns of PostgreSQL's tables compare and number as SQLite's do.

    Text compares by code point, whatever the database's locale, so ranges and orders of names
    are the same in both. An id is one above the highest, not the next of a sequence: a
    transaction that is rolled back leaves no gap, and no id is given twice.
    """
    if connection.dialect.name == "sqlite":
        return
    connection.execute(text(_NEXT_ID))
    for query in (_TEXTS, _NUMBERS):
        for statement in connection.scalars(text(query)).all():
            connection.execute(text(statement))
