"""
Chains that are rolled back, endpoints that lag, and what both could do to a lane.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from oracle.chain.fees import GWEI
from oracle.chain.sender import Verdict, classify
from oracle.chain.transact import send_transaction
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import OPERATOR_KEY
from oracle.errors import AnsweredError
from oracle.request import State
from oracle.runner import walk
from oracle.steps.send import send
from oracle.steps.watch import watch
from oracle.store import transactions
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from oracle.evm import Log
    from oracle.store.transactions import Slot
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def _settle(bench: Bench, blocks: int = 6) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk(2)


async def _slots(bench: Bench) -> list[Slot]:
    async with bench.service.database.read() as connection:
        return await transactions.slots_in(
            connection, bench.service.chain_id, bench.service.contract, SlotState
        )


@pytest.mark.parametrize("pad", [0, 3, 6])
async def test_a_request_that_moves_to_an_earlier_block_is_served_however_ranges_fall(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch, pad: int
) -> None:
    bench = await new_bench(confirmations=12)
    bench.service = replace(bench.service, devnet=False)
    real = bench.service.reader.logs

    async def capped(
        address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        if last - first >= 10:
            raise AnsweredError("up to 10 blocks")
        return await real(address, first, last, topics)

    monkeypatch.setattr(bench.service.reader, "logs", capped)
    await bench.mine(40)
    await bench.walk()
    gone = await bench.roll()
    if pad:
        await bench.mine(pad)
    await bench.walk()
    assert await bench.state(gone) is State.OBSERVED

    await bench.fork(2 + pad)
    taker = await bench.roll()
    assert (taker.block_number, taker.seed_index) == (gone.block_number - 1, gone.seed_index)
    await bench.mine(2 + pad)
    for _ in range(30):
        await bench.walk(2)
        if await bench.state_or_none(taker) is State.DONE:
            break
        await bench.mine()
    assert await bench.state(gone) is State.ORPHANED
    assert await bench.state(taker) is State.DONE


async def test_a_rolled_back_devnet_is_served_again_before_it_has_grown(bench: Bench) -> None:
    await bench.mine(6)
    await bench.walk(2)
    gone = await bench.roll()
    await _settle(bench, 2)
    assert await bench.state(gone) is State.DONE
    head = await bench.service.reader.block()

    await bench.fork(head.number - gone.block_number + 5)
    taker = await bench.roll()
    assert taker.seed_index == gone.seed_index
    assert taker.block_number < gone.block_number
    await bench.walk(3)
    await bench.mine()
    await bench.walk(2)
    assert await bench.state(taker) is State.DONE


async def test_going_back_to_one_snapshot_again_and_again_harms_nothing(bench: Bench) -> None:
    snapshot = await bench.rpc("evm_snapshot")
    for _ in range(3):
        await bench.mine()
        request = await bench.roll()
        await bench.walk()
        await bench.mine()
        await bench.walk(3)
        assert await bench.state(request) is State.DONE
        assert await bench.rpc("evm_revert", snapshot)
        snapshot = await bench.rpc("evm_snapshot")
        await _settle(bench, 6)


async def test_an_endpoint_that_counts_too_few_transactions_moves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await bench.roll()
    await _settle(bench)
    assert await bench.state(request) is State.DONE
    before = await _slots(bench)
    real = bench.service.reader.nonce

    async def behind(address: str, block: int | None = None) -> int:
        return await real(address, block) - 1

    monkeypatch.setattr(bench.service.reader, "nonce", behind)
    head = await bench.service.reader.block()
    assert [await walk(bench.service, head) for _ in range(3)] == [0, 0, 0]
    assert await _slots(bench) == before


async def test_an_endpoint_that_counts_too_many_transactions_has_no_nonce_skipped(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    service = bench.service
    liar = copy(service.reader)
    real = liar.nonce

    async def ahead(address: str, block: int | None = None) -> int:
        return await real(address, block) + (10**9 if block is None else 0)

    liar.nonce = ahead  # type: ignore[method-assign]
    bench.service = replace(service, reader=liar, witnesses=(service.reader,))
    request = await bench.roll()
    await bench.walk()
    assert await bench.state(request) is State.SENT
    assert "nonces_unconfirmed" in capsys.readouterr().out
    bench.service = service
    await _settle(bench)
    assert await bench.state(request) is State.DONE
    nonces = [slot.nonce for slot in await _slots(bench)]
    assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
    assert (await bench.audit()).clean


async def test_a_foreign_nonce_that_a_reorg_frees_is_filled(bench: Bench) -> None:
    operator = from_private_key(OPERATOR_KEY)
    sent = await send_transaction(bench.devnet.reader, operator, to=operator.address, data=b"")
    await bench.mined(sent)
    await bench.walk()
    await bench.fork(1)
    await bench.rpc("anvil_dropTransaction", "0x" + sent.hex())
    await bench.mine(2)
    request = await bench.roll()
    await _settle(bench, 12)
    assert await bench.state(request) is State.DONE
    assert Purpose.FILLER in {slot.purpose for slot in await _slots(bench)}


async def test_what_an_endpoint_knows_already_is_still_replaced_when_it_is_too_cheap(
    bench: Bench,
) -> None:
    real, seen = bench.service.sender.broadcast, set[bytes]()

    class Erigon:
        async def broadcast(self, signed: bytes) -> tuple[Verdict, str]:
            if signed in seen:
                words = "INTERNAL_ERROR: existing tx with same hash"
                return classify(words), words
            seen.add(signed)
            return await real(signed)

    bench.service = replace(bench.service, sender=Erigon())
    request = await bench.roll()
    await bench.walk()
    for _ in range(16):
        await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * GWEI))
        await bench.mine()
        await bench.walk()
    assert await bench.state(request) is State.DONE


async def test_bytes_that_a_reorg_takes_out_between_two_steps_are_not_outbid_by_a_filler(
    bench: Bench,
) -> None:
    request = await bench.roll()
    await bench.walk()
    await bench.mine()
    head = await bench.service.reader.block()
    await watch(bench.service, head)
    assert await bench.state(request) is State.MINED
    await bench.fork(1)
    await send(bench.service, head)
    [slot] = [slot for slot in await _slots(bench) if slot.state is SlotState.SENT]
    assert slot.purpose is Purpose.FULFILL


async def test_bytes_under_way_at_a_rollback_are_handed_out_again(bench: Bench) -> None:
    await bench.mine(20)
    await bench.walk()
    request = await bench.roll()
    await bench.mine(12)
    await bench.walk()
    assert await bench.state(request) is State.SENT
    await bench.fork(10)
    await bench.rpc("anvil_dropAllTransactions")
    await bench.walk(2)
    pool = await bench.rpc("txpool_status")
    assert pool["pending"] == "0x1"
