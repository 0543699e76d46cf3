"""
Discarded indices, whose seeds are erased once that is final.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    op.create_table(
        "discards",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("first_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("up_to", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("first_index < up_to", name=op.f("ck_discards_order")),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "block_hash", "first_index", name=op.f("pk_discards")
        ),
        comment="Indices that the operator gave up, by the block that says so; then their seeds "
        "are erased.",
    )
