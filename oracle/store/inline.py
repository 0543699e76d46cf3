"""
SQLite's connections, asked where that is cheapest.

aiosqlite hands every call to a thread of its connection. A query of the store takes some 20 µs and
the two changes of threads a tenth of a millisecond, several times for each statement, so that most
of what a node computed was that. Here the event loop asks SQLite itself; only what may wait, for
the disk or for another process, goes to the thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

# Calls, and first words of statements, that wait for nobody: not the beginning of a transaction
# that writes, which waits for others, nor its end, which waits for the disk.
_CALLS = {"cursor", "fetchone", "fetchmany", "fetchall", "close", "rollback"}
_STATEMENTS = {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "BEGIN"}
_WAITS = "BEGIN IMMEDIATE"


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

    async def _execute(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Make a call; aiosqlite's own method, through which all of them go.
        """
        if not self._running or self._connection is None:
            # In aiosqlite's words, by which SQLAlchemy knows it.
            raise ValueError("Connection closed")
        if self._handed == self._made and _is_quick(fn, args):
            return fn(*args, **kwargs)

        def counted() -> T:
            try:
                return fn(*args, **kwargs)
            finally:
                self._made += 1

        self._handed += 1
        done: T = await super()._execute(counted)  # type: ignore[no-untyped-call]
        return done


def _is_quick(fn: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    name = getattr(fn, "__name__", "")
    if name in _CALLS:
        return True
    if name not in {"execute", "executemany"} or not (args and isinstance(args[0], str)):
        return False
    return args[0] != _WAITS and args[0].split(maxsplit=1)[0] in _STATEMENTS
