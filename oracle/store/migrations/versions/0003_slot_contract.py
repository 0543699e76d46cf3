"""
Which coordinator a slot serves: a node may serve several on one chain.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    with op.batch_alter_table("transactions") as batch_op:
        batch_op.add_column(sa.Column("contract", sa.LargeBinary(length=20), nullable=True))
        batch_op.drop_index("ix_transactions_chain_id_wallet_state")
    # So far a database held one coordinator, whose logs were read before anything was signed.
    op.execute(
        "UPDATE transactions SET contract = (SELECT cursors.contract FROM cursors"
        " WHERE cursors.chain_id = transactions.chain_id)"
    )
    with op.batch_alter_table("transactions") as batch_op:
        batch_op.alter_column("contract", existing_type=sa.LargeBinary(length=20), nullable=False)
        batch_op.create_index(
            "ix_transactions_chain_id_contract_state", ["chain_id", "contract", "state"]
        )
