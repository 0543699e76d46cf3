"""
Requests of Airnode RRP v0, and what is kept beside them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
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
            "purpose IN ('fulfill', 'commit', 'fee', 'withdraw', 'filler')",
        )
    with op.batch_alter_table("lanes") as batch_op:
        batch_op.add_column(sa.Column("sponsor", sa.LargeBinary(length=20), nullable=True))
    op.create_table(
        "airnode_templates",
        sa.Column("template_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("airnode", sa.LargeBinary(length=20), nullable=False),
        sa.Column("endpoint_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("parameters", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("template_id", name=op.f("pk_airnode_templates")),
        comment="What templates hold. Their ids are its hash, on every chain.",
    )
    op.create_table(
        "airnode_requests",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("request_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("airnode", sa.LargeBinary(length=20), nullable=False),
        sa.Column("requester", sa.LargeBinary(length=20), nullable=False),
        sa.Column("requester_count", sa.BigInteger(), nullable=False),
        sa.Column("endpoint_id", sa.LargeBinary(length=32), nullable=True),
        sa.Column("template_id", sa.LargeBinary(length=32), nullable=True),
        sa.Column("sponsor", sa.LargeBinary(length=20), nullable=False),
        sa.Column("sponsor_wallet", sa.LargeBinary(length=20), nullable=False),
        sa.Column("fulfill_address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("fulfill_function_id", sa.LargeBinary(length=4), nullable=False),
        sa.Column("parameters", sa.LargeBinary(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("num_words", sa.Integer(), nullable=True),
        sa.Column("array", sa.Boolean(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("drawn_at", sa.BigInteger(), nullable=True),
        sa.Column("held_since", sa.BigInteger(), nullable=True),
        sa.Column("exposed_at", sa.BigInteger(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "transaction_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("outcome_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("outcome_block", sa.BigInteger(), nullable=True),
        sa.Column("outcome_block_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("callback_succeeded", sa.Boolean(), nullable=True),
        sa.Column("cost", sa.LargeBinary(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(outcome_hash IS NULL) = (outcome_block IS NULL)"
            " AND (outcome_hash IS NULL) = (outcome_block_hash IS NULL)"
            " AND (outcome_hash IS NOT NULL OR state NOT IN ('mined', 'done'))",
            name=op.f("ck_airnode_requests_outcome"),
        ),
        sa.CheckConstraint(
            "(endpoint_id IS NULL) <> (template_id IS NULL)", name=op.f("ck_airnode_requests_kind")
        ),
        sa.CheckConstraint(
            "cost IS NULL OR outcome_hash IS NOT NULL", name=op.f("ck_airnode_requests_cost")
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["transactions.id"],
            name=op.f("fk_airnode_requests_transaction_id"),
        ),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "request_id", name=op.f("pk_airnode_requests")
        ),
        comment="One row per request of Airnode RRP v0.",
    )
    op.create_index(
        op.f("ix_airnode_requests_chain_id_contract_sponsor_drawn_at"),
        "airnode_requests",
        ["chain_id", "contract", "sponsor", "drawn_at"],
    )
    op.create_index(
        op.f("ix_airnode_requests_chain_id_contract_state_block_number"),
        "airnode_requests",
        ["chain_id", "contract", "state", "block_number"],
    )
    op.create_index(
        op.f("ix_airnode_requests_chain_id_contract_state_outcome_block"),
        "airnode_requests",
        ["chain_id", "contract", "state", "outcome_block"],
    )
    op.create_index(op.f("ix_airnode_requests_created_at"), "airnode_requests", ["created_at"])
    op.create_index(op.f("ix_airnode_requests_request_id"), "airnode_requests", ["request_id"])
    op.create_index(
        op.f("ix_airnode_requests_state_created_at"), "airnode_requests", ["state", "created_at"]
    )
    op.create_index(
        op.f("ix_airnode_requests_transaction_id"), "airnode_requests", ["transaction_id"]
    )
    op.create_table(
        "airnode_withdrawals",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("withdrawal_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sponsor", sa.LargeBinary(length=20), nullable=False),
        sa.Column("sponsor_wallet", sa.LargeBinary(length=20), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "transaction_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('requested', 'signed', 'done', 'refused')",
            name=op.f("ck_airnode_withdrawals_state"),
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["transactions.id"],
            name=op.f("fk_airnode_withdrawals_transaction_id"),
        ),
        sa.PrimaryKeyConstraint(
            "chain_id", "contract", "withdrawal_id", name=op.f("pk_airnode_withdrawals")
        ),
        comment="Sponsors that want back what their sponsor wallets hold.",
    )
    op.create_index(
        op.f("ix_airnode_withdrawals_chain_id_contract_state"),
        "airnode_withdrawals",
        ["chain_id", "contract", "state"],
    )
    op.create_index(
        op.f("ix_airnode_withdrawals_transaction_id"), "airnode_withdrawals", ["transaction_id"]
    )
