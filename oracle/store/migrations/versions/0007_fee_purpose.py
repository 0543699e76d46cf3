"""
Transactions that change the fee.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    with op.batch_alter_table("transactions") as batch_op:
        batch_op.drop_constraint(op.f("ck_transactions_purpose"), type_="check")
        batch_op.create_check_constraint(
            op.f("ck_transactions_purpose"),
            "purpose IN ('fulfill', 'commit', 'fee', 'filler')",
        )
