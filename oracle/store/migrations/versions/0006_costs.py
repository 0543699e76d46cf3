"""
What transactions took beside gas, whether they reverted, and what each request has cost.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    op.add_column("transactions", sa.Column("l1_fee", sa.LargeBinary(length=32), nullable=True))
    op.add_column("transactions", sa.Column("reverted", sa.Boolean(), nullable=True))
    with op.batch_alter_table("requests") as batch_op:
        batch_op.add_column(sa.Column("cost", sa.LargeBinary(length=32), nullable=True))
        batch_op.create_check_constraint(
            op.f("ck_requests_cost"), "cost IS NULL OR outcome_hash IS NOT NULL"
        )
