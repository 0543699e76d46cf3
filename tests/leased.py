"""
Nodes on one database, without their processes, and a clock that is the test's.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oracle.errors import DatabaseUnavailableError
from oracle.membership import Leased, SharedMembership
from oracle.store import leases
from oracle.store.cursors import get_setting, put_setting
from oracle.store.fenced import FencedDatabase
from oracle.store.leases import POOL
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.engine import Database

NAMES = ("native:1:0xaa", "native:2:0xbb", "airnode:1:0xcc", POOL)


class Time:
    """
    The time of the database and of every node, in milliseconds.
    """

    now = 1_000_000_000

    def monotonic(self) -> float:
        return self.now / 1000


class TimedDatabase(FencedDatabase):
    """
    A database whose clock is the test's, and that can be out of reach.
    """

    def __init__(self, database: Database, time: Time) -> None:
        super().__init__(database, self._pass)
        self.time = time
        self.down = False

    async def _pass(self, _: AsyncConnection) -> None:
        return

    async def clock(self, connection: AsyncConnection) -> int:
        del connection
        return self.time.now

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[AsyncConnection]:
        self._reach()
        async with super().claim() as tx:
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        self._reach()
        async with super().read() as connection:
            yield connection

    def _reach(self) -> None:
        if self.down:
            raise DatabaseUnavailableError("down")


async def join(
    database: Database, epoch: Path, names: tuple[str, ...] = NAMES
) -> SharedMembership:
    pool = Pool(PoolKey(bytes(32)), EpochFile(epoch))
    node = SharedMembership(database, pool)
    await pool.unlock(database, vouched=await node.is_vouched())
    for name in names:
        node.seat(name)
    async with database.write() as tx:
        await leases.register(tx, names)
    await node.beat()
    return node


def held(node: SharedMembership) -> set[str]:
    return {name for name in NAMES if (seat := seat_of(node, name)).held and not seat.leaving}


def seat_of(node: SharedMembership, name: str) -> Leased:
    seat = node.seat(name)
    assert isinstance(seat, Leased)
    return seat


async def write(node: SharedMembership, name: str, text: str) -> None:
    async with node.seat(name).database.write() as tx:
        await put_setting(tx, "work", text)


async def written(database: Database) -> str | None:
    async with database.read() as connection:
        return await get_setting(connection, "work")
