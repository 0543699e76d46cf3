"""
A database as a node sees it that holds a lease: nothing is written once the lease is lost.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oracle.store.engine import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection


class FencedDatabase(Database):
    """
    Another database with a fence around its writes.

    Guarantees: `check` runs in every transaction of `write` and `claim`, before anything else;
    what it raises ends the transaction, with nothing written.
    """

    def __init__(
        self, database: Database, check: Callable[[AsyncConnection], Awaitable[None]]
    ) -> None:
        self.name = database.name
        self.is_shared = database.is_shared
        self._database = database
        self._check = check

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:  # noqa: D102 - Database
        async with self._database.write() as tx:
            await self._check(tx)
            yield tx

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[AsyncConnection]:  # noqa: D102 - Database
        async with self._database.claim() as tx:
            await self._check(tx)
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:  # noqa: D102 - Database
        async with self._database.read() as connection:
            yield connection

    async def migrate(self) -> None:  # noqa: D102 - Database
        await self._database.migrate()

    async def clock(self, connection: AsyncConnection) -> int:  # noqa: D102 - Database
        return await self._database.clock(connection)

    async def wipe(self) -> bool:  # noqa: D102 - Database
        return await self._database.wipe()

    async def is_held(self) -> bool:  # noqa: D102 - Database
        return await self._database.is_held()

    async def close(self) -> None:
        """
        Leave the database open: it is others' too.
        """
