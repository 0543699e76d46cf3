"""
Opening the database: the only place that knows which database it is.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from oracle.errors import ConfigError, DatabaseLockedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Self

    from sqlalchemy.engine import Connection

_BUSY_MILLISECONDS = 10_000
_PRAGMAS = (
    "journal_mode = WAL",
    # What is deleted is overwritten; with the truncating checkpoint nothing of it stays in the
    # files.
    "secure_delete = ON",
    "synchronous = FULL",
    "foreign_keys = ON",
    f"busy_timeout = {_BUSY_MILLISECONDS}",
    "temp_store = MEMORY",
)


def now() -> int:
    """
    Return the time in milliseconds since 1970, UTC.
    """
    return time.time_ns() // 1_000_000


class Database:
    """
    A SQLite file with one writer.

    Guarantees: a `write` block is one serializable transaction, durable when the block is left;
    with `exclusive` no other process holds the database that way.

    Does not: create a file by accident; only `migrate` creates it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._engine = create_async_engine(
            URL.create(
                "sqlite+aiosqlite",
                database=f"file:{quote(str(path))}" if read_only else str(path),
                query={"mode": "ro", "uri": "true"} if read_only else {},
            ),
            # An error's text would hold what was being written.
            hide_parameters=True,
        )
        self._writing = asyncio.Lock()
        self._lock_file: int | None = None
        event.listen(
            self._engine.sync_engine, "connect", _on_connect_to_read if read_only else _on_connect
        )
        event.listen(self._engine.sync_engine, "begin", _on_begin)

    @classmethod
    async def open(
        cls, path: Path, *, exclusive: bool, migrate: bool = True, read_only: bool = False
    ) -> Self:
        """
        Open the database and bring its schema up to date; `exclusive` is for the node, and without
        `migrate` for what has to keep a node from starting meanwhile. With `read_only` nothing can
        be written, by mistake neither.

        Raises `DatabaseLockedError` when another node holds it, `ConfigError` when it cannot be
        opened.
        """
        database = cls(path, read_only=read_only)
        if exclusive:
            database._take_lock()
        if exclusive and migrate:
            try:
                await database.migrate()
            except (DatabaseError, OSError):
                await database.close()
                raise ConfigError(
                    f"{path} cannot be opened as a SQLite database: name another file"
                ) from None
        elif not path.exists():
            raise ConfigError(
                f"there is no database at {path}: start a node with `oracle run` first"
            )
        else:
            await database._check_version()
        return database

    @staticmethod
    def is_held(path: Path) -> bool:
        """
        Return whether a node, or whatever keeps one from starting, holds the database now.
        """
        try:
            lock = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _take_lock(self) -> None:
        """
        Take a lock beside the file which dies with this process.
        """
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self._lock_file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the database folder {self.path.parent} cannot be written ({error.strerror}): "
                "create it or correct `database`"
            ) from None
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseLockedError(
                f"another node runs on {self.path}: stop it first, SQLite serves one node"
            ) from None

    async def migrate(self) -> None:
        """
        Bring the schema to the newest version, creating the file (mode 0600) if there is none.
        """
        from oracle.store.migrations import upgrade  # noqa: PLC0415 - Alembic is slow to import

        if not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        async with self._engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            # A table is changed by copying it and dropping the old one, while others refer to it.
            await driver.execute("PRAGMA foreign_keys = OFF")
            try:
                await connection.run_sync(upgrade)
                await connection.commit()
            finally:
                await connection.rollback()
                await driver.execute("PRAGMA foreign_keys = ON")

    async def _check_version(self) -> None:
        """
        Raise `ConfigError` when the schema is another version's; only a node changes it.
        """
        from oracle.store.migrations import newest  # noqa: PLC0415 - Alembic is slow to import

        try:
            async with self.read() as connection:
                found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        except DatabaseError:
            found = None
        if found != newest():
            await self.close()
            raise ConfigError(
                f"{self.path} is no database of this version: start the node with `oracle run`, "
                "which brings it up to date"
            )

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield a connection inside a transaction that commits when the block is left without an
        error.
        """
        async with self._writing, self._engine.connect() as connection:
            await connection.execution_options(oracle_write=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield a connection inside a transaction that sees one snapshot.
        """
        async with self._engine.connect() as connection, connection.begin():
            yield connection

    async def wipe(self) -> bool:
        """
        Truncate the write-ahead log, so that what was destroyed is in no file; false when a reader
        held it up.
        """
        async with self._writing, self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert driver is not None
            # A reader must not hold up the node: what cannot be truncated now can be later.
            await driver.execute("PRAGMA busy_timeout = 0")
            try:
                cursor = await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                busy, _, _ = await cursor.fetchone()
                await cursor.close()
            finally:
                await driver.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
            return not busy

    async def close(self) -> None:
        """
        Close every connection and release the lock.
        """
        await self._engine.dispose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _on_connect(connection: Any, _: Any) -> None:
    # The driver begins no transaction by itself: `_on_begin` does, and says which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_connect_to_read(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}").close()


def _on_begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("oracle_write", False)
    connection.execute(text("BEGIN IMMEDIATE" if writing else "BEGIN"))
