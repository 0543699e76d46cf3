"""
What requests cost adds up to what was paid, whatever is read first and however often it changes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.evm import Receipt, checksum_address
from oracle.request import Outcome, RandomnessRequest, State
from oracle.store import costs, requests, transactions
from oracle.store.attempts import Attempt, add_attempt, attempt_context
from oracle.store.engine import Access, Database
from oracle.store.seal import PoolKey
from oracle.store.transactions import Purpose, SlotState
from tests.factories import CHAIN_ID, PROTOCOL, WALLET, hash32, make_request, with_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.database_url import DatabaseUrl

pytestmark = pytest.mark.store

KEY = PoolKey(bytes(range(32)))
weights = st.lists(st.integers(1, 10**7), min_size=1, max_size=50)
receipts = st.builds(
    Receipt,
    transaction_hash=st.just(b""),
    block_number=st.integers(110, 112),
    block_hash=st.binary(min_size=32, max_size=32),
    ok=st.just(value=True),
    gas_used=st.integers(1, 2**24),
    gas_price=st.integers(0, 2**100),
    logs=st.just(()),
    l1_fee=st.none() | st.integers(0, 2**100),
)


@given(st.integers(0, 2**200), weights)
def test_shares_add_up_and_follow_the_weights(total: int, given_weights: list[int]) -> None:
    shares = costs.split(total, given_weights)
    assert sum(shares) == total
    for share, weight in zip(shares, given_weights, strict=True):
        assert abs(share * sum(given_weights) - total * weight) < sum(given_weights)


class Lane:
    """
    One coordinator of its own, and transactions for it.
    """

    def __init__(self, database: Database, number: int) -> None:
        self.database = database
        self.contract = checksum_address(hash32("contract", number)[:20])
        self.number = number
        self.nonces = 0

    def request(self, index: int, limit: int, words: int) -> RandomnessRequest:
        made = make_request(index, callback_gas_limit=limit, num_words=words, fee=10**12 + index)
        return with_id(replace(made, key=replace(made.key, contract=self.contract)))

    async def open(self, purpose: Purpose = Purpose.FULFILL) -> tuple[int, bytes]:
        self.nonces += 1
        transaction_hash = hash32(self.contract, self.nonces)
        async with self.database.write() as tx:
            slot = await transactions.open_slot(
                tx,
                CHAIN_ID,
                self.contract,
                WALLET,
                self.number * 10_000 + self.nonces,
                purpose,
                10**7,
            )
            sealed = KEY.seal(b"signed", attempt_context(transaction_hash))
            await add_attempt(
                tx,
                Attempt(
                    transaction_hash=transaction_hash,
                    slot_id=slot,
                    max_fee=1,
                    priority_fee=1,
                    sealed=sealed,
                ),
            )
        return slot, transaction_hash

    async def receipt(self, tx: AsyncConnection, slot_id: int, receipt: Receipt) -> None:
        """
        Do what `send` does with a receipt.
        """
        slot = await transactions.get_slot(tx, slot_id)
        await transactions.advance_slot(tx, slot, SlotState.MINED, receipt=receipt)
        await costs.share(tx, requests.BOOK, [receipt.transaction_hash], PROTOCOL.item_gas)

    async def events(
        self, tx: AsyncConnection, served: Sequence[RandomnessRequest], receipt: Receipt
    ) -> None:
        """
        Do what `watch` does with the events.
        """
        known = await requests.find(
            tx, CHAIN_ID, self.contract, [request.key.request_id for request in served]
        )
        await requests.fulfilled_all(
            tx,
            [
                (
                    known[request.key.request_id],
                    Outcome(
                        request_id=request.key.request_id,
                        callback_succeeded=True,
                        transaction_hash=receipt.transaction_hash,
                        block_number=receipt.block_number,
                        block_hash=receipt.block_hash,
                    ),
                )
                for request in served
            ],
        )
        await costs.share(tx, requests.BOOK, [receipt.transaction_hash], PROTOCOL.item_gas)

    async def costs_of(self, wanted: Sequence[RandomnessRequest]) -> list[int | None]:
        async with self.database.read() as connection:
            found = await requests.find(
                connection, CHAIN_ID, self.contract, [one.key.request_id for one in wanted]
            )
        return [found[one.key.request_id].cost for one in wanted]


async def send_all(
    lane: Lane, made: Sequence[RandomnessRequest], slot: int, *, again: bool = False
) -> None:
    async with lane.database.write() as tx:
        keys = [request.key for request in made]
        if not again:
            await requests.observe_all(tx, made)
            for before, after in (
                (State.OBSERVED, State.CONFIRMED),
                (State.CONFIRMED, State.DRAWN),
                (State.DRAWN, State.SIGNED),
                (State.SIGNED, State.SENT),
            ):
                await requests.advance_all(tx, keys, before, after, transaction_id=slot)


@pytest.mark.parametrize("receipt_first", [True, False])
def test_costs_of_requests_add_up_to_the_transaction_through_a_reorg(
    place: Path | DatabaseUrl, *, receipt_first: bool
) -> None:
    with asyncio.Runner() as loop:
        database = loop.run(Database.open(place, Access.NODE))
        examples = iter(range(10**6))

        async def play(
            terms: list[tuple[int, int]], first: Receipt, second: Receipt, left_out: int
        ) -> None:
            lane = Lane(database, next(examples))
            made = [lane.request(index, *one) for index, one in enumerate(terms)]
            slot, transaction_hash = await lane.open()
            await send_all(lane, made, slot)
            first, second = [
                replace(one, transaction_hash=transaction_hash) for one in (first, second)
            ]
            served = made[: max(1, len(made) - left_out)]
            for receipt, among in ((first, made), (second, served)):
                async with database.write() as tx:
                    if receipt_first:
                        await lane.receipt(tx, slot, receipt)
                    await lane.events(tx, among[:1], receipt)
                async with database.write() as tx:
                    await lane.events(tx, among[1:], receipt)
                    if not receipt_first:
                        await lane.receipt(tx, slot, receipt)
                total = receipt.gas_used * receipt.gas_price + (receipt.l1_fee or 0)
                found = await lane.costs_of(among)
                assert sum(cost for cost in found if cost is not None) == total
                assert None not in found
                assert set(await lane.costs_of(made[len(among) :])) <= {None}
                async with database.read() as connection:
                    sums = await costs.earnings(connection, CHAIN_ID, lane.contract)
                assert sums.fulfillments == sums.costs == total
                assert sums.fees == sum(request.fee for request in among)
                if receipt is first:
                    # A reorg takes the block away.
                    async with database.write() as tx:
                        await requests.advance_all(
                            tx,
                            [request.key for request in made],
                            State.MINED,
                            State.SENT,
                            reason="reorg",
                            **requests.NO_OUTCOME,
                        )
                        known = await transactions.get_slot(tx, slot)
                        await transactions.advance_slot(tx, known, SlotState.SENT)
                    assert set(await lane.costs_of(made)) == {None}

        @settings(max_examples=40 if isinstance(place, Path) else 8, deadline=None)
        @given(
            st.lists(
                st.tuples(st.integers(0, 2_500_000), st.integers(1, 500)), min_size=1, max_size=8
            ),
            receipts,
            receipts,
            st.integers(0, 7),
        )
        def every_example(
            terms: list[tuple[int, int]], first: Receipt, second: Receipt, left_out: int
        ) -> None:
            loop.run(play(terms, first, second, left_out))

        try:
            every_example()
        finally:
            loop.run(database.close())


async def test_every_transaction_counts_once_and_by_what_it_did(database: Database) -> None:
    lane = Lane(database, 1)
    price = iter([1, 10, 100, 1000, 10_000, 100_000, 10**6])

    async def mined(purpose: Purpose, *, ok: bool = True) -> Receipt:
        slot, transaction_hash = await lane.open(purpose)
        receipt = Receipt(
            transaction_hash=transaction_hash,
            block_number=110,
            block_hash=hash32("block", 110),
            ok=ok,
            gas_used=7,
            gas_price=next(price),
            logs=(),
        )
        async with database.write() as tx:
            await lane.receipt(tx, slot, receipt)
        return receipt

    made = [lane.request(index, 100_000, 1) for index in range(3)]
    await send_all(lane, made, (await lane.open())[0])
    ours = await mined(Purpose.FULFILL)
    late = await mined(Purpose.FILLER)
    await mined(Purpose.COMMIT)
    await mined(Purpose.FULFILL, ok=False)
    await mined(Purpose.FULFILL)
    await mined(Purpose.FILLER)
    await mined(Purpose.FEE)
    theirs = replace(ours, transaction_hash=hash32("somebody else's"))
    async with database.write() as tx:
        for request, receipt in zip(made, (ours, late, theirs), strict=True):
            await lane.events(tx, [request], receipt)
    async with database.read() as connection:
        found = await costs.earnings(connection, CHAIN_ID, lane.contract)
    assert found == costs.Earnings(
        fulfilled=3,
        by_others=1,
        fees=sum(request.fee for request in made),
        fulfillments=77,
        commits=700,
        fee_changes=7_000_000,
        reverted=7000,
        passed_over=70_000,
        fillers=700_000,
    )
    assert found.net == found.fees - 7_777_777
    assert await lane.costs_of(made) == [7, 70, None]
