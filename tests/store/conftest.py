"""
The real store in a real SQLite file, and on a real PostgreSQL server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from oracle.store.backup import back_up
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey
from oracle.store.sqlite import SqliteDatabase
from tests.databases import POSTGRES, SQLITE, Copy
from tests.migrated import lay_database
from tests.postgres import BLANK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from oracle.database_url import DatabaseUrl
    from tests.postgres import Postgres


@pytest.fixture(params=[SQLITE, POSTGRES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | DatabaseUrl:
    """
    Where an empty database is.
    """
    if request.param == SQLITE:
        return lay_database(tmp_path / "oracle.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.blank()


@pytest.fixture
async def database(place: Path | DatabaseUrl) -> AsyncIterator[Database]:
    """
    An empty database with the newest schema, held as a node holds it.
    """
    database = await Database.open(place, Access.NODE)
    yield database
    await database.close()


@pytest.fixture
async def copied(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Copy]:
    """
    Make and open a copy of a database as it is now, as a backup of it is.
    """
    made: list[Database] = []

    async def copy(database: Database) -> Database:
        place: Path | DatabaseUrl
        if isinstance(database, SqliteDatabase):
            place = tmp_path / f"copy{len(made)}.db"
            back_up(database.path, place)
        else:
            server: Postgres = request.getfixturevalue("postgres")
            place = await asyncio.to_thread(server.copy, BLANK)
        made.append(await Database.open(place, Access.NODE))
        return made[-1]

    yield copy
    for database in made:
        await database.close()


@pytest.fixture
def key() -> PoolKey:
    """
    The pool key.
    """
    return PoolKey(bytes(range(32)))


@pytest.fixture
def epoch(tmp_path: Path) -> EpochFile:
    """
    The epoch file, outside the database.
    """
    return EpochFile(tmp_path / "pool.key.epoch")


@pytest.fixture
async def pool(database: Database, key: PoolKey, epoch: EpochFile) -> Pool:
    """
    An empty pool that is unlocked.
    """
    pool = Pool(key, epoch)
    assert await pool.unlock(database) == 0
    return pool
