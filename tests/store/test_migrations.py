from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from oracle.store.schema import metadata

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.store.engine import Database

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


async def test_second_upgrade_changes_nothing(database: Database) -> None:
    async with database.read() as connection:
        before = await connection.run_sync(dump)
    await database.migrate()
    async with database.read() as connection:
        assert await connection.run_sync(dump) == before
    assert len(before) > 10
