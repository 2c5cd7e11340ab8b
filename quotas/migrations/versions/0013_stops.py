"""A server's runs are found by when they began: each cycle asks which one a stop ended."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """The index on the server alone is the beginning of the new one."""
    op.create_index("ix_run_server_start", "run", ["server_id", "start_s"], unique=False)
    op.drop_index("ix_run_server_id", table_name="run")
