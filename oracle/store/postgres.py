"""
The store on a PostgreSQL server: one writer at a time, over all nodes.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import event, select, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from oracle.errors import (
    ConfigError,
    DatabaseUnavailableError,
    InvariantError,
    NoDatabaseError,
)
from oracle.store.cursors import put_setting
from oracle.store.engine import CONNECTIONS, Access, Database
from oracle.store.postgres_hold import HOLDS, IS_HELD, LOCKS, TENURE, WRITER, Hold
from oracle.store.postgres_server import Server, is_lost, last_row
from oracle.store.schema import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.database_url import DatabaseUrl

_POOL_SECONDS = 10

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# Statements of their own, so that the last one sees what was committed before the lock was had.
_LOCK_WRITER = f"; SELECT pg_advisory_xact_lock({LOCKS}, {WRITER})"
_TENURE = "; SELECT value FROM settings WHERE name = 'tenure'"
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Nodes that start together bring the schema up to date once, and nobody writes meanwhile.
_BEGIN_MIGRATION = (
    f"{_BEGIN}; SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0"
    f"{_LOCK_WRITER}; SET LOCAL lock_timeout = '10s'"
)


class PostgresDatabase(Database):
    """
    A database on a PostgreSQL server.

    Guarantees: those of `Database`. A lost connection, a restarted server or one that cannot write
    is a `DatabaseUnavailableError`, and once the server is back it works again by itself. Who
    holds it and was replaced meanwhile gets a `DatabaseTakenError` and can write nothing.

    Does not: erase anything from the server's files; only another pool key makes what was
    destroyed unreadable there.
    """

    is_shared = True

    def __init__(self, url: DatabaseUrl, access: Access) -> None:
        self.name = str(url)
        self._server = Server(url, access)
        self._hold = Hold(self._server, access) if access.holds else None
        self._opened = False
        self._engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._connect,
            # The driver begins no transaction by itself: `_transaction` does, and says which kind.
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            pool_size=CONNECTIONS - 1,  # and the one that holds the database
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            use_native_hstore=False,
        )
        self._writing = asyncio.Lock()
        event.listen(self._engine.sync_engine, "checkout", _refuse_lost)

    @classmethod
    async def open_url(cls, url: DatabaseUrl, access: Access) -> Self:
        """
        Open a database on a server, see `Database.open`.
        """
        database = cls(url, access)
        try:
            if database._hold is not None:
                await database._hold.take()
            if access.migrates:
                await database.migrate()
            else:
                await database._check_version()
            if access is Access.ACT:
                async with database._transaction(_BEGIN + _LOCK_WRITER) as connection:
                    await database._enter(connection)
        except BaseException:
            await database.close()
            raise
        database._opened = True
        return database

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        try:
            return await self._server.connect()
        except ConfigError as error:
            if not self._opened:
                raise
            # It could be used once, so it may be again without a person's help.
            raise DatabaseUnavailableError(str(error)) from None

    async def migrate(self) -> None:
        """
        Bring the schema to the newest version, creating it where there is none.
        """
        from oracle.store.migrations import (  # noqa: PLC0415 - Alembic is slow to import
            breaks_others,
            upgrade,
        )

        assert self._hold is not None
        async with self._transaction(_BEGIN_MIGRATION) as connection:
            alone = await connection.run_sync(breaks_others)
            if alone:
                await self._hold.keep_others_away()
            await connection.run_sync(upgrade, self.name)
            await self._enter(connection, anew=alone)
        if alone:
            await self._hold.share_again()

    async def _enter(self, connection: AsyncConnection, *, anew: bool = False) -> None:
        """
        Write down, as the one writer, who holds the database from now on.
        """
        assert self._hold is not None
        if not await connection.scalar(text(HOLDS), {"pid": self._hold.pid}):
            raise DatabaseUnavailableError(
                f"the connection that holds {self.name} was lost at the start"
            )
        known = await connection.scalar(select(settings.c.value).where(settings.c.name == TENURE))
        await put_setting(connection, TENURE, self._hold.enter(known, anew=anew))

    async def _check_version(self) -> None:
        """
        Raise `ConfigError` when the schema is not this version's; only a node changes it.
        """
        from oracle.store.migrations import Fit, fit_of  # noqa: PLC0415 - Alembic is slow to import

        async with self.read() as connection:
            fit = await connection.run_sync(fit_of)
        if fit is Fit.NONE:
            raise NoDatabaseError(
                f"there is nothing of an oracle in {self.name}: start a node with `oracle run` "
                "first"
            )
        if fit is Fit.OLDER:
            raise ConfigError(
                f"{self.name} is no database of this version: start the node with `oracle run`, "
                "which brings it up to date"
            )
        fit.check(self.name)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield a connection inside a transaction that commits when the block is left without an
        error; no other node writes meanwhile.
        """
        async with self._writing, self._transaction(_BEGIN + _LOCK_WRITER, held=True) as one:
            yield one

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield a connection inside a transaction that waits for no other writer, see `Database`.
        """
        async with self._transaction(_BEGIN, held=True) as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield a connection inside a transaction that sees one snapshot.
        """
        async with self._transaction(_BEGIN_READ) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(
        self, begin: str, *, held: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """
        Begin a transaction in one round trip, and in it compare the number of whoever holds the
        database.
        """
        hold = self._hold if held else None
        try:
            if hold is not None:
                await hold.keep()
            async with self._engine.connect() as connection, connection.begin():
                driver = (await connection.get_raw_connection()).driver_connection
                assert isinstance(driver, psycopg.AsyncConnection)
                row = await last_row(driver, begin if hold is None else begin + _TENURE)
                if hold is not None:
                    hold.check(None if row is None else row[0])
                yield connection
                if driver.info.transaction_status is TransactionStatus.INERROR:
                    raise InvariantError(
                        "a transaction went on after an error: none of it was written"
                    )
        except (SQLAlchemyError, psycopg.Error) as error:
            raise self._server.translated(error) or error from None

    async def clock(self, connection: AsyncConnection) -> int:
        """
        Return the server's time, whatever machine asks.
        """
        milliseconds = await connection.scalar(
            text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        )
        assert isinstance(milliseconds, int)
        return milliseconds

    async def wipe(self) -> bool:
        """
        Return true: what a server keeps of deleted rows is out of reach, see docs/operating.md.
        """
        return True

    async def is_held(self) -> bool:
        """
        Return whether a node, or whatever keeps one from starting, holds the database now.
        """
        async with self.read() as connection:
            return bool(await connection.scalar(text(IS_HELD)))

    async def close(self) -> None:
        """
        Close every connection and let go of what was held.
        """
        await self._engine.dispose()
        if self._hold is not None:
            await self._hold.close()


def _refuse_lost(connection: Any, _: Any, __: Any) -> None:
    """
    Let the pool open another connection for one that the server has ended.
    """
    if is_lost(connection.driver_connection):
        raise DisconnectionError
