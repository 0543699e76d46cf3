"""
SQLite's connections, asked where that is cheapest.

aiosqlite hands every call to a thread of its connection. A query of the store takes some 20 µs and
the two changes of threads a tenth of a millisecond, several times for each statement, so that most
of what a node computed was that. Here the event loop asks SQLite itself; only what may wait, for
the disk or for another process, goes to the thread.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

# Calls, and first words of statements, that wait for nobody. What writes waits for others at its
# beginning, and for the disk at its end.
_CALLS = {"cursor", "fetchone", "fetchmany", "fetchall", "close", "rollback"}
_READS = {"SELECT", "BEGIN"}
_WRITES = {"INSERT", "UPDATE", "DELETE", "WITH"}
_BEGIN_TO_WRITE = "BEGIN IMMEDIATE"
# Of an error code; the rest is detail.
_KIND = 0xFF


class InlineConnection(aiosqlite.Connection):
    """
    A connection that one task at a time uses, as SQLAlchemy's pool hands them out.

    Guarantees: calls are made one after the other, in the order in which they came, also when one
    that waits was cancelled.

    Does not: give way to other tasks during a query, so a query must not take long.
    """

    def __init__(self, connector: Callable[[], Any]) -> None:
        """
        Connect with `connector`, whose connection may be used by any thread.
        """
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True
        # Calls that the thread was handed, and that it has made: one thread alone counts each.
        self._handed, self._made = 0, 0
        # Whether the transaction under way writes, as far as it was begun or used so.
        self._writes = False

    async def _execute(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Make a call; aiosqlite's own method, through which all of them go.
        """
        if not self._running or self._connection is None:
            # In aiosqlite's words, by which SQLAlchemy knows it.
            raise ValueError("Connection closed")
        name, statement = getattr(fn, "__name__", ""), args[0] if args else None
        begins = statement == _BEGIN_TO_WRITE
        if self._handed == self._made:
            if begins:
                with suppress(_Held):
                    return self._begin_at_once(fn, *args, **kwargs)
            elif self._is_quick(name, statement):
                return fn(*args, **kwargs)
        self._writes = begins or (self._writes and name != "commit")

        def counted() -> T:
            try:
                return fn(*args, **kwargs)
            finally:
                self._made += 1

        self._handed += 1
        done: T = await super()._execute(counted)  # type: ignore[no-untyped-call]
        return done

    def _is_quick(self, name: str, statement: object) -> bool:
        if name == "commit":
            return not self._writes
        if name not in {"execute", "executemany"} or not isinstance(statement, str):
            self._writes = self._writes and name != "rollback"
            return name in _CALLS
        word = statement.split(maxsplit=1)[0]
        self._writes = self._writes or word not in _READS
        return statement != _BEGIN_TO_WRITE and word in _READS | _WRITES

    def _begin_at_once(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Begin a transaction that writes.

        Raises `_Held` while another process writes.
        """
        assert self._connection is not None
        [(patience,)] = self._connection.execute("PRAGMA busy_timeout").fetchall()
        self._connection.execute("PRAGMA busy_timeout = 0").close()
        try:
            begun = fn(*args, **kwargs)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _KIND != sqlite3.SQLITE_BUSY:
                raise
            raise _Held from None
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {patience}").close()
        self._writes = True
        return begun


class _Held(Exception):  # noqa: N818 - it never leaves this module
    """
    Another process writes.
    """
