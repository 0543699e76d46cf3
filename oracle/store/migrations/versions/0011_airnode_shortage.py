"""
What a sponsor wallet lacks for a request: the gas, what that needs in the wallet, and what it has.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    with op.batch_alter_table("airnode_requests") as batch_op:
        batch_op.add_column(sa.Column("short_gas", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("short_needed", sa.LargeBinary(length=32), nullable=True))
        batch_op.add_column(sa.Column("short_had", sa.LargeBinary(length=32), nullable=True))
        batch_op.create_check_constraint(
            op.f("ck_airnode_requests_short"),
            "(short_gas IS NULL) = (short_needed IS NULL)"
            " AND (short_gas IS NULL) = (short_had IS NULL)",
        )
