"""
Requests that reorgs move and fees hold up: the number stays what it was.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from oracle.airnode_outcomes import response
from oracle.chain.fees import GWEI
from oracle.chain.sponsor_wallets import SponsorSigner
from oracle.devnet.network import CHAIN_ID
from oracle.replaced import drop_replaced
from oracle.request import State
from oracle.steps.send import REPLACE_AFTER, send
from oracle.store import airnode, transactions
from oracle.store.attempts import attempts_of
from oracle.store.cursors import get_cursor
from oracle.store.transactions import SlotState
from tests.airnode_node import new_node, received
from tests.integration.test_airnode_hostile import height, roll_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.airnode_request import AirnodeRequest
    from oracle.chain.wallets import UnsignedTransaction
    from oracle.devnet.network import Ground
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]

DEPTHS = range(1, 9)


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def calm(ground: Ground) -> AsyncIterator[None]:
    """
    Leave no base fee behind: anvil keeps it through a revert.
    """
    yield
    await ground.reader.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    await ground.reader.rpc("anvil_mine", "0x1")


async def number(node: Node, request: AirnodeRequest) -> bytes:
    """
    Return what the store has drawn for a request.
    """
    async with node.service.database.read() as connection:
        answers = await airnode.answers(connection, [request.key])
        return (await response(connection, node.service.pool, answers))[request.key]


async def numbers_bound(node: Node) -> int:
    async with node.service.database.read() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT count(*) FROM blocks WHERE purpose LIKE 'airnode:%'"
        )
        return int(rows.scalar_one())


async def until_done(node: Node, request: AirnodeRequest, blocks: int = 30) -> None:
    for _ in range(blocks):
        await node.serve()
        if (await node.where(request))[0] is State.DONE:
            return
    pytest.fail(f"the request is {await node.where(request)}")


async def test_request_that_moves_before_its_broadcast_is_served_once_at_any_depth(
    new_node: Any,
) -> None:
    node = await new_node(confirmations=9)
    for depth in DEPTHS:
        start = await height(node)
        request = await node.ask()
        if depth > 1:
            await node.rpc("anvil_mine", hex(depth - 1))
        await node.walk()
        assert (await node.where(request))[0] is State.OBSERVED
        await roll_back(node, start)
        await node.rpc("anvil_mine", hex(depth))
        again = await node.ask()
        assert again.key == request.key
        assert again.block_number == request.block_number + depth
        await until_done(node, request)
        assert await received(node, request) == 1
    assert await numbers_bound(node) == len(DEPTHS)


async def test_request_that_moves_after_its_broadcast_keeps_its_number_at_any_depth(
    new_node: Any,
) -> None:
    node = await new_node()
    for depth in DEPTHS:
        start = await height(node)
        request = await node.ask()
        await node.walk()
        assert (await node.where(request))[0] is State.SENT
        drawn = await number(node, request)
        if depth > 1:
            await node.rpc("anvil_mine", hex(depth - 1))
        await node.walk(2)
        await roll_back(node, start)
        await node.rpc("anvil_mine", hex(depth))
        await node.walk()
        assert (await node.where(request))[0] is State.ORPHANED
        again = await node.ask()
        assert again.key == request.key
        await until_done(node, request)
        assert await node.data(request) == drawn
        assert await received(node, request) == 1
    assert await numbers_bound(node) == len(DEPTHS)


async def test_fulfillment_that_is_dropped_is_replaced_at_its_nonce_with_the_same_number(
    new_node: Any,
) -> None:
    node = await new_node()
    request = await node.ask()
    await node.walk()
    drawn = await number(node, request)
    [first] = await node.transactions()
    await node.rpc("anvil_dropTransaction", "0x" + first.hex())
    # What was bid is not enough for some time.
    await node.rpc("anvil_setNextBlockBaseFeePerGas", hex(40 * GWEI))
    for _ in range(REPLACE_AFTER + 1):
        await node.rpc("anvil_mine", "0x1")
        await node.walk()
    assert len(await node.transactions()) > 1
    await until_done(node, request)
    assert await node.data(request) == drawn
    async with node.service.database.read() as connection:
        [slot] = await transactions.slots_in(
            connection, node.service.chain_id, node.service.contract, SlotState
        )
        tries = await attempts_of(connection, slot.id)
    for newer, older in pairwise(tries):
        assert newer.max_fee * 8 >= older.max_fee * 9
    assert await received(node, request) == 1


async def test_base_fee_above_the_cap_is_waited_for(new_node: Any) -> None:
    node = await new_node(max_fee_gwei=50)
    request = await node.ask()
    await node.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
    await node.rpc("anvil_mine", "0x1")
    await node.walk()
    # No number is drawn before it can be paid for.
    assert await node.where(request) == (State.CONFIRMED, "fee_cap_reached")
    assert await node.transactions() == []
    await node.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    await node.rpc("anvil_mine", "0x1")
    await until_done(node, request)


async def test_by_policy_only_a_request_that_came_after_its_number_is_failed(
    new_node: Any,
) -> None:
    node = await new_node(exposed='"fail"')
    start = await height(node)
    moved = await node.ask()
    await node.walk()
    await roll_back(node, start)
    await node.rpc("anvil_mine", "0x2")
    await node.walk()
    assert (await node.ask()).key == moved.key
    await until_done(node, moved)
    answer, outcome = await node.answer(moved), (await node.tracked(moved)).outcome
    assert outcome is not None
    assert not outcome.callback_succeeded
    assert answer.failure == "Number was public before the request's block"

    stayed = await node.ask()
    start = await height(node)
    await node.serve()
    drawn = await number(node, stayed)
    await roll_back(node, start)
    await node.rpc("anvil_mine", "0x2")
    await until_done(node, stayed)
    assert await node.data(stayed) == drawn
    assert await received(node, stayed) == 1


async def test_request_whose_transaction_reverted_gets_no_second_nonce_before_that_is_settled(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node(confirmations=3)
    request = await node.ask()
    await node.rpc("anvil_mine", "0x3")
    sign = SponsorSigner.sign

    def sign_poorly(
        signer: SponsorSigner, transaction: UnsignedTransaction
    ) -> tuple[bytes, bytes]:
        return sign(signer, replace(transaction, gas_limit=45_000))

    with monkeypatch.context() as patch:
        patch.setattr(SponsorSigner, "sign", sign_poorly)
        start = await height(node)
        await node.serve()
    assert await node.where(request) == (State.CONFIRMED, "reverted")
    drawn = await number(node, request)
    await node.walk(2)
    assert len(await node.transactions()) == 1
    # The block that held the revert is replaced: those bytes are in the mempool again.
    await roll_back(node, start)
    await node.rpc("anvil_mine", "0x1")
    await node.walk()
    wallet = node.bench.wallet_of(node.bench.consumer).address
    async with node.service.database.read() as connection:
        slots = await transactions.slots_of(connection, CHAIN_ID, wallet)
    assert [slot.nonce for slot in slots] == [0]
    await until_done(node, request)
    assert await node.data(request) == drawn
    assert await received(node, request) == 1


async def test_what_the_chain_said_nothing_in_is_read_again_once_it_was_rolled_back(
    new_node: Any,
) -> None:
    node = await new_node()
    await node.rpc("anvil_mine", "0x10")
    await node.walk()
    await node.rpc("anvil_rollback", 12)
    await node.rpc(
        "evm_setNextBlockTimestamp", hex((await node.bench.reader.block()).timestamp + 9)
    )
    await node.rpc("anvil_mine", "0x5")
    await node.walk()
    async with node.service.database.read() as connection:
        cursor = await get_cursor(connection, CHAIN_ID, node.service.contract)
    assert cursor is not None
    head = await node.bench.reader.block()
    assert (cursor.number, cursor.hash) == (head.number, head.hash)


async def test_a_head_that_lags_takes_back_no_answer(new_node: Any) -> None:
    node = await new_node(confirmations=0)
    asked = await node.ask()
    await node.walk()
    head = await node.bench.reader.block()
    await node.rpc("anvil_mine", "0x1")
    # The receipt is there already, and the head comes from an endpoint that is behind.
    await send(node.service, head)
    assert (await node.where(asked))[0] is State.MINED
    tracked = await node.tracked(asked)
    settled = replace(node.service, devnet=False)
    assert await drop_replaced(settled, [tracked], head.number + 1, head) == 0
    # On a devnet a lower head was rolled back.
    assert await drop_replaced(node.service, [tracked], head.number + 1, head) == 1
