"""
The real store in a real SQLite file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.store.engine import Database
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """
    An empty database with the newest schema, held as a node holds it.
    """
    database = await Database.open(tmp_path / "oracle.db", exclusive=True)
    yield database
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
