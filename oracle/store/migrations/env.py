"""
How Alembic reaches the database: over the connection that it is handed.
"""

from __future__ import annotations

from alembic import context

from oracle.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
