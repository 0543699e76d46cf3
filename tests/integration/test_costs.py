"""
What requests cost, held against what has left the wallet.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from oracle.chain.fees import GWEI
from oracle.chain.reader import Web3Reader
from oracle.cli.main import cli
from oracle.errors import EndpointError
from oracle.request import State
from oracle.steps.send import send
from oracle.store import requests
from tests.lying import lying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.integration.conftest import Bench
    from tests.lying import Edit

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def _settle(bench: Bench, blocks: int = 4) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk(2)


async def _balance(bench: Bench) -> int:
    return await bench.service.reader.balance(bench.service.lane.wallet)


async def oracle(folder: Path, *arguments: str) -> Any:
    """
    Return the document of a verb.
    """
    config = ["--config", str(folder / "oracle.toml"), "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, *config], env={})
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_what_requests_cost_is_what_the_wallet_paid(bench: Bench, tmp_path: Path) -> None:
    [before] = await oracle(tmp_path, "coordinator", "earnings")
    assert before["fulfilled"] == before["feesWei"] == 0
    assert before["costsWei"]["commits"] > 0
    assert before["netWei"] == -sum(before["costsWei"].values())

    funds = await _balance(bench)
    hashes = [await bench.send_roll() for _ in range(4)]
    made = [bench.made(await bench.mined(one)) for one in hashes]
    await _settle(bench)
    spent = funds - await _balance(bench)
    costs = [(await bench.tracked(request)).cost for request in made]
    assert None not in costs
    assert sum(cost or 0 for cost in costs) == spent > 0

    [after] = await oracle(tmp_path, "coordinator", "earnings", "devnet")
    assert after["fulfilled"] == 4
    assert after["feesWei"] == sum(request.fee for request in made)
    assert after["costsWei"]["fulfillments"] == spent
    assert sum(after["costsWei"].values()) - sum(before["costsWei"].values()) == spent
    assert after["netWei"] == after["feesWei"] - sum(after["costsWei"].values())

    shown = await oracle(tmp_path, "requests", "show", made[0].key.request_id.hex())
    assert (shown["feeWei"], shown["costWei"]) == (made[0].fee, costs[0])
    assert shown["gainWei"] == shown["feeWei"] - shown["costWei"]


async def test_a_request_has_no_cost_before_it_is_mined(bench: Bench, tmp_path: Path) -> None:
    request = await bench.roll()
    await bench.walk()
    assert (await bench.tracked(request)).cost is None
    shown = await oracle(tmp_path, "requests", "show", request.key.request_id.hex())
    assert shown["costWei"] is shown["gainWei"] is None


@pytest.mark.parametrize("confirmations", [0, 2])
async def test_a_cost_goes_with_its_block_and_comes_with_the_next_one(
    new_bench: NewBench, tmp_path: Path, confirmations: int
) -> None:
    bench = await new_bench(confirmations=confirmations)
    funds = await _balance(bench)
    [before] = await oracle(tmp_path, "coordinator", "earnings")
    request = await bench.roll()
    await bench.mine(confirmations)
    await bench.walk()
    await bench.mine()
    await bench.walk()
    first = (await bench.tracked(request)).cost
    assert first == funds - await _balance(bench) > 0

    base_fee = (await bench.service.reader.block()).base_fee
    await bench.fork(1)
    await bench.mine(2)
    await bench.walk()
    tracked = await bench.tracked(request)
    # Its nonce was final and is free again: nothing is signed before the filler has it.
    waits = State.SENT if confirmations else State.CONFIRMED
    assert (tracked.state, tracked.cost) == (waits, None)
    await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee + max(5, base_fee // 20)))
    await _settle(bench, 6)
    tracked = await bench.tracked(request)
    assert tracked.state is State.DONE
    [after] = await oracle(tmp_path, "coordinator", "earnings")
    rise = {kind: cost - before["costsWei"][kind] for kind, cost in after["costsWei"].items()}
    assert tracked.cost == rise["fulfillments"] != first
    # A reorg below what counted as final frees a nonce, which a filler takes.
    assert (rise["fillers"] > 0) is (confirmations == 0)
    assert sum(rise.values()) == funds - await _balance(bench)


async def test_a_receipt_that_is_read_before_its_event_is_not_forgotten(bench: Bench) -> None:
    funds = await _balance(bench)
    request = await bench.roll()
    await bench.walk()
    async with bench.service.database.write() as tx:
        # As when its bytes were given up, and land all the same.
        await requests.advance(tx, request.key, State.SENT, State.CONFIRMED)
    await bench.mine()
    await send(bench.service, await bench.service.reader.block())
    assert (await bench.tracked(request)).cost is None
    await bench.walk()
    assert (await bench.tracked(request)).cost == funds - await _balance(bench) > 0


async def test_what_a_rollup_took_for_the_data_is_read_from_the_receipt(bench: Bench) -> None:
    made = await bench.roll()

    def named(amount: int) -> Edit:
        return lambda box: box["result"].update(l1Fee=hex(amount))

    rpc_url = bench.devnet.ground.rpc_url
    async with lying(rpc_url, "eth_getTransactionReceipt", named(12_345)) as url:
        reader = Web3Reader(url)
        bench.stack.push_async_callback(reader.close)
        receipt = await reader.receipt(made.transaction_hash)
    assert receipt is not None
    assert receipt.l1_fee == 12_345
    async with lying(rpc_url, "eth_getTransactionReceipt", named(1 << 128)) as url:
        reader = Web3Reader(url)
        bench.stack.push_async_callback(reader.close)
        with pytest.raises(EndpointError, match="malformed"):
            await reader.receipt(made.transaction_hash)


async def test_what_a_replaced_transaction_costs_is_what_its_replacement_paid(
    bench: Bench,
) -> None:
    funds = await _balance(bench)
    request = await bench.roll()
    await bench.walk()
    base_fee = (await bench.service.reader.block()).base_fee
    for _ in range(9):
        await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(3 * base_fee + GWEI))
        await bench.mine()
        await bench.walk()
    await _settle(bench)
    tracked = await bench.tracked(request)
    assert tracked.state is State.DONE
    assert tracked.cost == funds - await _balance(bench)
