"""
Clients of the gateway and what they drew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """
    Apply.
    """
    op.create_table(
        "gateway_clients",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("rate_requests", sa.Integer(), nullable=True),
        sa.Column("rate_seconds", sa.Integer(), nullable=True),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(digest IS NULL) = (name = 'anonymous')", name=op.f("ck_gateway_clients_keyless")
        ),
        sa.CheckConstraint(
            "(rate_requests IS NULL) = (rate_seconds IS NULL)",
            name=op.f("ck_gateway_clients_rate"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_clients")),
        sa.UniqueConstraint("digest", name=op.f("uq_gateway_clients_digest")),
        comment="Who may draw from the gateway, by the digest of a key; `anonymous` has none.",
    )
    with op.batch_alter_table("gateway_clients", schema=None) as batch_op:
        batch_op.create_index(
            "uq_gateway_clients_name",
            ["name"],
            unique=True,
            sqlite_where=sa.text("revoked_at IS NULL"),
            postgresql_where=sa.text("revoked_at IS NULL"),
        )

    op.create_table(
        "gateway_usage",
        sa.Column(
            "client_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("n_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["gateway_clients.id"], name=op.f("fk_gateway_usage_client_id")
        ),
        sa.PrimaryKeyConstraint("client_id", "day", name=op.f("pk_gateway_usage")),
        comment="What each client drew on each day, UTC; written with the draw itself.",
    )
