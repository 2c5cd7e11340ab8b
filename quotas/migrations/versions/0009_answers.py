"""What became of each write that came through the inbox: written once, never changed."""

import sqlalchemy as sa
from alembic import op

from quotas.migrations.guards import append_only

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table, and the triggers that keep an answer as it was given."""
    op.create_table(
        "inbox_answer",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("startup", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    append_only(["inbox_answer"])
