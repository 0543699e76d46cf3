"""
Opening the database: the contract that the store has with whichever database it is.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.errors import ConfigError, NoDatabaseError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.database_url import DatabaseUrl

#: How many sessions a process may have with a server.
CONNECTIONS = 7


def now() -> int:
    """
    Return the time in milliseconds since 1970, UTC.
    """
    return time.time_ns() // 1_000_000


class Access(Enum):
    """
    What a process wants of the database, and who else it lets in.
    """

    NODE = "node"  #: a node: brings the schema up to date; other nodes share what can be shared
    SOLE = "sole"  #: brings the schema up to date, and keeps every node and every other sole away
    ACT = "act"  #: keeps them away too, and takes the schema as it is
    VISIT = "visit"  #: beside whoever works on it, reading and writing
    READ = "read"  #: beside whoever works on it, unable to write

    @property
    def holds(self) -> bool:
        """
        Whether somebody else is kept away.
        """
        return self in {Access.NODE, Access.SOLE, Access.ACT}

    @property
    def migrates(self) -> bool:
        """
        Whether the schema is brought up to date.
        """
        return self in {Access.NODE, Access.SOLE}


class Database(ABC):
    """
    The store's database, a SQLite file or on a PostgreSQL server.

    Guarantees: a `write` block is one serializable transaction, durable when the block is left,
    and no other one goes on meanwhile in any process; a `read` block sees one snapshot; who was
    let in as `Access` says stays the only one of its kind, or cannot write.

    A database that is away for now raises `DatabaseUnavailableError` from any block, and one that
    is full, read-only or damaged `DatabaseFailedError`; then nothing of the block was written that
    is known of.

    Does not: create a database by accident; only `migrate` creates one.
    """

    #: Where it is, as a person may see it: without a password.
    name: str
    #: Whether several nodes can share it.
    is_shared: bool

    @staticmethod
    async def exists(place: Path | DatabaseUrl) -> bool:
        """
        Return whether there is a database at a place; on a server, whether it holds an oracle's.
        """
        if isinstance(place, Path):
            return place.exists()
        try:
            database = await Database.open(place, Access.READ)
        except NoDatabaseError:
            return False
        await database.close()
        return True

    @staticmethod
    async def open(place: Path | DatabaseUrl, access: Access) -> Database:
        """
        Open the database and, where that is the access's part, bring its schema up to date.

        Raises `DatabaseLockedError` when somebody who has to be alone holds it, `NoDatabaseError`
        when there is none to visit, `ConfigError` when it cannot be opened or used, and
        `DatabaseUnavailableError` when its server does not answer now.
        """
        if isinstance(place, Path):
            from oracle.store.sqlite import SqliteDatabase  # noqa: PLC0415 - it imports this

            return await SqliteDatabase.open_file(place, access)
        try:
            from oracle.store.postgres import PostgresDatabase  # noqa: PLC0415 - as above
        except ImportError as error:
            if error.name != "psycopg" and "pq wrapper" not in str(error):
                raise
            raise ConfigError(
                "PostgreSQL needs a driver that is not installed: install the package with its "
                "extra, `quantum-oracle[postgres]`"
            ) from None
        return await PostgresDatabase.open_url(place, access)

    @staticmethod
    async def find(place: Path | DatabaseUrl, access: Access) -> Database | None:
        """
        Open the database as `open` does; nothing where there is none yet.
        """
        try:
            return await Database.open(place, access)
        except NoDatabaseError:
            return None

    @abstractmethod
    async def migrate(self) -> None:
        """
        Bring the schema to the newest version, creating it where there is none.
        """

    @abstractmethod
    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        Yield a connection inside a transaction that commits when the block is left without an
        error.
        """

    @abstractmethod
    def claim(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        Yield a connection inside a transaction that commits as that of `write` does, but does not
        wait for other writers: it sees what they have committed, and rows have to be locked.
        """

    @abstractmethod
    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        Yield a connection inside a transaction that sees one snapshot.
        """

    @abstractmethod
    async def clock(self, connection: AsyncConnection) -> int:
        """
        Return the database's own time in milliseconds since 1970, UTC: one for all nodes.
        """

    @abstractmethod
    async def wipe(self) -> bool:
        """
        Have what was destroyed vanish from the files, as far as the database can; false when a
        reader held it up.
        """

    @abstractmethod
    async def is_held(self) -> bool:
        """
        Return whether a node, or whatever keeps one from starting, holds the database now.
        """

    @abstractmethod
    async def close(self) -> None:
        """
        Close every connection and let go of what was held.
        """
