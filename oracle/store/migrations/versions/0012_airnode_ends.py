"""
How withdrawals ended, and what is left of Airnode requests that were pruned.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    with op.batch_alter_table("airnode_withdrawals") as batch_op:
        batch_op.add_column(sa.Column("reason", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("done_block", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("done_block_hash", sa.LargeBinary(length=32), nullable=True))
        batch_op.create_check_constraint(
            op.f("ck_airnode_withdrawals_done"),
            "(done_block IS NULL) = (done_block_hash IS NULL)",
        )
    with op.batch_alter_table(
        "pruned_requests", table_kwargs={"sqlite_with_rowid": False}
    ) as batch_op:
        batch_op.alter_column("seed_index", existing_type=sa.BigInteger(), nullable=True)
        batch_op.drop_constraint(op.f("ck_pruned_requests_state"), type_="check")
        batch_op.create_check_constraint(
            op.f("ck_pruned_requests_state"), "state IN ('done', 'cancelled', 'rejected')"
        )
