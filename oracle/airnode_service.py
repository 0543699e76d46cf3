"""
One Airnode on one chain's AirnodeRrpV0, as the steps see it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam

from oracle import log
from oracle.airnode_outcomes import AirnodeOutcome, keep_public, response
from oracle.airnode_request import AirnodeRequest, Failed, Fulfilled
from oracle.lane import Lane
from oracle.recent import Recent
from oracle.request import Outcome, State, Tracked
from oracle.service import MAX_REVERTS, ChainService, is_served_by, split_served
from oracle.store import airnode, costs, withdrawals
from oracle.store.airnode import airnode_purpose
from oracle.store.engine import now
from oracle.store.history import history
from oracle.store.schema import airnode_requests, airnode_withdrawals
from oracle.store.transactions import Purpose, SlotState
from oracle.store.withdrawals import WithdrawalState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_policy import AirnodePolicy
    from oracle.chain.fees import FeePolicy
    from oracle.chain.interfaces import GasEstimator
    from oracle.chain.sponsor_wallets import AirnodeKeys
    from oracle.evm import Block, Log, Receipt
    from oracle.protocols.airnode_rrp_v0 import AirnodeProtocol
    from oracle.request import RequestKey
    from oracle.service import Replaced
    from oracle.store.attempts import Attempt
    from oracle.store.book import Book
    from oracle.store.transactions import Slot

REVERTED = "reverted"
# Why a request waits whose wallet has enough under way.
WALLET_BUSY = "wallet_busy"
# Anybody can ask as any number of sponsors: this many wishes and lanes are kept at once.
WISHES, LANES = 10_000, 1_000

# Conditions, each made once.
_DEEP = airnode_requests.c.block_number <= bindparam("up_to")
_NEW, _WAITING = airnode_requests.c.reason.is_(None), airnode_requests.c.reason.is_not(None)
_BUSY = airnode_requests.c.reason == WALLET_BUSY
_ENDED_UNSEEN = (
    airnode_requests.c.drawn_at.is_not(None),
    airnode_requests.c.exposed_at.is_(None),
)
_RETURNED_SINCE = (
    airnode_withdrawals.c.state == WithdrawalState.DONE,
    airnode_withdrawals.c.done_block >= bindparam("since"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodeService(ChainService[AirnodeRequest]):
    """
    Requests to an Airnode, answered from the pool.

    Guarantees: a number is bound to a request id once, before anything is signed, and is the same
    in every retry, restart and reorg.
    """

    protocol: AirnodeProtocol
    keys: AirnodeKeys
    fees: FeePolicy
    policy: AirnodePolicy
    estimator: GasEstimator
    #: Requests in blocks up to this one wait for the operator's word where no number is bound to
    #: them: the store was restored from a backup, and the original may have answered them.
    restored_at: int | None = None
    #: Whether the chain is a rollup of the OP stack, which charges for data beside gas.
    rollup: bool = False
    #: How long finished requests are kept at least; 0: for ever.
    keep_days: float = 0
    #: Depths that requesters wish for, where they are not `depth`. A request whose wish was
    #: forgotten, as by a restart, was as deep as that when its number was drawn.
    wishes: Recent[RequestKey, int] = field(default_factory=lambda: Recent(WISHES))
    #: Lanes by sponsor, and the same by wallet.
    _lanes: Recent[str, Lane] = field(default_factory=lambda: Recent(LANES))
    _lanes_of: Recent[str, Lane] = field(default_factory=lambda: Recent(LANES))
    _turns: dict[State, int] = field(default_factory=dict)
    _freed: set[str] = field(default_factory=set)

    request_type = AirnodeRequest
    whole_history = False

    @property
    def book(self) -> Book[AirnodeRequest]:  # noqa: D102 - ChainService
        return airnode.BOOK

    @property
    def topics(self) -> Sequence[bytes | None]:  # noqa: D102 - ChainService
        return self.protocol.topics

    @property
    def request_topics(self) -> Sequence[bytes | None]:  # noqa: D102 - ChainService
        return self.protocol.topics

    @property
    def wallets(self) -> Collection[str]:  # noqa: D102 - ChainService
        # There is one for every sponsor: of those that send nothing, few are looked after.
        return self._freed

    def look_after(self, wallet: str) -> None:  # noqa: D102 - ChainService
        self._freed.add(wallet)

    def decode(self, item: Log) -> object | None:  # noqa: D102 - ChainService
        event = self.protocol.decode(item)
        if not isinstance(event, Fulfilled | Failed):
            return event
        return AirnodeOutcome(
            request_id=event.request_id,
            callback_succeeded=isinstance(event, Fulfilled),
            transaction_hash=event.place.transaction_hash,
            block_number=event.place.block_number,
            block_hash=event.place.block_hash,
            data=event.data if isinstance(event, Fulfilled) else None,
            message=event.message if isinstance(event, Failed) else None,
        )

    def lane_for(self, sponsor: str) -> Lane:
        """
        Return the lane of a sponsor's wallet.
        """
        lane = self._lanes.get(sponsor)
        if lane is None:
            lane = Lane(
                chain_id=self.chain_id,
                contract=self.contract,
                signer=self.keys.sponsor_wallet(sponsor),
                fees=self.fees,
                key=self.pool.key,
            )
            self._lanes.put(sponsor, lane)
            self._lanes_of.put(lane.wallet, lane)
        return lane

    async def lane_of(self, wallet: str) -> Lane | None:  # noqa: D102 - ChainService
        known = self._lanes_of.get(wallet)
        if known is not None:
            return known
        async with self.database.read() as connection:
            sponsor = await airnode.sponsor_of(connection, self.chain_id, wallet)
        if sponsor is None:
            return None
        lane = self.lane_for(sponsor)
        # With another mnemonic it is another wallet.
        return lane if lane.wallet == wallet else None

    def is_deep(  # noqa: D102 - ChainService
        self, request: AirnodeRequest, head: int
    ) -> bool:
        wish = self.wishes.get(request.key)
        return head >= request.block_number + (self.depth if wish is None else wish)

    def confirmable(  # noqa: D102 - ChainService
        self, head: Block
    ) -> tuple[Sequence[ColumnElement[bool]], dict[str, int]]:
        depth = 0 if self.policy.lower_confirmations else self.depth
        return (_DEEP,), {"up_to": head.number - depth}

    async def due(
        self, connection: AsyncConnection, state: State, many: int
    ) -> list[Tracked[AirnodeRequest]]:
        """
        Return the requests in a state that are looked at in this pass: those that are new to it,
        those that wait for their wallets' earlier transactions alone while there is room, and by
        turns some of those that wait, a quarter of `many`.

        However many wait for ever, as anybody can have requests do, they keep nobody from his
        turn.
        """
        some, at = max(1, many // 4), self._turns.get(state, 0)
        place = (self.chain_id, self.contract, [state])
        found = await self.book.in_states(connection, *place, limit=some)
        if len(found) < some:
            self._turns[state] = 0
            return found
        found = await self.book.in_states(connection, *place, _NEW, limit=many)
        if len(found) < many:
            found += await self.book.in_states(connection, *place, _BUSY, limit=many - len(found))
        waiting = await self.book.in_states(connection, *place, _WAITING, limit=some, offset=at)
        if at and not waiting:
            waiting = await self.book.in_states(connection, *place, _WAITING, limit=some)
            at = 0
        self._turns[state] = at + some if len(waiting) == some else 0
        by_key = {one.request.key: one for one in (*found, *waiting)}
        return sorted(
            by_key.values(), key=lambda one: (one.request.block_number, one.request.log_index)
        )

    async def fitting(  # noqa: D102 - ChainService
        self, open_: Sequence[tuple[Slot, Sequence[Attempt]]], head: Block
    ) -> set[int]:
        del head
        fitting = set()
        async with self.database.read() as connection:
            for slot, _ in open_:
                # One that this slot returned, before a reorg took that back, is returned again.
                if slot.purpose is Purpose.WITHDRAW and await withdrawals.of_slot(
                    connection, slot, WithdrawalState.SIGNED, WithdrawalState.DONE
                ):
                    fitting.add(slot.id)
            served = await self.book.of_transactions(
                connection,
                [slot.id for slot, _ in open_ if slot.purpose is not Purpose.WITHDRAW],
            )
        for slot, tries in open_:
            mine = served.get(slot.id, [])
            if slot.state is SlotState.SIGNED:
                fits = bool(mine) and all(one.state is State.SIGNED for one in mine)
            else:
                fits = any(one.state is State.SENT or is_served_by(one, tries) for one in mine)
            if fits:
                fitting.add(slot.id)
        return fitting

    async def leave(  # noqa: D102 - ChainService
        self, tx: AsyncConnection, slots: Sequence[Slot]
    ) -> None:
        served = await self.book.of_transactions(
            tx, [slot.id for slot in slots if slot.purpose is Purpose.FULFILL]
        )
        keys = [one.request.key for each in served.values() for one in each]
        answers = await airnode.answers(tx, keys)
        first = [
            key
            for key, answer in answers.items()
            if answer.failure is None and answer.exposed_at is None
        ]
        await airnode.put(tx, first, exposed_at=now())
        await self.book.advance_all(tx, keys, State.SIGNED, State.SENT)

    async def land(  # noqa: D102 - ChainService
        self, tx: AsyncConnection, landed: Sequence[tuple[Slot, Receipt]]
    ) -> dict[int, int]:
        served = await self.book.of_transactions(tx, [slot.id for slot, _ in landed])
        mined: list[tuple[Tracked[AirnodeRequest], AirnodeOutcome]] = []
        settled, hashes = {}, set()
        for slot, receipt in landed:
            events = [self.decode(item) for item in receipt.logs]
            if slot.purpose is Purpose.WITHDRAW:
                if not await withdrawals.finish(tx, self.chain_id, self.contract, events):
                    # It keeps its transaction, which a reorg could bring back, until that is
                    # settled.
                    await withdrawals.reopen(tx, slot, transaction_id=slot.id)
                settled[slot.id] = 0
                continue
            outcomes = {one.request_id: one for one in events if isinstance(one, AirnodeOutcome)}
            passed_over, fulfilled = split_served(served[slot.id], outcomes)
            mined += fulfilled
            hashes.add(receipt.transaction_hash)
            await self._release(tx, passed_over, "passed_over" if receipt.ok else REVERTED)
            settled[slot.id] = len(outcomes)
        await self.book.fulfilled_all(tx, mined)
        await self.settles(tx, mined)
        # Those of events that were read before their receipts too.
        await costs.share(tx, self.book, hashes, lambda _: 1)
        return settled

    async def releases(  # noqa: D102 - ChainService
        self, tx: AsyncConnection, slot: Slot, reason: str
    ) -> None:
        if slot.purpose is Purpose.WITHDRAW:
            await withdrawals.reopen(tx, slot, transaction_id=None)
            return
        served = await self.book.of_transaction(tx, slot.id)
        await self._release(tx, served, reason, transaction_id=None)

    async def settles(
        self, tx: AsyncConnection, outcomes: Sequence[tuple[Tracked[AirnodeRequest], Outcome]]
    ) -> None:
        """
        Share the costs, and keep what was answered, see `keep_public`.
        """
        hashes = {outcome.transaction_hash for _, outcome in outcomes}
        await costs.share(tx, self.book, hashes, lambda _: 1)
        await keep_public(tx, self.pool, outcomes)

    async def notes(self, tx: AsyncConnection, events: Sequence[object]) -> int:
        """
        Write down withdrawals.
        """
        place = (self.chain_id, self.contract)
        moved = await withdrawals.observe(tx, *place, events)
        return moved + await withdrawals.finish(tx, *place, events)

    async def closes(self, tx: AsyncConnection, done: Sequence[RequestKey], settled: int) -> None:
        """
        Keep the responses of what is final in clear, since the chain has them, and erase their
        seeds; and those of requests that were ended before their number left.
        """
        del settled
        answers = await airnode.answers(tx, done)
        public = [
            key
            for key, answer in answers.items()
            if answer.data is None and answer.exposed_at is not None
        ]
        await airnode.put_data(
            tx, await response(tx, self.pool, {key: answers[key] for key in public})
        )
        ended = await self.book.in_states(
            tx,
            self.chain_id,
            self.contract,
            [State.EXPIRED, State.FAILED],
            *_ENDED_UNSEEN,
        )
        keys = [*done, *(one.request.key for one in ended)]
        if keys:
            await self.pool.erase_purposes(tx, [airnode_purpose(key) for key in keys])

    async def drops(self, suspect: int, replaced: Replaced) -> int:
        """
        Take back what withdrawals were said to have returned, in blocks that were replaced.
        """
        async with self.database.read() as connection:
            done = await withdrawals.find(
                connection, self.chain_id, self.contract, *_RETURNED_SINCE, since=suspect
            )
        undone = [
            one
            for one in done
            if one.done_block is not None
            and await replaced(one.done_block, one.done_block_hash or b"")
        ]
        if undone:
            async with self.database.write() as tx:
                for one in undone:
                    await withdrawals.undo(tx, one)
        return len(undone)

    async def _release(
        self,
        tx: AsyncConnection,
        served: Sequence[Tracked[AirnodeRequest]],
        reason: str,
        **values: object,
    ) -> None:
        """
        Let requests go back to CONFIRMED, as a coordinator's do.
        """
        for tracked in served:
            if tracked.state not in (State.SIGNED, State.SENT):
                continue
            key, after = tracked.request.key, State.CONFIRMED
            if reason == REVERTED:
                events = await history(tx, key)
                if sum(event.reason == reason for event in events) + 1 >= MAX_REVERTS:
                    after = State.FAILED
                    log.get().error("request_given_up", **tracked.log_context(), reason=reason)
            await self.book.advance(tx, key, tracked.state, after, reason=reason, **values)
