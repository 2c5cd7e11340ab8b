"""Intents for a whole startup, and the rules that closing it withheld."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Let an intent have no notice and name its startup; make the table of withheld rules."""
    with op.batch_alter_table("intent") as batch:
        batch.alter_column("notice_id", existing_type=sa.Integer(), nullable=True)
        batch.add_column(sa.Column("startup", sa.String(), nullable=False, server_default=""))
        batch.create_index("ix_intent_startup", ["startup"])
    op.create_table(
        "withheld",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("startup", sa.String(), nullable=False),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("policy_name", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("taken", sa.String(), nullable=False),
        sa.Column("recorded_s", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_withheld_startup"), "withheld", ["startup"], unique=False)
    op.create_index("ix_withheld_open", "withheld", ["state"], unique=False)
