"""The first schema: every table, its indexes, and the triggers of the append-only tables.

The tables are frozen in `0001_first.sql`, in words that SQLite and PostgreSQL both know. They
are not created from the metadata, because a later version changes the metadata, and a new book
still begins with this version. A test compares the result with the metadata.
"""

from pathlib import Path

from alembic import op

from quotas.migrations.guards import append_only

revision = "0001"
down_revision = None

APPEND_ONLY = (
    "program_version",
    "transfer",
    "entry",
    "statement",
    "chain_head",
    "price",
    "listing",
    "decision",
    "override",
    "inbox_answer",
)


def upgrade() -> None:
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";"):
        if statement.strip():
            op.execute(statement)
    append_only(APPEND_ONLY)
