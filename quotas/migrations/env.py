"""Runs the migrations on the connection that `quotas.book.session` hands over."""

from alembic import context

from quotas.book.schema.tables import TRANSFER
from quotas.migrations.guards import behave_as_sqlite

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TRANSFER.metadata,
    transaction_per_migration=False,
    render_as_batch=True,
)
context.run_migrations()
behave_as_sqlite(context.config.attributes["connection"])
