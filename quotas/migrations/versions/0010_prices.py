"""Prices: versions with the instant they are in force from, and what was listed when."""

import sqlalchemy as sa
from alembic import op

from quotas.migrations.guards import append_only

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Keep each accepted rate, in force from when it was accepted; both tables only grow."""
    op.rename_table("price", "price_before")
    if op.get_context().dialect.name == "postgresql":
        # There an index keeps its name when its table is renamed, and stands in the way.
        op.execute("ALTER INDEX price_pkey RENAME TO price_before_pkey")
    op.create_table(
        "price",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("flavor", sa.String(), nullable=False),
        sa.Column("from_s", sa.BigInteger(), nullable=False),
        sa.Column("rate_ucr_per_h", sa.BigInteger(), nullable=False),
        sa.Column("recorded_s", sa.BigInteger(), nullable=False),
        sa.Column("bearer", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("deed", sa.String(), nullable=True),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("deed"),
    )
    op.execute(
        "INSERT INTO price (flavor, from_s, rate_ucr_per_h, recorded_s, bearer, source, reason, "
        "body, answer) SELECT flavor, accepted_s, rate_ucr_per_h, accepted_s, 'startup', source, "
        "'', '', '' FROM price_before ORDER BY accepted_s, flavor"
    )
    op.drop_table("price_before")
    op.create_table(
        "listing",
        sa.Column("flavor", sa.String(), nullable=False),
        sa.Column("listed_s", sa.BigInteger(), nullable=False),
        sa.Column("rate_ucr_per_h", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("flavor", "listed_s"),
    )
    append_only(["price", "listing"])
