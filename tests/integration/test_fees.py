"""
What the operator's limits do while gas gets dearer and cheaper again, on a real chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.chain.fees import GWEI
from oracle.chain.transact import send_transaction
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import OPERATOR_KEY
from oracle.errors import ConfigError
from oracle.protocols import roles
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.request import State
from oracle.steps.price import price
from oracle.store import requests, transactions
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.request import RandomnessRequest
    from oracle.store.transactions import Slot
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def _mine_at(bench: Bench, base_fee: int, blocks: int = 1) -> None:
    for _ in range(blocks):
        await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        await bench.mine()


async def _place(bench: Bench, request: RandomnessRequest) -> tuple[State, str | None]:
    tracked = await bench.tracked(request)
    return tracked.state, tracked.reason


WAITING = (State.DRAWN, "loss_limit")


async def test_a_request_waits_for_cheaper_gas_and_is_served_when_it_comes(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(max_loss_gwei=0)
    cheap = GWEI
    await _mine_at(bench, cheap)
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


async def test_those_that_wait_for_gas_do_not_keep_the_others_from_being_looked_at(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle.steps.sign.MAX_LOOKED_AT", 1)
    bench = await new_bench(max_loss_gwei=0)
    await _mine_at(bench, GWEI)
    dear = 50 * GWEI
    waiting = [await bench.roll() for _ in range(2)]
    await _mine_at(bench, dear)
    await bench.walk(3)
    assert [await _place(bench, one) for one in waiting] == [WAITING] * 2
    await _mine_at(bench, dear)
    other = await bench.roll()
    await bench.walk()
    assert await bench.state(other) is State.SENT
    assert [await _place(bench, one) for one in waiting] == [WAITING] * 2


async def test_what_may_be_lost_is_lost_and_not_a_gwei_more(new_bench: NewBench) -> None:
    bench = await new_bench(max_loss_gwei=10**6)
    cheap = GWEI
    await _mine_at(bench, cheap)
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
    await _mine_at(bench, GWEI)
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
    await _mine_at(bench, GWEI)
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


BAND: dict[str, object] = {
    "fee.gas_margin_bps_min": 5000,
    "fee.gas_margin_bps_max": 30_000,
    "fee.gain_percent": 20,
    "fee.pause_blocks": 5,
}


async def _margin(bench: Bench) -> int:
    word = await bench.service.reader.storage(bench.service.contract, roles.COUNTERS_SLOT)
    return roles.decode_ledger(word).gas_margin_bps


async def _changes(bench: Bench) -> list[Slot]:
    async with bench.service.database.read() as connection:
        slots = await transactions.slots_in(
            connection, bench.service.chain_id, bench.service.contract, SlotState
        )
    return [slot for slot in slots if slot.purpose is Purpose.FEE]


async def _pass(bench: Bench, base_fee: int, blocks: int) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await _mine_at(bench, base_fee)
    await bench.walk(2)


async def test_the_fee_follows_what_serving_costs_within_its_band(new_bench: NewBench) -> None:
    bench = await new_bench(**BAND)
    await _mine_at(bench, GWEI)
    before = await _margin(bench)
    assert before == 12_000
    # Nothing was served yet: nothing is known of costs.
    assert await _changes(bench) == []

    # The priority of 0.1 gwei is next to nothing beside this base fee.
    dear = 50 * GWEI
    await _mine_at(bench, dear)
    request = await bench.roll()
    await _pass(bench, dear, 4)
    assert await bench.state(request) is State.DONE
    low = await _margin(bench)
    assert 5000 <= low < 12_000 * 9 // 10
    [change] = await _changes(bench)
    assert change.state is SlotState.FINAL
    # What such a request pays from now on covers its cost and a fifth, but for a rounding.
    cost = (await bench.tracked(request)).cost
    assert cost is not None
    asked = await _quote(bench, request, dear)
    assert low == 5000 or cost * 119 // 100 < asked < cost * 122 // 100

    # Here it is ten times the base fee, which alone the contract knows of.
    await _pass(bench, GWEI // 100, 10)
    assert await _margin(bench) == 30_000
    assert len(await _changes(bench)) == 2

    await _pass(bench, dear, 10)
    assert await _margin(bench) == low
    assert len(await _changes(bench)) == 3
    assert all(change.state is SlotState.FINAL for change in await _changes(bench))


async def _quote(bench: Bench, request: RandomnessRequest, base_fee: int) -> int:
    call = CoordinatorProtocol.encode_fee_at(
        request.callback_gas_limit, request.num_words, base_fee
    )
    return CoordinatorProtocol.decode_uint(
        await bench.service.reader.call(bench.service.contract, call)
    )


async def test_a_change_of_the_fee_is_signed_once_and_not_again_within_its_pause(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(**BAND | {"fee.gas_margin_bps_min": 15_000, "fee.pause_blocks": 20})
    # The deployment said the fee first.
    assert await _changes(bench) == []
    await _mine_at(bench, GWEI, 20)
    # What stands outside the band goes to its edge, though nothing was served yet.
    head = await bench.service.reader.block()
    assert [await price(bench.service, head) for _ in range(2)] == [1, 0]
    await _pass(bench, GWEI, 3)
    assert await _margin(bench) == 15_000
    [change] = await _changes(bench)
    assert change.state is SlotState.FINAL
    assert change.mined_block is not None

    # By hand, as the operator may: the pause begins anew, and counts in the chain.
    operator = from_private_key(OPERATOR_KEY)
    sent = await send_transaction(
        bench.devnet.reader,
        operator,
        to=bench.service.contract,
        data=roles.encode_set_fee(0, 9000),
    )
    by_hand = (await bench.mined(sent)).block_number
    await _pass(bench, GWEI, by_hand + 19 - (await bench.service.reader.block()).number)
    assert len(await _changes(bench)) == 1
    assert await _margin(bench) == 9000
    await _pass(bench, GWEI, 2)
    assert len(await _changes(bench)) == 2
    assert await _margin(bench) == 15_000


async def test_a_change_that_a_reorg_takes_away_goes_out_again_with_its_bytes(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(**BAND | {"fee.gas_margin_bps_min": 15_000, "confirmations": 2})
    # Gas costs what it did when the change was signed, however many blocks the start has taken.
    base_fee = (await bench.service.reader.block()).base_fee or GWEI
    await _mine_at(bench, base_fee, 5)
    await bench.walk(2)
    [change] = await _changes(bench)
    assert change.state is SlotState.SENT
    await _mine_at(bench, base_fee)
    await bench.walk()
    assert [one.state for one in await _changes(bench)] == [SlotState.MINED]
    await bench.fork(1)
    await bench.mine(2)
    await _pass(bench, base_fee, 8)
    [again] = await _changes(bench)
    assert (again.id, again.nonce) == (change.id, change.nonce)
    assert again.state is SlotState.FINAL
    assert await _margin(bench) == 15_000


async def test_without_a_band_the_fee_stays(bench: Bench) -> None:
    await _mine_at(bench, 50 * GWEI)
    request = await bench.roll()
    await _pass(bench, 50 * GWEI, 6)
    assert await bench.state(request) is State.DONE
    assert await _changes(bench) == []
    assert await _margin(bench) == 12_000


async def test_a_wallet_that_is_no_longer_the_operators_changes_nothing(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(**BAND)
    await _mine_at(bench, 50 * GWEI)
    request = await bench.roll()
    data = roles.encode_set_operator(bench.devnet.player().address)
    await bench.mined(
        await send_transaction(
            bench.devnet.reader, bench.devnet.player(), to=bench.service.contract, data=data
        )
    )
    await _pass(bench, 50 * GWEI, 6)
    assert await bench.state(request) is State.DONE
    assert await _changes(bench) == []


async def test_a_band_above_what_the_coordinator_allows_is_refused(
    new_bench: NewBench,
) -> None:
    with pytest.raises(ConfigError, match=r"gas_margin_bps_max is 60000, and .* allows 50000"):
        await new_bench(**BAND | {"fee.gas_margin_bps_max": 60_000})
