from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from oracle.errors import ConfigError, DatabaseLockedError, DatabaseTakenError
from oracle.request import State
from oracle.store import migrations, nonces, requests, transactions
from oracle.store.attempts import attempts_of
from oracle.store.cursors import put_setting
from oracle.store.engine import Access, Database
from oracle.store.migrations import _config
from oracle.store.schema import metadata
from oracle.store.transactions import Purpose, SlotState
from tests.factories import CHAIN_ID, COORDINATOR, WALLET, hash32, make_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.config import Config

    from oracle.database_url import DatabaseUrl
    from tests.postgres import Postgres

pytestmark = pytest.mark.store

VERSION_TABLE = "alembic_version"


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


INDICES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    f" AND tablename <> '{VERSION_TABLE}'",
}


def described(connection: Connection) -> dict[str, object]:
    """
    Return what Alembic's comparison leaves out: checks, collations, and the conditions of indices.
    """
    inspector = inspect(connection)
    tables = [name for name in inspector.get_table_names() if name != VERSION_TABLE]
    return {
        "indices": {
            name: " ".join(sql.split())
            for name, sql in connection.execute(text(INDICES[connection.dialect.name]))
        },
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
        "columns": {
            (table, column["name"]): (str(column["type"]), column["nullable"], column["default"])
            for table in tables
            for column in inspector.get_columns(table)
        },
    }


def dump(connection: Connection) -> list[str]:
    return [
        str(described(connection)),
        str(connection.execute(text(f"SELECT * FROM {VERSION_TABLE}")).all()),
        str(connection.execute(text("SELECT * FROM settings ORDER BY name")).all()),
    ]


def driver_url(place: Path | DatabaseUrl) -> str:
    return f"sqlite:///{place}" if isinstance(place, Path) else place.text


@pytest.fixture
def bare(place: Path | DatabaseUrl, request: pytest.FixtureRequest) -> Path | DatabaseUrl:
    """
    Where a database without a schema is.
    """
    if isinstance(place, Path):
        return place.with_name("bare.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.create()


async def test_fresh_database_equals_the_schema(database: Database) -> None:
    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_constraints_and_conditions_equal_the_schema(
    database: Database, bare: Path | DatabaseUrl
) -> None:
    engine = create_engine(driver_url(bare))
    metadata.create_all(engine)
    with engine.connect() as connection:
        expected = described(connection)
    engine.dispose()
    async with database.read() as connection:
        found = await connection.run_sync(described)
    assert found == expected
    assert len(found["checks"]) >= 5  # type: ignore[arg-type]


async def test_second_upgrade_changes_nothing(database: Database) -> None:
    async with database.read() as connection:
        before = await connection.run_sync(dump)
    await database.migrate()
    async with database.read() as connection:
        assert await connection.run_sync(dump) == before
    assert len(before[0]) > 1000


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


async def test_what_an_older_version_kept_is_there_in_the_newest(
    bare: Path | DatabaseUrl,
) -> None:
    engine = create_engine(driver_url(bare))
    with engine.connect() as connection:
        fill_version_5(connection)
    engine.dispose()
    database = await Database.open(bare, Access.NODE)
    try:
        async with database.read() as connection:
            [found] = await requests.in_states(connection, CHAIN_ID, COORDINATOR, [State.MINED])
            slot = await transactions.get_slot(connection, 7)
            [attempt] = await attempts_of(connection, 7)
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


# What a version to come could do: add a column that may be empty, and a table.
ADDED = (
    "ALTER TABLE requests ADD COLUMN tomorrow TEXT",
    "ALTER TABLE lanes ADD COLUMN holder TEXT DEFAULT 'nobody' NOT NULL",
    "CREATE TABLE tomorrow (id INTEGER PRIMARY KEY)",
    f"UPDATE {VERSION_TABLE} SET version_num = '9999'",
)


async def add_tomorrow(place: Path | DatabaseUrl, compatible_from: str) -> None:
    engine = create_engine(driver_url(place))
    with engine.begin() as connection:
        for change in ADDED:
            connection.execute(text(change))
        connection.execute(
            text("UPDATE settings SET value = :oldest WHERE name = 'compatible_from'"),
            {"oldest": compatible_from},
        )
    engine.dispose()


async def live(database: Database, index: int) -> None:
    """
    Write and read as a node does.
    """
    request = make_request(index)
    async with database.write() as tx:
        await requests.observe(tx, request)
        await requests.advance(tx, request.key, State.OBSERVED, State.CONFIRMED)
        await nonces.skip_nonces(tx, CHAIN_ID, {WALLET: index})
    async with database.read() as connection:
        found = await requests.get(connection, request.key)
        assert found is not None
        assert found.state is State.CONFIRMED
        assert await nonces.next_nonces(connection, CHAIN_ID, [WALLET]) == {WALLET: index}


async def test_a_node_works_on_while_a_newer_version_changes_the_schema(
    bare: Path | DatabaseUrl,
) -> None:
    database = await Database.open(bare, Access.NODE)
    try:
        for index in range(8):  # often enough that the driver has prepared its statements
            await live(database, index)
        await add_tomorrow(bare, migrations.newest())
        for index in range(8, 16):
            await live(database, index)
    finally:
        await database.close()
    # And it can be started again, and looked at.
    for access in (Access.NODE, Access.ACT, Access.VISIT, Access.READ):
        await (await Database.open(bare, access)).close()
    async with (database := await Database.open(bare, Access.NODE)).read() as connection:
        version = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    assert version == "9999"
    await database.close()


async def test_a_schema_that_this_version_cannot_work_on_is_refused(
    bare: Path | DatabaseUrl,
) -> None:
    await (await Database.open(bare, Access.NODE)).close()
    await add_tomorrow(bare, "9998")
    for access in Access:
        with pytest.raises(ConfigError, match=r"by a newer version, .*: start the newer one"):
            await Database.open(bare, access)


async def test_an_older_schema_is_left_alone_by_all_but_nodes(
    bare: Path | DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(driver_url(bare))
    with engine.begin() as connection:
        command.upgrade(_config(connection), "0010")
    engine.dispose()
    for access in (Access.ACT, Access.VISIT, Access.READ):
        with pytest.raises(ConfigError, match="is no database of this version: start the node"):
            await Database.open(bare, access)
    await (await Database.open(bare, Access.NODE)).close()


async def test_a_breaking_change_waits_until_no_older_node_runs(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create()
    newest = migrations.newest
    with monkeypatch.context() as patch:
        # A program that knows no more than version 10.
        patch.setattr(migrations, "newest", lambda: "0010")
        patch.setattr(command, "upgrade", partial(upgrade_to, "0010", command.upgrade))
        old = await Database.open(url, Access.NODE)
    monkeypatch.setattr(migrations, "_breaking", newest)
    with pytest.raises(DatabaseLockedError, match="nodes of an older version run on"):
        await Database.open(url, Access.NODE)
    async with old.write() as tx:
        await put_setting(tx, "name", "value")
    # One that lost the database meanwhile, and does not know it yet, writes nothing more.
    postgres.end_sessions(url.shown.partition("?")[0].rpartition("/")[2])
    new = await Database.open(url, Access.NODE)
    with pytest.raises(DatabaseTakenError):
        async with old.write() as tx:
            await put_setting(tx, "name", "value")
    # Others of the new version come in as ever.
    await (await Database.open(url, Access.NODE)).close()
    async with new.write() as tx:
        await put_setting(tx, "name", "value")
    await new.close()
    await old.close()


def upgrade_to(revision: str, upgrade: Callable[..., None], config: Config, _: str) -> None:
    upgrade(config, revision)
