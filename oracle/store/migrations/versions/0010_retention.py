"""
What is left of requests that were pruned.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    op.create_table(
        "pruned_requests",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("request_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seed_index", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome_block", sa.BigInteger(), nullable=True),
        sa.Column("callback_succeeded", sa.Boolean(), nullable=True),
        sa.Column("pruned_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('done', 'cancelled')", name=op.f("ck_pruned_requests_state")
        ),
        sa.CheckConstraint(
            "(outcome_block IS NULL) = (callback_succeeded IS NULL)"
            " AND (outcome_block IS NOT NULL OR state <> 'done')",
            name=op.f("ck_pruned_requests_outcome"),
        ),
        sa.PrimaryKeyConstraint(
            "request_id", "chain_id", "contract", name=op.f("pk_pruned_requests")
        ),
        sqlite_with_rowid=False,
        comment="What is left of requests that were finished long ago: enough to know them again.",
    )
    op.create_index(
        "uq_pruned_requests_seed_index",
        "pruned_requests",
        ["chain_id", "contract", "seed_index"],
        unique=True,
    )
