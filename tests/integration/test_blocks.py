"""
Blocks that have no room for what was sent, and mempools that forget it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.request import State
from oracle.store import requests, transactions
from oracle.store.attempts import attempts_of
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.request import RandomnessRequest
    from oracle.store.attempts import Attempt
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def set_gas_limit(bench: Bench, gas_limit: int) -> None:
    await bench.rpc("evm_setBlockGasLimit", hex(gas_limit))
    await bench.mine()


async def rolls(bench: Bench, count: int) -> list[RandomnessRequest]:
    return [bench.made(await bench.mined(await bench.send_roll())) for _ in range(count)]


async def attempts_for(bench: Bench, request: RandomnessRequest) -> list[Attempt]:
    tracked = await bench.tracked(request)
    assert tracked.transaction_id is not None
    async with bench.service.database.read() as connection:
        return list(await attempts_of(connection, tracked.transaction_id))


async def settled(bench: Bench, passes: int = 12) -> None:
    for _ in range(passes):
        await bench.walk(2)
        await bench.mine()
    await bench.walk(2)


async def test_a_batch_that_blocks_have_become_too_small_for_is_split(bench: Bench) -> None:
    before = (await bench.service.reader.block()).gas_limit
    made = await rolls(bench, 5)
    await bench.walk()
    [batch] = {(await bench.tracked(one)).transaction_id for one in made}
    async with bench.service.database.read() as connection:
        [slot] = await transactions.slots_in(
            connection, bench.service.chain_id, bench.service.contract, [SlotState.SENT]
        )
    assert slot.id == batch
    try:
        await set_gas_limit(bench, slot.gas_limit - 1)
        await settled(bench)
        for request in made:
            assert await bench.state(request) is State.DONE
        async with bench.service.database.read() as connection:
            slots = await transactions.slots_in(
                connection, bench.service.chain_id, bench.service.contract, SlotState
            )
        [filled] = [one for one in slots if one.id == batch]
        assert filled.purpose is Purpose.FILLER
        serving = {(await bench.tracked(one)).transaction_id for one in made}
        assert len(serving) > 1
        assert (await bench.audit()).clean
    finally:
        await bench.rpc("evm_setBlockGasLimit", hex(before))


async def test_a_request_that_no_block_takes_waits_and_is_served_when_they_grow(
    bench: Bench,
) -> None:
    before = (await bench.service.reader.block()).gas_limit
    [request] = await rolls(bench, 1)
    try:
        await set_gas_limit(bench, 100_000)
        for _ in range(4):
            await bench.walk()
            await bench.mine()
        tracked = await bench.tracked(request)
        assert (tracked.state, tracked.reason) == (State.DRAWN, "block_too_small")
        # Nothing is spent on it meanwhile.
        assert tracked.transaction_id is None
    finally:
        await bench.rpc("evm_setBlockGasLimit", hex(before))
    await settled(bench, 3)
    assert await bench.state(request) is State.DONE
    assert (await bench.audit()).clean


async def test_bytes_that_a_mempool_forgets_are_handed_out_again_and_are_the_same(
    bench: Bench,
) -> None:
    [request] = await rolls(bench, 1)
    await bench.walk()
    [first] = await attempts_for(bench, request)
    await bench.rpc("anvil_dropTransaction", "0x" + first.transaction_hash.hex())
    await settled(bench, 6)
    tracked = await bench.tracked(request)
    assert tracked.state is State.DONE
    assert tracked.outcome is not None
    assert tracked.outcome.transaction_hash == first.transaction_hash
    async with bench.service.database.read() as connection:
        events = await requests.history(connection, request.key)
    assert [event.after for event in events].count(State.SENT) == 1
    assert (await bench.audit()).clean


async def test_blocks_that_others_fill_are_outbid_at_the_same_nonce(bench: Bench) -> None:
    [request] = await rolls(bench, 1)
    await bench.walk()
    [first] = await attempts_for(bench, request)
    for _ in range(9):
        # Mined without anything in it, as by a builder who has better offers.
        await bench.rpc("anvil_dropTransaction", "0x" + first.transaction_hash.hex())
        await bench.mine()
        await bench.walk()
    newest, *_ = await attempts_for(bench, request)
    assert newest.max_fee * 8 >= first.max_fee * 9
    await settled(bench, 3)
    assert await bench.state(request) is State.DONE
    async with bench.service.database.read() as connection:
        slots = await transactions.slots_in(
            connection, bench.service.chain_id, bench.service.contract, SlotState
        )
    assert sum(one.purpose is Purpose.FULFILL for one in slots) == 1
    assert (await bench.audit()).clean
