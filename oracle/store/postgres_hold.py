"""
Who works on a PostgreSQL database, and who is kept away meanwhile.

The lock of a session says who is there: it dies with its process. But the session can die first,
and be missed late: so whoever comes in also writes down a number, and every write compares it. A
process whose lock was lost, and after which somebody came that it would have kept away, finds
another number and can write nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg

from oracle.errors import (
    ConfigError,
    DatabaseLockedError,
    DatabaseTakenError,
    DatabaseUnavailableError,
)
from oracle.store.engine import Access
from oracle.store.postgres_server import is_lost, last_row

if TYPE_CHECKING:
    from oracle.store.postgres_server import Server

#: The class of all of the oracle's advisory locks: "orac" in ASCII.
LOCKS = 0x6F726163
#: Whoever writes.
WRITER = 1
#: Whoever works on the database, shared among nodes.
_WORKERS = 2
#: The setting that holds the number, and whether nodes share it.
TENURE = "tenure"
_SHARED, _ALONE = "shared", "alone"
_PATIENCE = "2s"  # for a session whose process was killed just now

_HELD = (
    "SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"  # noqa: S608 - of constants
    f" AND classid = {LOCKS} AND objid = {_WORKERS} AND objsubid = 2 AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)
IS_HELD = f"SELECT EXISTS ({_HELD})"
HOLDS = f"SELECT EXISTS ({_HELD} AND pid = :pid)"


class Hold:
    """
    A session that holds the database for a node, or against all nodes.

    Guarantees: what its number lets through was written while nobody had come in meanwhile whom
    this hold keeps away.
    """

    def __init__(self, server: Server, access: Access) -> None:
        self._server = server
        self._shared = access is Access.NODE
        self._session: psycopg.AsyncConnection[Any] | None = None
        self._taking = asyncio.Lock()
        self.tenure: str | None = None

    @property
    def _suffix(self) -> str:
        return "_shared" if self._shared else ""

    @property
    def pid(self) -> int:
        """
        The server's process of the session.
        """
        assert self._session is not None
        return self._session.info.backend_pid

    async def take(self) -> None:
        """
        Take the lock.

        Raises `DatabaseLockedError` when somebody holds it who cannot share it.
        """
        session = await self._server.connect()
        try:
            row = await last_row(
                session,
                f"SET lock_timeout = '{_PATIENCE}';"
                f" SELECT pg_backend_pid(), pg_advisory_lock{self._suffix}({LOCKS}, {_WORKERS})",
            )
            self._refuse_pooler(row, session.info.backend_pid)
        except psycopg.errors.LockNotAvailable:
            await session.close()
            raise DatabaseLockedError(self._locked()) from None
        except psycopg.Error as error:
            await session.close()
            raise self._server.translated(error) or error from None
        except BaseException:
            await session.close()
            raise
        self._session = session

    def _refuse_pooler(self, row: tuple[Any, ...] | None, pid: int) -> None:
        # The lock would be theirs to whom the pooler gives the session next.
        if row is None or row[0] != pid:
            raise ConfigError(
                f"a connection pooler stands before {self._server.name}: name the server itself "
                "in `database`"
            )

    def _locked(self) -> str:
        if self._shared:
            return (
                f"somebody works on {self._server.name} who has to be alone (a verb of the "
                "operator, or a gateway): start the node when that has ended"
            )
        return f"a node or gateway runs on {self._server.name}: stop it first"

    async def keep_others_away(self) -> None:
        """
        Hold it alone from now on. Raises `DatabaseLockedError` when somebody shares it.
        """
        assert self._session is not None
        row = await last_row(self._session, f"SELECT pg_try_advisory_lock({LOCKS}, {_WORKERS})")
        if row != (True,):
            raise DatabaseLockedError(
                f"nodes of an older version run on {self._server.name}, which cannot live with "
                "the schema of this one: stop them first"
            )

    async def share_again(self) -> None:
        """
        Let others in that can share it, after `keep_others_away`.
        """
        assert self._session is not None
        await last_row(self._session, f"SELECT pg_advisory_unlock({LOCKS}, {_WORKERS})")

    def enter(self, known: str | None, *, anew: bool = False) -> str:
        """
        Return the number that this hold writes down, given the one that is there; a new one unless
        nodes share it already.
        """
        number, _, kind = (known or "0 ").partition(" ")
        if self._shared and kind == _SHARED and not anew:
            self.tenure = f"{number} {_SHARED}"
        else:
            self.tenure = f"{int(number) + 1} {_SHARED if self._shared else _ALONE}"
        return self.tenure

    def check(self, found: str | None) -> None:
        """
        Raise `DatabaseTakenError` when the number that is there is not this hold's.
        """
        if found != self.tenure:
            raise DatabaseTakenError(
                f"somebody worked on {self._server.name} who had to be alone, while this process "
                "had lost it: start the process again"
            )

    async def keep(self) -> None:
        """
        Take the lock again if the session was lost.

        Raises `DatabaseUnavailableError` when that is not possible now.
        """
        async with self._taking:
            if self._session is not None and not is_lost(self._session):
                return
            await self.close()
            try:
                await self.take()
            except DatabaseLockedError as error:
                raise DatabaseUnavailableError(str(error)) from None

    async def close(self) -> None:
        """
        Let go.
        """
        if self._session is not None:
            session, self._session = self._session, None
            # Said, so that whoever comes next need not wait for the server to notice.
            if not is_lost(session):
                with suppress(psycopg.Error):
                    await last_row(session, "SELECT pg_advisory_unlock_all()")
            await session.close()
