"""Runs are found by their end, so that a burn rate over a week reads no older one."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_run_end", "run", ["end_s"], unique=False)
