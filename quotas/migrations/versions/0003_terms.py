"""Tranches that roll over, holds, and deeds that are found by their key."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what is new, and index the deeds that are in the book already."""
    op.add_column("credit_grant", sa.Column("rolls_to", sa.String(), nullable=True))
    op.add_column("credit_grant", sa.Column("roll_ppm", sa.Integer(), nullable=True))
    op.add_column("credit_grant", sa.Column("roll_most_ucr", sa.BigInteger(), nullable=True))
    op.create_table(
        "hold",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("startup", sa.String(), nullable=False),
        sa.Column("cohort", sa.String(), nullable=False),
        sa.Column("amount_ucr", sa.BigInteger(), nullable=False),
        sa.Column("placed_s", sa.BigInteger(), nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("settled_ucr", sa.BigInteger(), nullable=False),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_hold_startup"), "hold", ["startup"], unique=False)
    op.create_index(op.f("ix_hold_state"), "hold", ["state"], unique=False)
    op.create_table(
        "deed",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"]),
        sa.PrimaryKeyConstraint("key"),
    )
    is_sqlite = op.get_context().dialect.name == "sqlite"
    deed = "json_extract(detail, '$.deed')" if is_sqlite else "detail::json ->> 'deed'"
    op.execute(
        f"INSERT INTO deed (key, transfer_id) SELECT {deed}, min(id) FROM transfer "
        f"WHERE epoch = 0 AND {deed} IS NOT NULL GROUP BY 1"
    )
