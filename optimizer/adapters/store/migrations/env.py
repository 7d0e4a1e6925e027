"""Alembic's entry: runs the steps on the connection, and inside the transaction, that ``upgrade`` opened."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import optimizer.adapters.store.tables  # noqa: F401 - fills the metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
