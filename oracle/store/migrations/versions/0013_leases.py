"""
Which node does what, where several share a database; and the epochs that are to come, one per
node's file.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("wants", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        comment="The nodes that share this database, and when they were last heard of.",
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
        comment="Which node does what.",
    )
    settings = sa.table("settings", sa.column("name", sa.Text()), sa.column("value", sa.Text()))
    bind = op.get_bind()
    intent = bind.scalar(sa.select(settings.c.value).where(settings.c.name == "pool_epoch_intent"))
    if intent is not None:
        number, _, mark = intent.partition(" ")
        bind.execute(
            sa.update(settings)
            .where(settings.c.name == "pool_epoch_intent")
            .values(name=f"pool_epoch_intent:{mark}", value=number)
        )
