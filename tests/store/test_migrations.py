from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from oracle.request import State
from oracle.store import requests, transactions
from oracle.store.engine import Access, Database
from oracle.store.migrations import _config
from oracle.store.schema import metadata
from oracle.store.transactions import Purpose, SlotState
from tests.databases import on_sqlite
from tests.factories import CHAIN_ID, COORDINATOR, WALLET, hash32, make_request

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.store

VERSION_TABLE = "alembic_version"


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def described(connection: Connection) -> dict[str, object]:
    """
    Return what Alembic's comparison leaves out: checks, and the conditions of indices.
    """
    inspector = inspect(connection)
    tables = [name for name in inspector.get_table_names() if name != VERSION_TABLE]
    indices = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    )
    return {
        "indices": {name: " ".join(sql.split()) for name, sql in indices},
        "checks": {
            (table, check["name"]): check["sqltext"]
            for table in tables
            for check in inspector.get_check_constraints(table)
        },
        "foreign keys": {
            (table, key["name"], *key["constrained_columns"], key["referred_table"])
            for table in tables
            for key in inspector.get_foreign_keys(table)
        },
        "primary keys": {
            table: (inspector.get_pk_constraint(table)["constrained_columns"]) for table in tables
        },
    }


def dump(connection: Connection) -> list[str]:
    raw = connection.connection.driver_connection
    assert raw is not None
    return list(connection.scalars(text("SELECT sql FROM sqlite_master ORDER BY name"))) + [
        str(row) for row in connection.execute(text(f"SELECT * FROM {VERSION_TABLE}"))
    ]


async def test_fresh_database_equals_the_schema(database: Database) -> None:
    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


@on_sqlite
async def test_constraints_and_conditions_equal_the_schema(
    database: Database, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(engine)
    with engine.connect() as connection:
        expected = described(connection)
    engine.dispose()
    async with database.read() as connection:
        found = await connection.run_sync(described)
    assert found == expected
    assert len(found["checks"]) >= 5  # type: ignore[arg-type]


@on_sqlite
async def test_second_upgrade_changes_nothing(database: Database) -> None:
    async with database.read() as connection:
        before = await connection.run_sync(dump)
    await database.migrate()
    async with database.read() as connection:
        assert await connection.run_sync(dump) == before
    assert len(before) > 10


def fill_version_5(connection: Connection) -> None:
    """
    Leave a mined fulfillment with its request, as version 5 kept them.
    """
    command.upgrade(_config(connection), "0005")
    request = make_request()
    rows: dict[str, dict[str, Any]] = {
        "transactions": {
            "id": 7,
            "chain_id": CHAIN_ID,
            "contract": bytes.fromhex(COORDINATOR[2:]),
            "wallet": bytes.fromhex(WALLET[2:]),
            "nonce": 3,
            "purpose": "fulfill",
            "gas_limit": 1,
            "state": "mined",
            "mined_hash": hash32("mined"),
            "mined_block": 110,
            "mined_block_hash": hash32("block", 110),
            "gas_used": 50_000,
            "gas_price": (10**9).to_bytes(32, "big"),
            "created_at": 1,
            "updated_at": 1,
        },
        "attempts": {
            "transaction_hash": hash32("mined"),
            "transaction_id": 7,
            "max_fee": bytes(32),
            "priority_fee": bytes(32),
            "nonce": bytes(12),
            "created_at": 1,
        },
        "requests": {
            "chain_id": CHAIN_ID,
            "contract": bytes.fromhex(COORDINATOR[2:]),
            "request_id": request.key.request_id,
            "seed_index": 0,
            "requester": bytes.fromhex(request.requester[2:]),
            "callback_gas_limit": 100_000,
            "num_words": 1,
            "confirmations": 1,
            "fee": request.fee.to_bytes(32, "big"),
            "user_seed": request.user_seed,
            "block_number": request.block_number,
            "block_hash": request.block_hash,
            "transaction_hash": request.transaction_hash,
            "log_index": 0,
            "state": "mined",
            "transaction_id": 7,
            "outcome_hash": hash32("mined"),
            "outcome_block": 110,
            "outcome_block_hash": hash32("block", 110),
            "callback_succeeded": True,
            "created_at": 1,
            "updated_at": 1,
        },
    }
    for table, row in rows.items():
        names = ", ".join(row)
        places = ", ".join(f":{name}" for name in row)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), row)
    connection.commit()


async def test_what_an_older_version_kept_is_there_in_the_newest(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'oracle.db'}")
    with engine.connect() as connection:
        fill_version_5(connection)
    engine.dispose()
    database = await Database.open(tmp_path / "oracle.db", Access.NODE)
    try:
        async with database.read() as connection:
            [found] = await requests.in_states(connection, CHAIN_ID, COORDINATOR, [State.MINED])
            slot = await transactions.get_slot(connection, 7)
            [attempt] = await transactions.attempts_of(connection, 7)
            assert await connection.run_sync(differences) == []
        assert (found.request, found.transaction_id) == (make_request(), 7)
        assert found.cost is None
        assert (slot.state, slot.purpose) == (SlotState.MINED, Purpose.FULFILL)
        assert attempt.transaction_hash == hash32("mined")
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            async with database.write() as tx:
                await tx.execute(text("UPDATE attempts SET transaction_id = 8"))
    finally:
        await database.close()
