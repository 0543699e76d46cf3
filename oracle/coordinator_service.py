"""
One coordinator of the native protocol on one chain, as the steps see it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam

from oracle import log
from oracle.protocols.coordinator import REQUESTED, WINDOW_MARGIN, batch_start
from oracle.request import Outcome, RandomnessRequest, State
from oracle.service import MAX_REVERTS, ChainService, is_served_by, split_served
from oracle.store import batches, costs, requests
from oracle.store.schema import requests as table
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block, Log, Receipt
    from oracle.lane import Lane
    from oracle.pricing import FeeBand
    from oracle.protocols.coordinator import CoordinatorProtocol
    from oracle.request import RequestKey, Tracked, TrackedRequest
    from oracle.store.attempts import Attempt
    from oracle.store.book import Book
    from oracle.store.transactions import Slot

# Blocks that are enough to mine a fulfillment, replaced more than once.
DUE_BLOCKS = 32

_DEEP = (
    table.c.block_number + table.c.confirmations <= bindparam("with_asked"),
    table.c.block_number <= bindparam("up_to"),
)


@dataclass(slots=True)
class Search:
    """
    What is known of a log that is missing: kept while the node runs.
    """

    #: The block at which the chain's counter is asked for again, and the pause behind it.
    due: int = 0
    pause: int = 0
    #: The index that it took, and the endpoints that leave it out.
    index: int | None = None
    shown_by: set[object] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(ChainService[RandomnessRequest]):
    """
    A coordinator of the native protocol; `window` in blocks, `runway` in seeds.
    """

    lane: Lane
    protocol: CoordinatorProtocol
    #: Blocks from a request's own to the last in which it can be fulfilled.
    window: int
    #: How many seeds are to be committed ahead of the next request.
    runway: int
    #: How much more than its fee a request may cost, in wei, before it waits for cheaper gas;
    #: nothing where it never waits for that.
    max_loss: int | None
    #: Where the coordinator's gas margin is kept; nothing where it stays as it is.
    fee_band: FeeBand | None
    #: How long finished requests are kept at least; 0: for ever.
    keep_days: float
    #: What is known of logs that are missing.
    search: Search = field(default_factory=Search)
    #: Where batches of other stores begin that a person was told of.
    foreign_told: set[int] = field(default_factory=set)

    request_type = RandomnessRequest
    whole_history = True

    @property
    def book(self) -> Book[RandomnessRequest]:  # noqa: D102 - ChainService
        return requests.BOOK

    @property
    def topics(self) -> Sequence[bytes | None]:  # noqa: D102 - ChainService
        return ()

    @property
    def request_topics(self) -> Sequence[bytes | None]:  # noqa: D102 - ChainService
        return (REQUESTED,)

    @property
    def wallets(self) -> Collection[str]:  # noqa: D102 - ChainService
        return (self.lane.wallet,)

    def decode(self, item: Log) -> object | None:  # noqa: D102 - ChainService
        return self.protocol.decode(item)

    async def lane_of(self, wallet: str) -> Lane | None:  # noqa: D102 - ChainService
        return self.lane if wallet == self.lane.wallet else None

    def is_deep(  # noqa: D102 - ChainService
        self, request: RandomnessRequest, head: int
    ) -> bool:
        lead = 1 if self.devnet else 0
        return head >= request.block_number + max(request.confirmations - lead, self.depth)

    def confirmable(  # noqa: D102 - ChainService
        self, head: Block
    ) -> tuple[Sequence[ColumnElement[bool]], dict[str, int]]:
        lead = 1 if self.devnet else 0
        return _DEEP, {"with_asked": head.number + lead, "up_to": head.number - self.depth}

    def too_late(self, request: RandomnessRequest, head: Block, *, exposed: bool) -> bool:
        """
        Return whether a request is to be left alone: no seed is revealed for the first time in the
        last blocks of a window, and nothing is sent after it.
        """
        return self._left(request, head) < (0 if exposed else WINDOW_MARGIN)

    def is_due(self, request: RandomnessRequest, head: Block) -> bool:
        """
        Return whether a request is served whatever it costs: before a first reveal becomes too
        late, a quarter of the window is left to it, and 32 blocks at least. To wait until it
        expires would be to withhold it.
        """
        spare = self._left(request, head) - WINDOW_MARGIN
        return spare < max(self.window // 4, DUE_BLOCKS)

    def _left(self, request: RandomnessRequest, head: Block) -> int:
        """
        Return how many blocks of a request's window come after the next one.
        """
        return request.block_number + self.window - (head.number + 1)

    async def fitting(
        self, open_: Sequence[tuple[Slot, Sequence[Attempt]]], head: Block
    ) -> set[int]:
        """
        Return the slots whose newest bytes are still worth sending.

        Before they leave, all that they serve must be as it was when they were made. Afterwards
        their seeds are public, and they are good as long as one request needs them, or has them.
        """
        fitting = {slot.id for slot, _ in open_ if slot.purpose is not Purpose.FULFILL}
        open_ = [(slot, tries) for slot, tries in open_ if slot.id not in fitting]
        if not open_:
            return fitting
        async with self.database.read() as connection:
            served = await self.book.of_transactions(connection, [slot.id for slot, _ in open_])
            indices = [one.request.seed_index for each in served.values() for one in each]
            place = (self.chain_id, self.contract)
            exposed = await self.pool.exposed(connection, *place, indices)
            ours = await batches.ours_among(connection, *place, map(batch_start, indices))
        for slot, tries in open_:
            if slot.state is SlotState.SENT:
                fits = self._is_needed(served[slot.id], tries, head)
            else:
                fits = bool(served[slot.id]) and all(
                    tracked.state is State.SIGNED
                    and batch_start(tracked.request.seed_index) in ours
                    and not self.too_late(
                        tracked.request, head, exposed=tracked.request.seed_index in exposed
                    )
                    for tracked in served[slot.id]
                )
            if fits:
                fitting.add(slot.id)
        return fitting

    def _is_needed(
        self, served: Sequence[TrackedRequest], tries: Sequence[Attempt], head: Block
    ) -> bool:
        """
        Return whether one of the requests still needs what was sent for it, or has it.
        """
        return any(
            is_served_by(tracked, tries)
            or (
                tracked.state is State.SENT
                and not self.too_late(tracked.request, head, exposed=True)
            )
            for tracked in served
        )

    async def leave(  # noqa: D102 - ChainService
        self, tx: AsyncConnection, slots: Sequence[Slot]
    ) -> None:
        served = await self.book.of_transactions(
            tx, [slot.id for slot in slots if slot.purpose is Purpose.FULFILL]
        )
        requests_ = [tracked.request for each in served.values() for tracked in each]
        if requests_:
            indices = [request.seed_index for request in requests_]
            await self.pool.expose(tx, self.chain_id, self.contract, indices)
            keys = [request.key for request in requests_]
            await self.book.advance_all(tx, keys, State.SIGNED, State.SENT)

    async def land(  # noqa: D102 - ChainService
        self, tx: AsyncConnection, landed: Sequence[tuple[Slot, Receipt]]
    ) -> dict[int, int]:
        served = await self.book.of_transactions(tx, [slot.id for slot, _ in landed])
        mined: list[tuple[TrackedRequest, Outcome]] = []
        passed_over: list[tuple[list[TrackedRequest], str]] = []
        settled = {}
        for slot, receipt in landed:
            events = [self.protocol.decode(item) for item in receipt.logs]
            outcomes = {event.request_id: event for event in events if isinstance(event, Outcome)}
            missed, fulfilled = split_served(served[slot.id], outcomes)
            mined += fulfilled
            reason = (
                "passed_over" if receipt.ok else requests.reverted_reason(len(served[slot.id]))
            )
            passed_over.append((missed, reason))
            settled[slot.id] = len(outcomes)
        await self.book.fulfilled_all(tx, mined)
        hashes = [receipt.transaction_hash for _, receipt in landed]
        await costs.share(tx, self.book, hashes, self.protocol.item_gas)
        for missed, reason in passed_over:
            await self._release(tx, missed, reason)
        return settled

    async def releases(  # noqa: D102 - ChainService
        self, tx: AsyncConnection, slot: Slot, reason: str
    ) -> None:
        served = await requests.of_transaction(tx, slot.id)
        await self._release(tx, served, reason, transaction_id=None)

    async def settles(
        self,
        tx: AsyncConnection,
        outcomes: Sequence[tuple[Tracked[RandomnessRequest], Outcome]],
    ) -> None:
        """
        Share the costs of receipts that were read before their events.
        """
        hashes = {outcome.transaction_hash for _, outcome in outcomes}
        await costs.share(tx, self.book, hashes, self.protocol.item_gas)

    async def closes(  # noqa: D102 - ChainService
        self, tx: AsyncConnection, done: Sequence[RequestKey], settled: int
    ) -> None:
        del done
        if settled > self.window:
            await self.pool.erase_closed(tx, self.chain_id, self.contract, settled - self.window)

    async def _release(
        self,
        tx: AsyncConnection,
        served: Sequence[TrackedRequest],
        reason: str,
        **values: object,
    ) -> None:
        """
        Let requests go back to CONFIRMED whose bytes will not serve them. Those that keep the name
        of their transaction get no other one before that is settled: a reorg would bring it back.

        One that reverts alone again and again is given up. What reverted in company is signed in
        smaller runs, see `plan_runs`.
        """
        for tracked in served:
            if tracked.state not in (State.SIGNED, State.SENT):
                continue
            after = State.CONFIRMED
            if reason == requests.REVERTED:
                events = await requests.history(tx, tracked.request.key)
                if sum(event.reason == reason for event in events) + 1 >= MAX_REVERTS:
                    after = State.FAILED
                    log.get().error("request_given_up", **tracked.log_context(), reason=reason)
            await requests.advance(
                tx, tracked.request.key, tracked.state, after, reason=reason, **values
            )
