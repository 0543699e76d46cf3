"""
What is known of the sources, every draw from them, and what every block was mixed from.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """
    Apply.
    """
    op.create_table(
        "sources",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("advice", sa.Text(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("quarantines", sa.Integer(), nullable=False),
        sa.Column("period_began", sa.BigInteger(), nullable=False),
        sa.Column("used_requests", sa.BigInteger(), nullable=False),
        sa.Column("used_bits", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('ready', 'waiting', 'exhausted', 'refused', 'quarantined', 'recovering')",
            name=op.f("ck_sources_state"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sources")),
        comment="What is known of every entropy source, and what it was asked for in its quota's "
        "period.",
    )
    op.create_table(
        "rounds",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("sources_per_seed", sa.Integer(), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        comment="Which sources the next seeds are mixed from, written down before any is drawn "
        "from.",
    )
    op.create_table(
        "draws",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("round_id", _ROW_ID, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.Integer(), nullable=True),
        sa.Column("simulated", sa.Boolean(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("provenance", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_draws_round_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draws")),
        comment="Every call to a source, written down before it is made. No verdict: it was cut "
        "off.",
    )
    op.create_table(
        "block_inputs",
        sa.Column("block_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("draw_id", _ROW_ID, nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["block_id"], ["blocks.id"], name=op.f("fk_block_inputs_block_id")
        ),
        sa.ForeignKeyConstraint(["draw_id"], ["draws.id"], name=op.f("fk_block_inputs_draw_id")),
        sa.PrimaryKeyConstraint("block_id", "source", name=op.f("pk_block_inputs")),
        sa.UniqueConstraint("digest", name=op.f("uq_block_inputs_digest")),
        comment="What every block was mixed from, by keyed digest: it outlives the block.",
    )
