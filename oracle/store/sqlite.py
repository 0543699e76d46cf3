"""
The store in a SQLite file: one node, one writer.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import AsyncAdaptedQueuePool, event
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from oracle.errors import (
    ConfigError,
    DatabaseFailedError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    NoDatabaseError,
    OracleError,
)
from oracle.store.engine import Access, Database, now
from oracle.store.inline import InlineConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
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
# What Python says of a text that is none, and all of that text.
_NO_TEXT = "Could not decode to UTF-8"
_FAILURES = {
    sqlite3.SQLITE_FULL: "its disk is full: make room, and start again",
    sqlite3.SQLITE_READONLY: (
        "it is read-only: correct the mode of the file and its folder, or how the disk is "
        "mounted, and start again"
    ),
    sqlite3.SQLITE_IOERR: "its disk fails: look at it, and restore a backup where it is damaged",
    sqlite3.SQLITE_CANTOPEN: "it can be opened no more: is its folder still there?",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database: restore a backup or name another",
}


class SqliteDatabase(Database):
    """
    A SQLite file with one writer.

    Guarantees: those of `Database`; whoever holds it holds a lock of the operating system, so that
    no second node starts.

    Does not: create a file by accident; only `migrate` creates it.
    """

    is_shared = False

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.name = str(path)
        place = f"file:{quote(str(path))}?mode=ro" if read_only else str(path)

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(place, uri=read_only, check_same_thread=False)

        self._engine = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=lambda: InlineConnection(connect),
            poolclass=AsyncAdaptedQueuePool,
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
    async def open_file(cls, path: Path, access: Access) -> Self:
        """
        Open a file, see `Database.open`.
        """
        if not (access.migrates or path.exists()):
            raise NoDatabaseError(
                f"there is no database at {path}: start a node with `oracle run` first"
            )
        database = cls(path, read_only=access is Access.READ)
        try:
            if access.holds:
                database._take_lock()
            if access.migrates:
                await database._prepare()
            else:
                await database._check_version()
        except BaseException:
            await database.close()
            raise
        return database

    async def _prepare(self) -> None:
        try:
            await self.migrate()
        except DatabaseError as error:
            code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_NOTADB)
            meaning = self._meaning(error.orig)
            if meaning is None or code == sqlite3.SQLITE_NOTADB:
                meaning = ConfigError(
                    f"{self.path} cannot be opened as a SQLite database: name another file"
                )
            raise meaning from None
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be made: {error.strerror}") from None

    async def is_held(self) -> bool:
        """
        Return whether a node, or whatever keeps one from starting, holds the database now.
        """
        try:
            lock = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _take_lock(self) -> None:
        """
        Take a lock beside the file which dies with this process.
        """
        try:
            self._lock_file = os.open(
                self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
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
                await connection.run_sync(upgrade, self.name)
                await connection.commit()
            finally:
                await connection.rollback()
                await driver.execute("PRAGMA foreign_keys = ON")

    async def _check_version(self) -> None:
        """
        Raise `ConfigError` when the schema is not this version's; only a node changes it.
        """
        from oracle.store.migrations import Fit, fit_of  # noqa: PLC0415 - Alembic is slow to import

        async with self.read() as connection:
            fit = await connection.run_sync(fit_of)
        if fit in {Fit.NONE, Fit.OLDER}:
            raise ConfigError(
                f"{self.path} is no database of this version: start the node with `oracle run`, "
                "which brings it up to date"
            )
        fit.check(self.name)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield a connection inside a transaction that commits when the block is left without an
        error.
        """
        with self._telling():
            async with self._writing, self._engine.connect() as connection:
                await connection.execution_options(oracle_write=True)
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield what `write` yields: there is one writer anyway.
        """
        async with self.write() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """
        Yield a connection inside a transaction that sees one snapshot.
        """
        with self._telling():
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """
        Say what an error of the file means for people.
        """
        try:
            yield
        except DBAPIError as error:
            raise self._meaning(error.orig) or error from None
        except sqlite3.Error as error:
            raise self._meaning(error) or error from None

    def _meaning(self, error: BaseException | None) -> OracleError | None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is in which way
        if str(error).startswith(_NO_TEXT):
            code = sqlite3.SQLITE_CORRUPT
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return DatabaseUnavailableError(
                f"the database {self.name} cannot be used now: others hold it up"
            )
        if code in _FAILURES:
            return DatabaseFailedError(f"the database {self.name} fails: {_FAILURES[code]}")
        return None

    async def clock(self, connection: AsyncConnection) -> int:
        """
        Return this machine's time: no other one has the file.
        """
        del connection
        return now()

    async def wipe(self) -> bool:
        """
        Truncate the write-ahead log, so that what was destroyed is in no file; false when a reader
        held it up.
        """
        with self._telling():
            return await self._truncate()

    async def _truncate(self) -> bool:
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
    # By the driver itself: SQLAlchemy's ways to it take longer than the database.
    cursor = connection.connection.cursor()
    try:
        cursor.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
    finally:
        cursor.close()
