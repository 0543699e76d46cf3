"""
Where an audit writes down what a chain says of requests, log by log.

It is a temporary SQLite file that grows with the chain, while memory does not.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from oracle.evm import Log


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEntry:
    """
    A request as the chain tells it up to the audited block; without a block where the log that
    made it was not read.
    """

    request_id: bytes
    state: str
    block: int | None
    settled_block: int | None
    settled_hash: bytes | None
    settled_transaction: bytes | None


E = TypeVar("E", bound=ChainEntry)


class Scratch(ABC, Generic[E]):
    """
    Requests of one contract in a file that is gone with the process.

    The schema has a table `requests` with `id`, `state`, `settled_block`, `settled_hash`,
    `settled_tx` and `seen`; `columns` are what `_read` is given of it.
    """

    def __init__(self, schema: str, columns: str) -> None:
        self._columns = columns
        # An empty name is a file that SQLite deletes by itself.
        self._book = sqlite3.connect("", isolation_level=None)
        self._book.executescript(schema)
        # Nobody else reads it, and nothing has to outlive a crash: one transaction is quickest.
        self._book.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._book.close()

    def get(self, request_id: bytes) -> E | None:
        """
        Return a request.
        """
        return next(self._entries("WHERE id = ?", request_id), None)

    def _insert(self, table: str, **values: object) -> bool:
        """
        Add a row; false if there is one with its key.
        """
        places = ", ".join("?" * len(values))
        query = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})"  # noqa: S608 - names
        try:
            self._book.execute(query, (*values.values(),))
        except sqlite3.IntegrityError:
            return False
        return True

    def _update(self, request_id: bytes, **values: object) -> None:
        """
        Change what is known of a request.
        """
        names = ", ".join(f"{name} = ?" for name in values)
        query = f"UPDATE requests SET {names} WHERE id = ?"  # noqa: S608 - names
        self._book.execute(query, (*values.values(), request_id))

    def _end(self, request_id: bytes, state: str, log: Log) -> None:
        """
        Give a request the state that a log puts it into for good.
        """
        self._update(
            request_id,
            state=state,
            settled_block=log.block_number,
            settled_hash=log.block_hash,
            settled_tx=log.transaction_hash,
        )

    def _entries(self, where: str, *values: object) -> Iterator[E]:
        query = f"SELECT {self._columns} FROM requests {where}"  # noqa: S608 - no value is in it
        for row in self._book.execute(query, values):
            yield self._read(row)

    @abstractmethod
    def _read(self, row: tuple[Any, ...]) -> E:
        """
        Return the entry of a row.
        """
