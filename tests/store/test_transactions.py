from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from oracle.errors import StaleStateError
from oracle.evm import Receipt
from oracle.store import nonces, transactions
from oracle.store.attempts import (
    Attempt,
    add_attempt,
    attempt_context,
    attempts_of,
    erase_attempts,
    mark_sent,
)
from oracle.store.schema import U256, Address
from oracle.store.transactions import Purpose, Slot, SlotState
from tests.factories import CHAIN_ID, COORDINATOR, REQUESTER, WALLET, addresses, hash32

if TYPE_CHECKING:
    from oracle.store.engine import Database
    from oracle.store.seal import PoolKey

pytestmark = pytest.mark.store

DIALECT = sqlite.dialect()


async def open_slot(
    database: Database, nonce: int, *, wallet: str = WALLET, chain_id: int = CHAIN_ID
) -> Slot:
    async with database.write() as tx:
        slot_id = await transactions.open_slot(
            tx, chain_id, COORDINATOR, wallet, nonce, Purpose.FULFILL, 100_000
        )
        return await transactions.get_slot(tx, slot_id)


def make_attempt(slot: Slot, key: PoolKey, *, max_fee: int) -> Attempt:
    transaction_hash = hash32(slot.id, max_fee)
    return Attempt(
        transaction_hash=transaction_hash,
        slot_id=slot.id,
        max_fee=max_fee,
        priority_fee=1,
        sealed=key.seal(b"signed", attempt_context(transaction_hash)),
        sent_block=None,
    )


def make_receipt() -> Receipt:
    return Receipt(
        transaction_hash=hash32("mined"),
        block_number=110,
        block_hash=hash32("block", 110),
        ok=True,
        gas_used=50_000,
        gas_price=2**70,
        logs=(),
    )


async def slot_now(database: Database) -> Slot:
    async with database.read() as connection:
        [slot] = await transactions.slots_in(connection, CHAIN_ID, COORDINATOR, SlotState)
    return slot


async def test_nonce_is_taken_once(database: Database) -> None:
    await open_slot(database, 7)
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await open_slot(database, 7)


async def test_nonce_belongs_to_one_wallet_on_one_chain(database: Database) -> None:
    await open_slot(database, 7)
    await open_slot(database, 8)
    await open_slot(database, 7, wallet=REQUESTER)
    await open_slot(database, 7, chain_id=1)


async def test_lane_remembers_its_next_nonce(database: Database) -> None:
    both = [WALLET, REQUESTER]
    async with database.write() as tx:
        assert await nonces.next_nonces(tx, CHAIN_ID, both) == {}
        await nonces.skip_nonces(tx, CHAIN_ID, {WALLET: 5})
        assert await nonces.next_nonces(tx, CHAIN_ID, both) == {WALLET: 5}
        await nonces.set_next_nonces(tx, CHAIN_ID, {WALLET: 6})
        assert await nonces.next_nonces(tx, CHAIN_ID, both) == {WALLET: 6}
        assert await nonces.next_nonces(tx, 1, both) == {}


async def test_nonces_that_somebody_else_used_are_skipped_and_none_comes_back(
    database: Database,
) -> None:
    async with database.write() as tx:
        await nonces.skip_nonces(tx, CHAIN_ID, {WALLET: 5, REQUESTER: 0})
        await nonces.skip_nonces(tx, CHAIN_ID, {WALLET: 3, REQUESTER: 2})
        found = await nonces.next_nonces(tx, CHAIN_ID, [WALLET, REQUESTER])
    assert found == {WALLET: 5, REQUESTER: 2}


async def test_lane_that_is_not_there_is_not_set(database: Database) -> None:
    async with database.write() as tx:
        with pytest.raises(StaleStateError, match="not there any more"):
            await nonces.set_next_nonces(tx, CHAIN_ID, {WALLET: 1})


async def test_slots_move_together_or_not_at_all(database: Database) -> None:
    slots = [await open_slot(database, nonce) for nonce in (7, 8)]
    async with database.write() as tx:
        await transactions.advance_slot(tx, slots[1], SlotState.LOST)
    with pytest.raises(StaleStateError, match="nonce 7, or one of 1 that go with it, is not"):
        async with database.write() as tx:
            await transactions.advance_slots(tx, slots, SlotState.SENT)
    with pytest.raises(StaleStateError, match="nonce 7, or one of 1 that go with it, is not"):
        async with database.write() as tx:
            await transactions.land_slots(tx, [(slot, make_receipt()) for slot in slots])
    async with database.read() as connection:
        assert (await transactions.get_slot(connection, slots[0].id)).state is SlotState.SIGNED


