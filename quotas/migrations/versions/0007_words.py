"""What operators say, append-only; and when a noticed server went off."""

import sqlalchemy as sa
from alembic import op

from quotas.migrations.guards import append_only

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table of words, and the column."""
    op.add_column("notice", sa.Column("off_s", sa.BigInteger(), nullable=True))
    op.create_table(
        "word",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_word_subject"), "word", ["subject"], unique=False)
    append_only(["word"])
