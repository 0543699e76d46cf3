"""
A chain without base fees, from before EIP-1559: transactions with one price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from oracle.chain import transact
from oracle.chain.fees import GWEI
from oracle.chain.reader import Web3Reader
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import PLAYER_KEY, until
from oracle.devnet.processes import Process, find_anvil, free_port
from oracle.errors import EndpointError
from oracle.request import State
from oracle.store.attempts import attempts_of
from tests.hostile import hostile, says

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from oracle.devnet.network import Ground
    from tests.hostile import Message, Proxy
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


class Berlin:
    """
    An endpoint of a chain that has no base fee, and takes no typed transactions.
    """

    def __init__(self) -> None:
        #: The price that it suggests, if not the chain's.
        self.gas_price: int | None = None

    async def __call__(self, proxy: Proxy, query: Message) -> Any:
        if query["method"] == "eth_gasPrice" and self.gas_price is not None:
            return {"jsonrpc": "2.0", "id": query["id"], "result": hex(self.gas_price)}
        if query["method"] == "eth_sendRawTransaction":
            signed = query["params"][0]
            if signed.startswith("0x02"):
                return await says("transaction type not supported")(proxy, query)
        reply = await proxy.forward(query)
        if query["method"] == "eth_getBlockByNumber" and reply["result"]:
            del reply["result"]["baseFeePerGas"]
        return reply


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(ground: Ground) -> AsyncIterator[Proxy]:
    async with hostile(ground.rpc_url) as proxy:
        yield proxy


async def test_requests_are_served_with_one_price_and_replaced_at_their_nonce(
    new_bench: NewBench, proxy: Proxy
) -> None:
    berlin = Berlin()
    proxy.fault = berlin
    bench = await new_bench(endpoints=f'["{proxy.url}"]')
    assert bench.service.lane.fees.legacy
    request = await bench.roll()
    await bench.walk()
    assert await bench.state(request) is State.SENT
    berlin.gas_price = 60 * GWEI
    for _ in range(8):
        # Far above what was offered.
        await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(60 * GWEI))
        await bench.mine()
        await bench.walk()
    tracked = await bench.tracked(request)
    assert tracked.transaction_id is not None
    async with bench.service.database.read() as connection:
        newest, first = await attempts_of(connection, tracked.transaction_id)
    assert first.max_fee == first.priority_fee < 60 * GWEI
    assert newest.max_fee == newest.priority_fee >= 60 * GWEI
    for _ in range(4):
        await bench.mine()
        await bench.walk()
    assert await bench.state(request) is State.DONE
    assert (await bench.audit()).clean


async def test_slots_are_filled_with_what_the_chain_takes(
    new_bench: NewBench, proxy: Proxy
) -> None:
    proxy.fault = Berlin()
    bench = await new_bench(endpoints=f'["{proxy.url}"]')
    request = await bench.roll()
    await bench.walk()
    tracked = await bench.tracked(request)
    assert tracked.transaction_id is not None
    async with bench.service.database.read() as connection:
        [attempt] = await attempts_of(connection, tracked.transaction_id)
    await bench.rpc("anvil_dropTransaction", "0x" + attempt.transaction_hash.hex())
    await bench.fulfill_as_stranger(request)
    for _ in range(4):
        await bench.walk()
        await bench.mine()
    await bench.walk()
    assert await bench.state(request) is State.DONE
    assert await bench.service.reader.nonce(bench.service.lane.wallet) > 1


async def test_a_person_sends_to_a_chain_from_before_eip_1559(tmp_path: Path) -> None:
    port = free_port()
    anvil = await Process.start(
        "anvil",
        [find_anvil(), "--port", str(port), "--hardfork", "berlin", "--silent"],
        tmp_path,
    )
    reader = Web3Reader(f"http://127.0.0.1:{port}")

    async def answers() -> bool:
        try:
            return bool(await reader.chain_id())
        except EndpointError:
            return False

    try:
        await until(answers, anvil)
        head = await reader.block()
        assert head.legacy
        player = from_private_key(PLAYER_KEY)
        to = "0x" + "11" * 20
        sent = await transact.send_transaction(reader, player, to=to, data=b"", value=5)
        receipt = await transact.wait_for(reader, sent)
        assert receipt.ok
        assert await reader.balance(to) == 5
        sweep = await transact.prepare_sweep(reader, player.address, to, keep=0)
        await transact.wait_for(reader, await transact.send(reader, player, sweep))
        assert await reader.balance(player.address) == 0
    finally:
        await reader.close()
        await anvil.stop()
