"""Runs the migrations on the connection that `quotas.book.session` hands over."""

from alembic import context
from sqlmodel import SQLModel

import quotas.book.schema  # noqa: F401  (fills SQLModel.metadata, which autogenerate compares)
from quotas.migrations.guards import behave_as_sqlite

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transaction_per_migration=False,
    render_as_batch=True,
)
context.run_migrations()
behave_as_sqlite(context.config.attributes["connection"])
