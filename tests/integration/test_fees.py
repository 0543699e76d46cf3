"""
What the operator's limits do while gas gets dearer and cheaper again, on a real chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.chain.fees import GWEI
from oracle.request import State
from oracle.store import requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.request import RandomnessRequest
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def _mine_at(bench: Bench, base_fee: int, blocks: int = 1) -> None:
    for _ in range(blocks):
        await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        await bench.mine()


async def _base_fee(bench: Bench) -> int:
    return (await bench.service.reader.block()).base_fee


async def _place(bench: Bench, request: RandomnessRequest) -> tuple[State, str | None]:
    tracked = await bench.tracked(request)
    return tracked.state, tracked.reason


WAITING = (State.DRAWN, "loss_limit")


async def test_a_request_waits_for_cheaper_gas_and_is_served_when_it_comes(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(max_loss_gwei=0)
    cheap = await _base_fee(bench)
    dear = 20 * cheap + GWEI
    request = await bench.roll()
    await _mine_at(bench, dear)
    for _ in range(3):
        await bench.walk()
        assert await _place(bench, request) == WAITING
        await _mine_at(bench, dear)
    # One that is made at that price pays for itself, and company does not carry the other.
    other = await bench.roll()
    await bench.walk()
    assert await bench.state(other) is State.SENT
    assert await _place(bench, request) == WAITING
    await _mine_at(bench, dear)
    await bench.walk(2)
    assert await bench.state(other) is State.DONE

    await _mine_at(bench, cheap)
    await bench.walk()
    assert await _place(bench, request) == (State.SENT, None)
    await _mine_at(bench, cheap)
    await bench.walk(2)
    tracked = await bench.tracked(request)
    assert tracked.state is State.DONE
    assert tracked.cost is not None
    assert tracked.cost <= request.fee


async def test_what_may_be_lost_is_lost_and_not_a_gwei_more(new_bench: NewBench) -> None:
    bench = await new_bench(max_loss_gwei=10**6)
    cheap = await _base_fee(bench)
    request = await bench.roll()
    await _mine_at(bench, 100 * GWEI)
    await bench.walk()
    assert await _place(bench, request) == WAITING
    # 0.001 ether pays for more than 200,000 gas at 4 gwei.
    await _mine_at(bench, cheap + 3 * GWEI)
    await bench.walk()
    assert await bench.state(request) is State.SENT
    await _mine_at(bench, cheap + 3 * GWEI)
    await bench.walk(2)
    tracked = await bench.tracked(request)
    assert tracked.cost is not None
    assert request.fee < tracked.cost < request.fee + 10**6 * GWEI


async def test_a_request_whose_time_runs_out_is_served_at_any_price(new_bench: NewBench) -> None:
    bench = await new_bench(max_loss_gwei=0, window=256)
    dear = 50 * GWEI
    request = await bench.roll()
    # The next block would leave a quarter of the window before the margin at its end.
    due = request.block_number + 256 - 16 - 256 // 4 - 1
    await _mine_at(bench, dear)
    await bench.walk()
    assert await _place(bench, request) == WAITING
    while (await bench.service.reader.block()).number < due:
        await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(dear))
        await bench.mine()
    await bench.walk()
    assert await _place(bench, request) == WAITING
    await _mine_at(bench, dear)
    await bench.walk()
    assert await bench.state(request) is State.SENT
    await _mine_at(bench, dear)
    await bench.walk(2)
    tracked = await bench.tracked(request)
    assert tracked.state is State.DONE
    assert tracked.cost is not None
    assert tracked.cost > request.fee


async def test_a_value_that_is_known_already_waits_for_nothing(new_bench: NewBench) -> None:
    bench = await new_bench(max_loss_gwei=0)
    request = await bench.roll()
    await bench.walk()
    assert await bench.state(request) is State.SENT
    # As after a nonce that something else used.
    async with bench.service.database.write() as tx:
        await requests.advance(tx, request.key, State.SENT, State.CONFIRMED, transaction_id=None)
    await bench.rpc("anvil_dropAllTransactions")
    await _mine_at(bench, 50 * GWEI)
    await bench.walk()
    assert await bench.state(request) is State.SENT