async def test_receipts_of_many_slots_are_each_slots_own(database: Database) -> None:
    slots = [await open_slot(database, nonce) for nonce in (7, 8)]
    receipts = [make_receipt(), replace(make_receipt(), block_number=111)]
    async with database.write() as tx:
        await transactions.land_slots(tx, list(zip(slots, receipts, strict=True)))
    async with database.read() as connection:
        found = [await transactions.get_slot(connection, slot.id) for slot in slots]
    assert [(one.state, one.mined_block) for one in found] == [
        (SlotState.MINED, 110),
        (SlotState.MINED, 111),
    ]


async def test_slots_come_in_the_order_of_their_nonces(database: Database) -> None:
    for nonce in (3, 1, 2):
        await open_slot(database, nonce)
    async with database.read() as connection:
        slots = await transactions.slots_in(connection, CHAIN_ID, COORDINATOR, [SlotState.SIGNED])
        assert [slot.nonce for slot in slots] == [1, 2, 3]
        assert (
            await transactions.slots_in(connection, CHAIN_ID, COORDINATOR, [SlotState.SENT]) == []
        )


async def test_slot_moves_from_the_state_it_was_read_in_alone(database: Database) -> None:
    slot = await open_slot(database, 7)
    async with database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.SENT)
    with pytest.raises(StaleStateError, match="nonce 7 is not signed any more"):
        async with database.write() as tx:
            await transactions.advance_slot(tx, slot, SlotState.LOST)
    assert (await slot_now(database)).state is SlotState.SENT


async def test_mined_slot_knows_its_block_and_forgets_it_in_a_reorg(database: Database) -> None:
    receipt, slot = make_receipt(), await open_slot(database, 7)
    async with database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.MINED, receipt=receipt)
    mined = await slot_now(database)
    assert (mined.mined_block, mined.mined_block_hash) == (110, receipt.block_hash)
    async with database.write() as tx:
        await transactions.advance_slot(tx, mined, SlotState.SENT)
    back = await slot_now(database)
    assert (back.state, back.mined_block, back.mined_block_hash) == (SlotState.SENT, None, None)


async def test_slot_becomes_a_filler_when_told(database: Database) -> None:
    slot = await open_slot(database, 7)
    async with database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.SIGNED, purpose=Purpose.FILLER)
    assert (await slot_now(database)).purpose is Purpose.FILLER


async def test_attempts_come_newest_first(database: Database, key: PoolKey) -> None:
    slot = await open_slot(database, 7)
    for max_fee in (100, 2**64, 113):
        async with database.write() as tx:
            await add_attempt(tx, make_attempt(slot, key, max_fee=max_fee))
    async with database.read() as connection:
        found = await attempts_of(connection, slot.id)
    assert [attempt.max_fee for attempt in found] == [113, 2**64, 100]


async def test_attempt_is_stored_before_it_is_sent(database: Database, key: PoolKey) -> None:
    slot = await open_slot(database, 7)
    attempt = make_attempt(slot, key, max_fee=100)
    async with database.write() as tx:
        await add_attempt(tx, attempt)
        assert await attempts_of(tx, slot.id) == [attempt]
        await mark_sent(tx, [attempt], 99)
        [sent] = await attempts_of(tx, slot.id)
    assert sent.sent_block == 99
    assert sent.sealed is not None
    assert key.open(sent.sealed, attempt_context(attempt.transaction_hash)) == b"signed"


async def test_the_same_bytes_are_stored_once(database: Database, key: PoolKey) -> None:
    slot = await open_slot(database, 7)
    attempt = make_attempt(slot, key, max_fee=100)
    other = make_attempt(slot, key, max_fee=113)
    async with database.write() as tx:
        for one in (attempt, other, attempt):
            await add_attempt(tx, one)
        found = await attempts_of(tx, slot.id)
    assert [one.max_fee for one in found] == [100, 113]


async def test_erased_attempts_stay_without_their_bytes(database: Database, key: PoolKey) -> None:
    slot = await open_slot(database, 7)
    async with database.write() as tx:
        for max_fee in (100, 113):
            await add_attempt(tx, make_attempt(slot, key, max_fee=max_fee))
        assert await erase_attempts(tx, [slot.id]) == 2
        assert await erase_attempts(tx, [slot.id]) == 0
        found = await attempts_of(tx, slot.id)
    assert [(attempt.max_fee, attempt.sealed) for attempt in found] == [(113, None), (100, None)]


@given(st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1))
def test_large_integers_survive_and_sort(one: int, other: int) -> None:
    column = U256()
    stored = [column.process_bind_param(value, DIALECT) for value in (one, other)]
    assert [column.process_result_value(value, DIALECT) for value in stored] == [one, other]
    assert stored[0] is not None
    assert stored[1] is not None
    assert (stored[0] < stored[1]) == (one < other)


@given(addresses)
def test_addresses_come_back_with_their_checksum(address: str) -> None:
    column = Address()
    for text in (address, address.lower()):
        stored = column.process_bind_param(text, DIALECT)
        assert stored is not None
        assert len(stored) == 20
        assert column.process_result_value(stored, DIALECT) == address
