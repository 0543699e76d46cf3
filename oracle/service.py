"""
One contract on one chain, as the steps see it: everything that they are handed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from oracle.request import Outcome, Request, State
from oracle.store import transactions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.chain.interfaces import ChainReader
    from oracle.chain.sender import Broadcaster
    from oracle.evm import Block, Log, Receipt
    from oracle.lane import Lane
    from oracle.request import RequestKey, Tracked
    from oracle.store.attempts import Attempt
    from oracle.store.book import Book
    from oracle.store.cursors import Cursor
    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.store.transactions import Slot

# Reverted transactions of its own after which a request is given up.
MAX_REVERTS = 3

R = TypeVar("R", bound=Request)
O = TypeVar("O", bound=Outcome)  # noqa: E741 - an outcome

#: Says whether the chain has another block by now in the place of one.
Replaced = Callable[[int, bytes], Awaitable[bool]]


@dataclass(slots=True)
class Trail:
    """
    The last head up to which this process has read, and the cursor that it left on that branch.
    """

    head: Block | None = None
    cursor: Cursor | None = None

    def shows(self, cursor: Cursor, head: Block) -> bool:
        """
        Return whether a cursor is on the branch of a head, which is so where the head is the next
        block and nobody else has moved the cursor. What this does not tell has to be asked.
        """
        last = self.head
        return (
            last is not None
            and cursor == self.cursor
            and (last.number + 1, last.hash) == (head.number, head.parent_hash)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainService(ABC, Generic[R]):
    """
    What the steps share that serve a contract of whatever protocol; `depth` in blocks.

    A subclass knows the protocol: how its logs read, which wallets send for it, and what it means
    for its requests that a transaction leaves, lands or is given up.
    """

    chain_id: int
    contract: str
    database: Database
    pool: Pool
    reader: ChainReader
    #: Endpoints of others, one of which has to show a request too before its seed is revealed,
    #: so that none of them reveals nothing; nothing at all where the reader's own is trusted.
    witnesses: tuple[ChainReader, ...] | None
    sender: Broadcaster
    #: Blocks on top of a block before it counts as settled.
    depth: int
    #: The first block that is read.
    start_block: int
    #: On a devnet the next block is as good as here: a request is confirmed one block earlier.
    devnet: bool
    trail: Trail = field(default_factory=Trail)

    #: What `decode` returns for the log that makes a request.
    request_type: ClassVar[type]
    #: Whether nothing of the contract that concerns this node lies below `start_block`.
    whole_history: ClassVar[bool]

    @property
    @abstractmethod
    def book(self) -> Book[R]:
        """
        Where its requests are written down.
        """

    @property
    @abstractmethod
    def topics(self) -> Sequence[bytes | None]:
        """
        What every log that concerns this node has in common.
        """

    @property
    @abstractmethod
    def request_topics(self) -> Sequence[bytes | None]:
        """
        What every log that makes a request for this node has in common.
        """

    @property
    @abstractmethod
    def wallets(self) -> Collection[str]:
        """
        The wallets whose nonces are looked after even while they send nothing.
        """

    async def under_way(self) -> tuple[set[State], bool]:
        """
        Return the states of the requests that are on their way, and whether a transaction is.
        """
        place = (self.chain_id, self.contract)
        async with self.database.read() as connection:
            states = await self.book.open_states(connection, *place)
            return states, await transactions.has_open(connection, *place)

    def look_after(self, wallet: str) -> None:
        """
        Have a wallet's nonces looked after from now on: a reorg has freed one.
        """
        del wallet

    @abstractmethod
    def decode(self, item: Log) -> object | None:
        """
        Return what a log of the contract says; nothing if it concerns nothing here.

        Raises `InconsistentChainError` when it contradicts itself.
        """

    @abstractmethod
    async def lane_of(self, wallet: str) -> Lane | None:
        """
        Return the lane of a wallet; nothing if this node does not have it any more.
        """

    @abstractmethod
    def is_deep(self, request: R, head: int) -> bool:
        """
        Return whether a request is as deep below a head as it and the configuration demand.
        """

    @abstractmethod
    def confirmable(self, head: Block) -> tuple[Sequence[ColumnElement[bool]], dict[str, int]]:
        """
        Return what holds of observed requests that are deep enough under a head: conditions that
        are always the same, and the values of their parameters.
        """

    @abstractmethod
    async def fitting(
        self, open_: Sequence[tuple[Slot, Sequence[Attempt]]], head: Block
    ) -> set[int]:
        """
        Return the ids of the slots, none of them a filler, whose newest bytes are still worth
        sending.
        """

    @abstractmethod
    async def leave(self, tx: AsyncConnection, slots: Sequence[Slot]) -> None:
        """
        Write down, before the first byte of any of the slots leaves, what they make public.
        """

    @abstractmethod
    async def land(
        self, tx: AsyncConnection, landed: Sequence[tuple[Slot, Receipt]]
    ) -> dict[int, int]:
        """
        Write down what the mined transactions of slots did; return how many requests each settled,
        by the slots' ids.
        """

    @abstractmethod
    async def releases(self, tx: AsyncConnection, slot: Slot, reason: str) -> None:
        """
        Let requests go back to where they are judged: the slot's bytes will not serve them.
        """

    @abstractmethod
    async def closes(self, tx: AsyncConnection, done: Sequence[RequestKey], settled: int) -> None:
        """
        Destroy the secrets that nothing needs any more; `done` are the requests that became final
        with block `settled`.
        """

    async def drops(self, suspect: int, replaced: Replaced) -> int:
        """
        Take back what is no request and lies in a block that was replaced, from a block on; return
        how much was news.
        """
        del suspect, replaced
        return 0

    async def notes(self, tx: AsyncConnection, events: Sequence[object]) -> int:
        """
        Write down what a range of blocks says beside requests; return how much was news.
        """
        del tx, events
        return 0

    async def settles(
        self, tx: AsyncConnection, outcomes: Sequence[tuple[Tracked[R], Outcome]]
    ) -> None:
        """
        Look at outcomes that were written down just now.
        """


def is_served_by(tracked: Tracked[Any], attempts: Iterable[Attempt]) -> bool:
    """
    Return whether the chain's logs tell that one of these transactions fulfilled a request.
    """
    return (
        tracked.state in (State.MINED, State.DONE)
        and tracked.outcome is not None
        and tracked.outcome.transaction_hash in {one.transaction_hash for one in attempts}
    )


def split_served(
    served: Sequence[Tracked[R]], outcomes: Mapping[bytes, O]
) -> tuple[list[Tracked[R]], list[tuple[Tracked[R], O]]]:
    """
    Return those of the requests that a transaction was to serve which it passed over, and those
    whose fulfillment is news, each with it.
    """
    passed_over, mined = [], []
    for tracked in served:
        outcome = outcomes.get(tracked.request.key.request_id)
        if outcome is None:
            passed_over.append(tracked)
        elif tracked.state in (State.SIGNED, State.SENT):
            mined.append((tracked, outcome))
    return passed_over, mined
