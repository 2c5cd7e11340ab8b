"""A run says since when its server is on without a break, and whose it was when it was started.

Of what runs now that is read off the runs before it: where one ends as the next begins, or
only a disputed stretch lies between, a rate, an owner or an outage cut the two.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_BEGAN = """
WITH RECURSIVE back (id, server_id, from_s) AS (
    SELECT id, server_id, start_s FROM run WHERE end_s IS NULL
    UNION
    SELECT back.id, back.server_id, earlier.start_s
    FROM back JOIN run AS earlier
    ON earlier.server_id = back.server_id AND earlier.start_s < back.from_s AND (
        earlier.end_s = back.from_s OR EXISTS (
            SELECT 1 FROM dispute WHERE dispute.server_id = back.server_id
            AND dispute.start_s = earlier.end_s AND dispute.end_s = back.from_s
        )
    )
)
SELECT id, MIN(from_s) AS began_s FROM back GROUP BY id HAVING MIN(from_s) < MAX(from_s)
"""
_STARTER = (
    "SELECT first.startup FROM run AS first "
    "WHERE first.server_id = run.server_id AND first.start_s = run.began_s"
)


def upgrade() -> None:
    """Add the columns; what ended long ago has its own start, which no rule asks for."""
    op.add_column("run", sa.Column("began_s", sa.BigInteger(), nullable=True))
    op.add_column("run", sa.Column("began_by", sa.String(), nullable=True))
    op.execute("UPDATE run SET began_s = start_s")
    moved = [row._asdict() for row in op.get_bind().execute(sa.text(_BEGAN))]
    if moved:
        move = sa.text("UPDATE run SET began_s = :began_s WHERE id = :id")
        op.get_bind().execute(move, moved)
    op.execute(f"UPDATE run SET began_by = ({_STARTER})")
    with op.batch_alter_table("run") as batch:
        batch.alter_column("began_s", existing_type=sa.BigInteger(), nullable=False)
        batch.alter_column("began_by", existing_type=sa.String(), nullable=False)
