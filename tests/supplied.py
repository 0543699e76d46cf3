"""
Sources that do what they are told, and what stands before them.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from oracle.entropy.source import Sample
from oracle.errors import SourceUnavailableError
from oracle.store import sources as store
from oracle.supplies import Supplies
from oracle.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.store.engine import Database
    from oracle.store.seal import PoolKey
    from oracle.store.sources import SourceRecord

# The first of March 2026, noon.
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
DOWN = SourceUnavailableError("down")


class Clock:
    """
    A clock that stands until it is moved.
    """

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Scripted:
    """
    A source that does what it is told, then gives fresh bytes.
    """

    max_bytes = 8192

    def __init__(self, name: str, *script: bytes | Exception) -> None:
        self.name = name
        self.asked: list[int] = []
        self.script = list(script)

    async def fetch(self, n_bytes: int) -> Sample:
        self.asked.append(n_bytes)
        await asyncio.sleep(0)
        told = self.script.pop(0) if self.script else fresh(n_bytes, self.name, len(self.asked))
        if isinstance(told, Exception):
            raise told
        return Sample(self.name, told, datetime.fromtimestamp(NOON, UTC), simulated=False)


class Metered(Scripted):
    """
    A source whose vendor says what was used.
    """

    reported = 0

    async def used_bits(self, first: date, last: date) -> int:
        assert (first, last) == (date(2026, 3, 1), date(2026, 3, 1))
        return self.reported


def fresh(n_bytes: int, *salt: object) -> bytes:
    return hashlib.shake_256(repr(salt).encode()).digest(n_bytes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def supply(key: PoolKey, clock: Clock) -> Callable[..., Supply]:
    def make(source: Scripted, **given: Any) -> Supply:
        settings: dict[str, Any] = {"vendor": source.name, "digest": key.digest, "clock": clock}
        return Supply(source, **(settings | given))

    return make


def together(*supplies: Supply) -> Supplies:
    return Supplies(supplies, per_seed=min(2, len({one.vendor for one in supplies})))


async def rows(database: Database, table: Any) -> list[Any]:
    async with database.read() as connection:
        return list(await connection.execute(select(table)))


async def record(database: Database, name: str) -> SourceRecord:
    async with database.read() as connection:
        found = await store.get(connection, name)
    assert found is not None
    return found


async def opened(database: Database) -> int:
    async with database.write() as tx:
        return await store.open_round(tx, 1, ["a"])
