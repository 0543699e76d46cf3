"""
The rows of a store held against the book of a chain: it reads, a page at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from oracle.errors import ConfigError, InvariantError
from oracle.request import State, Tracked
from oracle.store import cursors, pool, retention
from oracle.store.retention import Pruned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.audit.findings import Findings
    from oracle.audit.scratch import ChainEntry
    from oracle.chain.interfaces import ChainReader
    from oracle.request import Request
    from oracle.store.book import Book
    from oracle.store.engine import Database

#: How many rows are read at once.
PAGE = 500

_E = TypeVar("_E", bound="ChainEntry")
R = TypeVar("R", bound="Request")
# What else the store knows of a request, read along with its row.
P = TypeVar("P")
_T = TypeVar("_T")
_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class Reach:
    """
    The last audited block that the node had read, and whether it had read more than is audited.
    """

    block: int
    beyond: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """
    What the states of a store claim about the chain, in the words of a protocol.

    `ends` are the claims of the states that make one; the others are the node's own judgement, and
    claim that the request is `open`. With the end `answered` the store keeps an outcome, which is
    called `outcome`.
    """

    open: str
    ends: Mapping[State, str]
    answered: str
    outcome: str

    def of(self, state: State) -> str:
        """
        Return what a state claims.
        """
        return self.ends.get(state, self.open)


class StoreRows(ABC, Generic[R, P]):
    """
    One store beside the book of one contract: what is the same for every protocol.

    A node may run meanwhile: a row is held against the chain only as far as the node had read it
    when the row was read.
    """

    def __init__(
        self,
        database: Database,
        book: Book[R],
        report: Findings,
        claims: Claims,
        *,
        page: int,
        first: int = 0,
    ) -> None:
        """
        Name what is held against each other; `first` is the first audited block, and `page` how
        many rows are in memory at once.
        """
        self._database = database
        self._requests = book
        self._report = report
        self._claims = claims
        self._page = page
        self._first = first
        self._place = (report.chain_id, report.contract)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._database.read() as connection:
                yield connection
        except (SQLAlchemyError, ValueError):
            raise InvariantError(
                f"{self._database.name} holds rows that cannot be read: the file is damaged, or "
                "was tampered with"
            ) from None

    async def check_chain(self, reader: ChainReader) -> None:
        """
        Raise `ConfigError` when the store is another chain's.
        """
        chain_id, _ = self._place
        async with self._reading() as connection:
            genesis = await cursors.get_setting(connection, f"genesis:{chain_id}")
        if genesis not in (None, (await reader.block(0)).hash.hex()):
            raise ConfigError(
                f"the database {self._database.name} belongs to another chain with id {chain_id}"
            )

    async def _reach(self, connection: AsyncConnection) -> Reach:
        cursor = await cursors.get_cursor(connection, *self._place)
        if cursor is None:
            return Reach(-1, beyond=False)
        audited = self._report.block
        return Reach(min(cursor.number, audited), beyond=cursor.number > audited)

    async def _pages(
        self,
        read: Callable[[AsyncConnection, _K], Awaitable[list[_T]]],
        after: _K,
        key_of: Callable[[_T], _K],
    ) -> AsyncIterator[tuple[list[_T], Reach]]:
        """
        Yield what comes after a key, page by page, with how far the node had read by then.
        """
        while True:
            async with self._reading() as connection:
                reach = await self._reach(connection)
                rows = await read(connection, after)
            yield rows, reach
            if len(rows) < self._page:
                return
            after = key_of(rows[-1])

    async def _check_requests(self) -> None:
        async with self._reading() as connection:
            # What the node had read before the first page is in the pages.
            read = (await self._reach(connection)).block
        async for rows, reach in self._pages(
            self._rows_after, b"", lambda found: found[0].request.key.request_id
        ):
            for row, proof in rows:
                self._check(row, reach, proof=proof)
        # After the requests: one that is pruned meanwhile is among the tombstones.
        async for tombstones, reach in self._pages(
            self._tombstones_after, b"", lambda found: found[0].key.request_id
        ):
            for tombstone, known in tombstones:
                self._check_tombstone(tombstone, reach, known=known)
        self._check_unseen(read)

    async def _rows_after(
        self, connection: AsyncConnection, after: bytes
    ) -> list[tuple[Tracked[R], P]]:
        rows = await self._requests.page(connection, *self._place, after, self._page)
        return list(zip(rows, await self._proofs(connection, rows), strict=True))

    async def _tombstones_after(
        self, connection: AsyncConnection, after: bytes
    ) -> list[tuple[Pruned, bool]]:
        rows = await retention.page(connection, *self._place, after, self._page)
        return list(zip(rows, await self._known(connection, rows), strict=True))

    @abstractmethod
    async def _proofs(
        self, connection: AsyncConnection, rows: Sequence[Tracked[R]]
    ) -> Sequence[P]:
        """
        Return what the store knows of each request beside its row.
        """

    @abstractmethod
    async def _known(self, connection: AsyncConnection, rows: Sequence[Pruned]) -> Sequence[bool]:
        """
        Say of each pruned request whether the store still knows that it answered it.
        """

    @abstractmethod
    def _check(self, row: Tracked[R], reach: Reach, *, proof: P) -> None:
        """
        Hold a row against the book.
        """

    @abstractmethod
    def _check_tombstone(self, row: Pruned, reach: Reach, *, known: bool) -> None:
        """
        Hold what is left of a pruned request against the book.
        """

    @abstractmethod
    def _check_unseen(self, last_block: int) -> None:
        """
        Judge what the chain has up to a block and the store does not know.
        """

    def _in_both(self, row: Tracked[R] | Pruned, entry: _E | None, reach: Reach) -> _E | None:
        """
        Return the book's entry of a row if there is something to compare: both have the request,
        and the node had read the block that holds it.
        """
        made = _made(row)
        orphaned = isinstance(row, Tracked) and row.state is State.ORPHANED
        if entry is None:
            if not orphaned and self._first <= made.block_number <= reach.block:
                self._find(row, "not_on_chain", "the chain does not have it")
            return None
        if (entry.block or 0) > reach.block:
            return None
        if orphaned:
            self._find(row, "state_differs", f"the chain has it in block {entry.block}")
            return None
        return entry

    def _check_claim(
        self,
        row: Tracked[R],
        entry: ChainEntry,
        reach: Reach,
        *,
        end: str,
        succeeded: bool | None,
    ) -> None:
        """
        Hold what a row's state claims against the request's end on chain and its callback.
        """
        claims, outcome = self._claims, row.outcome
        claim = claims.of(row.state)
        if (entry.settled_block or 0) > reach.block:
            end = claims.open
        if claim != claims.open and end == claims.open:
            later = reach.beyond and (outcome is None or outcome.block_number > self._report.block)
            if not later:
                self._find(row, "state_differs", f"the chain says that it is {claims.open}")
        elif claim != end:
            self._find(
                row,
                "state_differs",
                f"the chain says that it was {entry.state} in block {entry.settled_block}",
            )
        elif claim == claims.answered and (
            outcome is None
            or (outcome.transaction_hash, outcome.block_number, outcome.block_hash)
            != (entry.settled_transaction, entry.settled_block, entry.settled_hash)
            or outcome.callback_succeeded != succeeded
        ):
            self._find(
                row,
                "outcome_differs",
                f"the chain has another {claims.outcome} or callback result",
            )

    async def _check_pool(self) -> None:
        async with self._reading() as connection:
            for what in await pool.bound_twice(connection, PAGE):
                self._report.find("bound_twice", f"two blocks of the pool have the same {what}")

    def _find(self, row: Tracked[R] | Pruned, code: str, but: str) -> None:
        made, did = _made(row), "pruned" if isinstance(row, Pruned) else "has"
        self._report.find(
            code,
            f"the store {did} it as {row.state} since block {made.block_number}, and {but}",
            made.key.request_id,
        )


def _made(row: Tracked[R] | Pruned) -> R | Pruned:
    return row if isinstance(row, Pruned) else row.request
