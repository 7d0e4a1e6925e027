"""Alembic's entry: runs the steps on the connection, and inside the transaction, that ``upgrade`` opened."""

from alembic import context

from optimizer.adapters.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
