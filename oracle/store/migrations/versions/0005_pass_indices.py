"""
Indices that keep a pass short, whatever has piled up.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    for columns in (
        ["chain_id", "contract", "state", "outcome_block"],
        ["state", "created_at", "seed_index"],
        ["created_at", "seed_index"],
        ["request_id"],
    ):
        op.create_index(f"ix_requests_{'_'.join(columns)}", "requests", columns)
    op.create_index(
        "ix_batches_chain_id_contract_state_first_index",
        "batches",
        ["chain_id", "contract", "state", "first_index"],
    )
