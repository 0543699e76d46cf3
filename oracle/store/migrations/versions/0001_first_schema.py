"""
The first schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Purposes are searched by ranges of their bytes, whatever order the database's language has.
_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """
    Apply.
    """
    op.create_table(
        "batches",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("first_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("leaves", sa.LargeBinary(length=8192), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('built', 'committed', 'lost', 'erased')", name=op.f("ck_batches_state")
        ),
        sa.PrimaryKeyConstraint("chain_id", "contract", "first_index", name=op.f("pk_batches")),
        comment="256 seeds bound to consecutive indices of one coordinator. Leaf hashes are no "
        "secret.",
    )
    op.create_table(
        "blocks",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=12), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("purpose", _BYTEWISE, nullable=True),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(ciphertext IS NULL) = (destroyed_at IS NOT NULL)", name=op.f("ck_blocks_destroyed")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blocks")),
        sa.UniqueConstraint("digest", name=op.f("uq_blocks_digest")),
        sa.UniqueConstraint("purpose", name=op.f("uq_blocks_purpose")),
        comment="32-byte blocks of entropy, encrypted; each serves one purpose, once.",
    )
    with op.batch_alter_table("blocks", schema=None) as batch_op:
        batch_op.create_index(
            "ix_blocks_fresh",
            ["received_at"],
            unique=False,
            sqlite_where=sa.text("purpose IS NULL AND ciphertext IS NOT NULL"),
            postgresql_where=sa.text("purpose IS NULL AND ciphertext IS NOT NULL"),
        )

    op.create_table(
        "cursors",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("anchor_number", sa.BigInteger(), nullable=False),
        sa.Column("anchor_hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "contract", name=op.f("pk_cursors")),
        comment="The last block that was scanned, per contract, and one below every tail.",
    )
    op.create_table(
        "lanes",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wallet", sa.LargeBinary(length=20), nullable=False),
        sa.Column("next_nonce", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "wallet", name=op.f("pk_lanes")),
        comment="The next nonce of every wallet, and whose sponsor wallet it is.",
    )
    op.create_table(
        "request_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("request_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_events")),
        comment="Append-only: every transition of every request.",
    )
    with op.batch_alter_table("request_events", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_request_events_chain_id_contract_request_id"),
            ["chain_id", "contract", "request_id"],
            unique=False,
        )

    op.create_table(
        "reveals",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("seed_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=12), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("exposed_at", sa.BigInteger(), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(ciphertext IS NULL) = (erased_at IS NOT NULL)", name=op.f("ck_reveals_erased")
        ),
        sa.PrimaryKeyConstraint("chain_id", "contract", "seed_index", name=op.f("pk_reveals")),
        comment="Seeds that may have left the process, written down before they did.",
    )
    with op.batch_alter_table("reveals", schema=None) as batch_op:
        batch_op.create_index(
            "ix_reveals_kept",
            ["seed_index"],
            unique=False,
            sqlite_where=sa.text("ciphertext IS NOT NULL"),
            postgresql_where=sa.text("ciphertext IS NOT NULL"),
        )

    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
        comment="The pool's epoch and the check value of its key.",
    )
    op.create_table(
        "transactions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("wallet", sa.LargeBinary(length=20), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("gas_limit", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("mined_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("mined_block", sa.BigInteger(), nullable=True),
        sa.Column("mined_block_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.Column("gas_price", sa.LargeBinary(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('fulfill', 'commit', 'filler')", name=op.f("ck_transactions_purpose")
        ),
        sa.CheckConstraint(
            "state IN ('signed', 'sent', 'mined', 'final', 'lost')",
            name=op.f("ck_transactions_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint(
            "chain_id", "wallet", "nonce", name=op.f("uq_transactions_chain_id_wallet_nonce")
        ),
        comment="One row per nonce: a slot that exactly one transaction will fill.",
    )
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_transactions_chain_id_wallet_state"),
            ["chain_id", "wallet", "state"],
            unique=False,
        )

    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("transaction_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "transaction_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("max_fee", sa.LargeBinary(length=32), nullable=False),
        sa.Column("priority_fee", sa.LargeBinary(length=32), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=12), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("sent_block", sa.BigInteger(), nullable=True),
        sa.Column("tried_block", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_attempts_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("transaction_hash", name=op.f("uq_attempts_transaction_hash")),
        comment="Signed bytes for a slot, encrypted under the pool key: they hold seeds.",
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_attempts_transaction_id"), ["transaction_id"], unique=False
        )

    op.create_table(
        "requests",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("request_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seed_index", sa.BigInteger(), nullable=False),
        sa.Column("requester", sa.LargeBinary(length=20), nullable=False),
        sa.Column("callback_gas_limit", sa.BigInteger(), nullable=False),
        sa.Column("num_words", sa.Integer(), nullable=False),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("fee", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_seed", sa.LargeBinary(length=32), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "transaction_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("outcome_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("outcome_block", sa.BigInteger(), nullable=True),
        sa.Column("outcome_block_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("callback_succeeded", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(outcome_hash IS NULL) = (outcome_block IS NULL) AND (outcome_hash IS NULL) = "
            "(outcome_block_hash IS NULL) AND (outcome_hash IS NOT NULL OR state NOT IN ('mined', "
            "'done'))",
            name=op.f("ck_requests_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_requests_transaction_id")
        ),
        sa.PrimaryKeyConstraint("chain_id", "contract", "request_id", name=op.f("pk_requests")),
        comment="One row per request id.",
    )
    with op.batch_alter_table("requests", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_requests_chain_id_contract_state_block_number"),
            ["chain_id", "contract", "state", "block_number"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_requests_transaction_id"), ["transaction_id"], unique=False
        )
        batch_op.create_index(
            "uq_requests_seed_index",
            ["chain_id", "contract", "seed_index"],
            unique=True,
            sqlite_where=sa.text("state <> 'orphaned'"),
            postgresql_where=sa.text("state <> 'orphaned'"),
        )
