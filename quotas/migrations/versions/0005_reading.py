"""Reading the books: monthly statements, the chain's daily heads, and what was known when."""

import sqlalchemy as sa
from alembic import op

from quotas.migrations.guards import append_only

revision = "0005"
down_revision = "0004"

APPEND_ONLY = ("statement", "head")


def upgrade() -> None:
    """Make both tables append-only, and index when transfers were recorded."""
    op.create_index("ix_transfer_recorded", "transfer", ["recorded_s"], unique=False)
    op.create_table(
        "statement",
        sa.Column("startup", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("closed_s", sa.BigInteger(), nullable=False),
        sa.Column("through_id", sa.Integer(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("startup", "month"),
    )
    op.create_index("ix_statement_month", "statement", ["month"], unique=False)
    op.create_index("ix_statement_through", "statement", ["through_id"], unique=False)
    op.create_table(
        "head",
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("cohort", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.Integer(), nullable=False),
        sa.Column("transfers", sa.Integer(), nullable=False),
        sa.Column("moved_ucr", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("day", "cohort"),
    )
    append_only(APPEND_ONLY)
