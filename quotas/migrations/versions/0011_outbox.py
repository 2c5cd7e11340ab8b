"""Messages wait in an outbox; a notice knows its reminders, snoozes and acknowledgement."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the outbox, and five columns to the notices."""
    for column in (
        sa.Column("reminded_s", sa.BigInteger(), nullable=True),
        sa.Column("snoozed_s", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("acknowledged_s", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.String(), nullable=False, server_default=""),
        sa.Column("is_broken", sa.Boolean(), nullable=False, server_default=sa.false()),
    ):
        op.add_column("notice", column)
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("audience", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("startup", sa.String(), nullable=False),
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("created_s", sa.BigInteger(), nullable=False),
        sa.Column("due_s", sa.BigInteger(), nullable=False),
        sa.Column("deadline_s", sa.BigInteger(), nullable=False),
        sa.Column("is_urgent", sa.Boolean(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("batch", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claimed_s", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event"),
    )
    op.create_index("ix_outbox_due", "outbox", ["state", "due_s"], unique=False)
    op.create_index("ix_outbox_recipient", "outbox", ["recipient", "state"], unique=False)
    op.create_index(op.f("ix_outbox_notice_id"), "outbox", ["notice_id"], unique=False)
    op.create_index(op.f("ix_outbox_batch"), "outbox", ["batch"], unique=False)
