"""
Tables, constraints and column types. Every rule that a constraint can state is stated here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from oracle.evm import checksum_address

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Address(TypeDecorator[str]):
    """
    An EIP-55 address, stored as its 20 bytes.
    """

    impl = LargeBinary(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """
        Turn the text into bytes.
        """
        del dialect
        return None if value is None else bytes.fromhex(value.removeprefix("0x"))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        """
        Turn the bytes into checksummed text.
        """
        del dialect
        return None if value is None else checksum_address(bytes(value))


class U256(TypeDecorator[int]):
    """
    An unsigned 256-bit integer, stored as 32 big-endian bytes, so that it also sorts.
    """

    impl = LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> bytes | None:
        """
        Turn the integer into bytes.
        """
        del dialect
        return None if value is None else value.to_bytes(32, "big")

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> int | None:
        """
        Turn the bytes into an integer.
        """
        del dialect
        return None if value is None else int.from_bytes(value, "big")


Hash32 = LargeBinary(32)
# Text whose order and ranges are those of its bytes, whatever language the database has.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite counts rows by itself only in a column of exactly this type.
RowId = BigInteger().with_variant(Integer, "sqlite")
# Milliseconds since 1970, UTC.
Timestamp = BigInteger


settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    comment="The pool's epoch and the check value of its key.",
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    # Host and process, for people.
    Column("place", Text, nullable=False),
    Column("wants", Text, nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("seen_at", Timestamp, nullable=False),
    comment="The nodes that share this database, and when they were last heard of.",
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),
    # Rises with every change of hands: a write under an old one is refused.
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    comment="Which node does what.",
)

cursors = Table(
    "cursors",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", Hash32, nullable=False),
    Column("anchor_number", BigInteger, nullable=False),
    Column("anchor_hash", Hash32, nullable=False),
    comment="The last block that was scanned, per contract, and one below every tail.",
)

lanes = Table(
    "lanes",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("wallet", Address, primary_key=True),
    Column("next_nonce", BigInteger, nullable=False),
    Column("sponsor", Address),
    comment="The next nonce of every wallet, and whose sponsor wallet it is.",
)

transactions = Table(
    "transactions",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("chain_id", BigInteger, nullable=False),
    Column("contract", Address, nullable=False),
    Column("wallet", Address, nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("gas_limit", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("mined_hash", Hash32),
    Column("mined_block", BigInteger),
    Column("mined_block_hash", Hash32),
    Column("gas_used", BigInteger),
    Column("gas_price", U256),
    Column("l1_fee", U256),
    Column("reverted", Boolean),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    UniqueConstraint("chain_id", "wallet", "nonce"),
    CheckConstraint(
        "purpose IN ('fulfill', 'commit', 'fee', 'withdraw', 'filler')", name="purpose"
    ),
    CheckConstraint("state IN ('signed', 'sent', 'mined', 'final', 'lost')", name="state"),
    Index(None, "chain_id", "contract", "state"),
    comment="One row per nonce: a slot that exactly one transaction will fill.",
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("transaction_hash", Hash32, nullable=False, unique=True),
    Column("transaction_id", RowId, ForeignKey("transactions.id"), nullable=False),
    Column("max_fee", U256, nullable=False),
    Column("priority_fee", U256, nullable=False),
    Column("nonce", LargeBinary(12), nullable=False),
    Column("ciphertext", LargeBinary),
    Column("created_at", Timestamp, nullable=False),
    Column("sent_at", Timestamp),
    Column("sent_block", BigInteger),
    Column("tried_block", BigInteger),
    Column("verdict", Text),
    Index(None, "transaction_id"),
    comment="Signed bytes for a slot, encrypted under the pool key: they hold seeds.",
)

requests = Table(
    "requests",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    Column("request_id", Hash32, primary_key=True),
    Column("seed_index", BigInteger, nullable=False),
    Column("requester", Address, nullable=False),
    Column("callback_gas_limit", BigInteger, nullable=False),
    Column("num_words", Integer, nullable=False),
    Column("confirmations", Integer, nullable=False),
    Column("fee", U256, nullable=False),
    Column("user_seed", Hash32, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", Hash32, nullable=False),
    Column("transaction_hash", Hash32, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("transaction_id", RowId, ForeignKey("transactions.id")),
    Column("outcome_hash", Hash32),
    Column("outcome_block", BigInteger),
    Column("outcome_block_hash", Hash32),
    Column("callback_succeeded", Boolean),
    Column("cost", U256),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    # A fulfillment has all of its outcome or none of it, and a fulfilled request has one.
    CheckConstraint(
        "(outcome_hash IS NULL) = (outcome_block IS NULL)"
        " AND (outcome_hash IS NULL) = (outcome_block_hash IS NULL)"
        " AND (outcome_hash IS NOT NULL OR state NOT IN ('mined', 'done'))",
        name="outcome",
    ),
    # What a fulfillment cost goes with it.
    CheckConstraint("cost IS NULL OR outcome_hash IS NOT NULL", name="cost"),
    Index(None, "chain_id", "contract", "state", "block_number"),
    Index(None, "chain_id", "contract", "state", "outcome_block"),
    Index(None, "state", "created_at", "seed_index"),
    Index(None, "created_at", "seed_index"),
    Index(None, "request_id"),
    Index(None, "transaction_id"),
    # The chain gives an index to one request; only a reorg can give it to another one.
    Index(
        "uq_requests_seed_index",
        "chain_id",
        "contract",
        "seed_index",
        unique=True,
        sqlite_where=text("state <> 'orphaned'"),
        postgresql_where=text("state <> 'orphaned'"),
    ),
    comment="One row per request id.",
)

airnode_requests = Table(
    "airnode_requests",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    Column("request_id", Hash32, primary_key=True),
    Column("airnode", Address, nullable=False),
    Column("requester", Address, nullable=False),
    Column("requester_count", BigInteger, nullable=False),
    Column("endpoint_id", Hash32),
    Column("template_id", Hash32),
    Column("sponsor", Address, nullable=False),
    Column("sponsor_wallet", Address, nullable=False),
    Column("fulfill_address", Address, nullable=False),
    Column("fulfill_function_id", LargeBinary(4), nullable=False),
    Column("parameters", LargeBinary, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", Hash32, nullable=False),
    Column("transaction_hash", Hash32, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    # What is sent: words, an array of them or a single one; or why it is failed.
    Column("num_words", Integer),
    Column("array", Boolean),
    Column("failure", Text),
    Column("drawn_at", Timestamp),
    Column("held_since", Timestamp),
    Column("exposed_at", Timestamp),
    # Public by now: it is in a block.
    Column("data", LargeBinary),
    Column("released_at", Timestamp),
    # Wei that the sponsor wallet needs for so much gas, and what it has: while it waits for that.
    Column("short_gas", BigInteger),
    Column("short_needed", U256),
    Column("short_had", U256),
    Column("transaction_id", RowId, ForeignKey("transactions.id")),
    Column("outcome_hash", Hash32),
    Column("outcome_block", BigInteger),
    Column("outcome_block_hash", Hash32),
    Column("callback_succeeded", Boolean),
    Column("cost", U256),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    CheckConstraint("(endpoint_id IS NULL) <> (template_id IS NULL)", name="kind"),
    CheckConstraint(
        "(short_gas IS NULL) = (short_needed IS NULL)"
        " AND (short_gas IS NULL) = (short_had IS NULL)",
        name="short",
    ),
    CheckConstraint(
        "(outcome_hash IS NULL) = (outcome_block IS NULL)"
        " AND (outcome_hash IS NULL) = (outcome_block_hash IS NULL)"
        " AND (outcome_hash IS NOT NULL OR state NOT IN ('mined', 'done'))",
        name="outcome",
    ),
    CheckConstraint("cost IS NULL OR outcome_hash IS NOT NULL", name="cost"),
    Index(None, "chain_id", "contract", "state", "block_number"),
    Index(None, "chain_id", "contract", "state", "outcome_block"),
    Index(None, "chain_id", "contract", "sponsor", "drawn_at"),
    Index(None, "created_at"),
    Index(None, "state", "created_at"),
    Index(None, "request_id"),
    Index(None, "transaction_id"),
    comment="One row per request of Airnode RRP v0.",
)

airnode_templates = Table(
    "airnode_templates",
    metadata,
    Column("template_id", Hash32, primary_key=True),
    Column("airnode", Address, nullable=False),
    Column("endpoint_id", Hash32, nullable=False),
    Column("parameters", LargeBinary, nullable=False),
    comment="What templates hold. Their ids are its hash, on every chain.",
)

airnode_withdrawals = Table(
    "airnode_withdrawals",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    Column("withdrawal_id", Hash32, primary_key=True),
    Column("sponsor", Address, nullable=False),
    Column("sponsor_wallet", Address, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("block_hash", Hash32, nullable=False),
    Column("state", Text, nullable=False),
    Column("transaction_id", RowId, ForeignKey("transactions.id")),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("reason", Text),
    Column("done_block", BigInteger),
    Column("done_block_hash", Hash32),
    CheckConstraint("state IN ('requested', 'signed', 'done', 'refused')", name="state"),
    CheckConstraint("(done_block IS NULL) = (done_block_hash IS NULL)", name="done"),
    Index(None, "chain_id", "contract", "state"),
    Index(None, "transaction_id"),
    comment="Sponsors that want back what their sponsor wallets hold.",
)

pruned_requests = Table(
    "pruned_requests",
    metadata,
    # The id comes first: it is looked up by its first digits too.
    Column("request_id", Hash32, primary_key=True),
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    # Of the native protocol's.
    Column("seed_index", BigInteger),
    Column("block_number", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome_block", BigInteger),
    Column("callback_succeeded", Boolean),
    Column("pruned_at", Timestamp, nullable=False),
    CheckConstraint("state IN ('done', 'cancelled', 'rejected')", name="state"),
    CheckConstraint(
        "(outcome_block IS NULL) = (callback_succeeded IS NULL)"
        " AND (outcome_block IS NOT NULL OR state <> 'done')",
        name="outcome",
    ),
    Index("uq_pruned_requests_seed_index", "chain_id", "contract", "seed_index", unique=True),
    sqlite_with_rowid=False,
    comment="What is left of requests that were finished long ago: enough to know them again.",
)

request_events = Table(
    "request_events",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("chain_id", BigInteger, nullable=False),
    Column("contract", Address, nullable=False),
    Column("request_id", Hash32, nullable=False),
    Column("before", Text),
    Column("after", Text, nullable=False),
    Column("reason", Text),
    Column("at", Timestamp, nullable=False),
    Index(None, "chain_id", "contract", "request_id"),
    comment="Append-only: every transition of every request.",
)

blocks = Table(
    "blocks",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("sources", Text, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("received_at", Timestamp, nullable=False),
    Column("digest", Hash32, nullable=False, unique=True),
    Column("nonce", LargeBinary(12), nullable=False),
    Column("ciphertext", LargeBinary),
    Column("purpose", Bytewise, unique=True),
    Column("destroyed_at", Timestamp),
    CheckConstraint("(ciphertext IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed"),
    Index(
        "ix_blocks_fresh",
        "received_at",
        sqlite_where=text("purpose IS NULL AND ciphertext IS NOT NULL"),
        postgresql_where=text("purpose IS NULL AND ciphertext IS NOT NULL"),
    ),
    comment="32-byte blocks of entropy, encrypted; each serves one purpose, once.",
)

sources = Table(
    "sources",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("advice", Text),
    Column("until", Timestamp),
    Column("failures", Integer, nullable=False),
    Column("quarantines", Integer, nullable=False),
    Column("period_began", Timestamp, nullable=False),
    Column("used_requests", BigInteger, nullable=False),
    Column("used_bits", BigInteger, nullable=False),
    Column("delivered_at", Timestamp),
    Column("updated_at", Timestamp, nullable=False),
    CheckConstraint(
        "state IN ('ready', 'waiting', 'exhausted', 'refused', 'quarantined', 'recovering')",
        name="state",
    ),
    comment="What is known of every entropy source, and what it was asked for in its quota's "
    "period.",
)

rounds = Table(
    "rounds",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("sources_per_seed", Integer, nullable=False),
    Column("sources", Text, nullable=False),
    Column("decided_at", Timestamp, nullable=False),
    comment="Which sources the next seeds are mixed from, written down before any is drawn from.",
)

draws = Table(
    "draws",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("round_id", RowId, ForeignKey("rounds.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("opened_at", Timestamp, nullable=False),
    Column("received_at", Timestamp),
    Column("bytes", Integer),
    Column("simulated", Boolean),
    Column("verdict", Text),
    Column("digest", Hash32),
    Column("provenance", Text),
    comment="Every call to a source, written down before it is made. No verdict: it was cut off.",
)

block_inputs = Table(
    "block_inputs",
    metadata,
    Column("block_id", LargeBinary(16), ForeignKey("blocks.id"), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("draw_id", RowId, ForeignKey("draws.id"), nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("digest", Hash32, nullable=False, unique=True),
    comment="What every block was mixed from, by keyed digest: it outlives the block.",
)

batches = Table(
    "batches",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    Column("first_index", BigInteger, primary_key=True, autoincrement=False),
    Column("root", Hash32, nullable=False),
    Column("leaves", LargeBinary(8192), nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    CheckConstraint("state IN ('built', 'committed', 'lost', 'erased')", name="state"),
    Index(None, "chain_id", "contract", "state", "first_index"),
    comment="256 seeds bound to consecutive indices of one coordinator. Leaf hashes are no "
    "secret.",
)

reveals = Table(
    "reveals",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    Column("seed_index", BigInteger, primary_key=True, autoincrement=False),
    Column("nonce", LargeBinary(12), nullable=False),
    Column("ciphertext", LargeBinary),
    Column("exposed_at", Timestamp, nullable=False),
    Column("erased_at", Timestamp),
    CheckConstraint("(ciphertext IS NULL) = (erased_at IS NOT NULL)", name="erased"),
    Index(
        "ix_reveals_kept",
        "seed_index",
        sqlite_where=text("ciphertext IS NOT NULL"),
        postgresql_where=text("ciphertext IS NOT NULL"),
    ),
    comment="Seeds that may have left the process, written down before they did.",
)

discards = Table(
    "discards",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("contract", Address, primary_key=True),
    Column("block_hash", Hash32, primary_key=True),
    Column("first_index", BigInteger, primary_key=True, autoincrement=False),
    Column("up_to", BigInteger, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("erased_at", Timestamp),
    CheckConstraint("first_index < up_to", name="order"),
    comment="Indices that the operator gave up, by the block that says so; then their seeds are "
    "erased.",
)

gateway_clients = Table(
    "gateway_clients",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Hash32, unique=True),
    Column("scopes", Text, nullable=False),
    Column("rate_requests", Integer),
    Column("rate_seconds", Integer),
    Column("quota_bytes", BigInteger),
    Column("created_at", Timestamp, nullable=False),
    Column("revoked_at", Timestamp),
    CheckConstraint("(digest IS NULL) = (name = 'anonymous')", name="keyless"),
    CheckConstraint("(rate_requests IS NULL) = (rate_seconds IS NULL)", name="rate"),
    Index(
        "uq_gateway_clients_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_at IS NULL"),
        postgresql_where=text("revoked_at IS NULL"),
    ),
    comment="Who may draw from the gateway, by the digest of a key; `anonymous` has none.",
)

gateway_usage = Table(
    "gateway_usage",
    metadata,
    Column("client_id", RowId, ForeignKey("gateway_clients.id"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    comment="What each client drew on each day, UTC; written with the draw itself.",
)
