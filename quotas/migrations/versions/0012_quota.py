"""A request says at how many GPUs the provider's quota refused its servers."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; nobody said it of a request before."""
    op.add_column("request", sa.Column("quota_gpus", sa.Integer(), nullable=True))
