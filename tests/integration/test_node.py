"""
What the node does with a chain that behaves, and with one that does not.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from eth_abi.abi import encode

from oracle.chain.fees import GWEI
from oracle.chain.transact import send_transaction
from oracle.chain.wallets import from_private_key
from oracle.cli.requests import requests as cli_requests
from oracle.devnet.network import OPERATOR_KEY
from oracle.entropy import merkle
from oracle.evm import Block, keccak
from oracle.protocols.coordinator import CoordinatorProtocol, Reveal, pack_terms
from oracle.request import State
from oracle.steps.draw import draw
from oracle.steps.sign import sign
from oracle.steps.watch import watch
from oracle.store import batches, requests, transactions
from oracle.store.attempts import attempts_of
from oracle.store.transactions import Purpose, SlotState
from tests.verbs import oracle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from oracle.request import RandomnessRequest
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def _fulfill(bench: Bench, blocks: int = 4) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk(2)


async def test_a_request_is_fulfilled_in_the_next_block(bench: Bench) -> None:
    request = await bench.roll()
    await bench.walk()
    assert await bench.state(request) is State.SENT
    await bench.mine()
    await bench.walk()

    tracked = await bench.tracked(request)
    assert tracked.state is State.DONE
    assert tracked.outcome is not None
    assert tracked.outcome.block_number == request.block_number + 1
    assert tracked.outcome.callback_succeeded
    report = await bench.audit()
    assert report.clean
    assert report.fulfilled == 1


async def test_what_a_seed_was_mixed_from_is_shown_after_it_is_gone(
    bench: Bench, tmp_path: Path
) -> None:
    request = await bench.roll()
    arguments = ["show", request.key.request_id.hex(), "--config", str(tmp_path / "oracle.toml")]
    show = partial(CliRunner().invoke, cli_requests, env={})
    await bench.walk()
    shown = json.loads((await asyncio.to_thread(show, [*arguments, "--json"])).stdout)
    assert (shown["state"], shown["reason"]) == ("sent", "in_mempool")
    assert "waits for a block" in shown["explanation"]
    await _fulfill(bench)
    result = await asyncio.to_thread(show, [*arguments, "--json"])
    assert json.loads(result.stdout)["reason"] == "fulfilled"
    entropy = json.loads(result.stdout)["entropy"]
    assert (entropy["sources"], entropy["simulated"]) == (["anu"], True)
    [one] = entropy["inputs"]
    assert (one["source"], one["bits"], one["health"]) == ("anu", 512, "passed")
    assert one["decidedAt"] <= one["receivedAt"]
    assert len(one["digest"]) == 64
    said = (await asyncio.to_thread(show, arguments)).stdout
    assert "SIMULATED entropy: a seed mixed from anu and the operating system" in said


async def test_requests_of_one_block_share_a_transaction(bench: Bench) -> None:
    hashes = [await bench.send_roll() for _ in range(5)]
    made = [bench.made(await bench.mined(hash_)) for hash_ in hashes[:1]]
    made += [bench.made(await bench.mined(hash_)) for hash_ in hashes[1:]]
    await _fulfill(bench)
    slots = {(await bench.tracked(request)).transaction_id for request in made}
    assert len(slots) == 1
    assert (await bench.audit()).fulfilled == 5


async def test_nothing_is_revealed_before_the_confirmation_depth(new_bench: NewBench) -> None:
    bench = await new_bench(confirmations=3)
    request = await bench.roll()
    for _ in range(3):
        await bench.walk()
        assert await bench.state(request) is State.OBSERVED
        async with bench.service.database.read() as connection:
            exposed = await bench.service.pool.exposed(
                connection, bench.service.chain_id, bench.service.contract, [request.seed_index]
            )
        assert exposed == set()
        await bench.mine()
    await bench.walk()
    assert await bench.state(request) is State.SENT


async def test_done_waits_for_the_confirmation_depth(new_bench: NewBench) -> None:
    bench = await new_bench(confirmations=2)
    request = await bench.roll()
    await bench.mine(2)
    await bench.walk()
    for _ in range(2):
        await bench.mine()
        await bench.walk()
        assert await bench.state(request) is State.MINED
    await bench.mine()
    await bench.walk()
    assert await bench.state(request) is State.DONE


async def test_a_request_that_a_reorg_takes_away_is_orphaned_and_its_index_served(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(confirmations=3)
    gone = await bench.roll()
    await bench.walk()
    assert await bench.state(gone) is State.OBSERVED

    await bench.fork(1)
    await bench.mine(2)
    other = await bench.roll()
    assert other.seed_index == gone.seed_index
    assert other.key != gone.key
    await _fulfill(bench, 8)

    assert await bench.state(gone) is State.ORPHANED
    assert await bench.state(other) is State.DONE
    assert (await bench.audit()).clean


async def test_a_request_at_the_same_height_on_a_fork_keeps_its_id_and_gets_the_new_value(
    bench: Bench,
) -> None:
    sent = await bench.send_roll()
    before = bench.made(await bench.mined(sent))
    head = await bench.service.reader.block()
    await watch(bench.service, head)

    raw = await bench.rpc("eth_getRawTransactionByHash", "0x" + sent.hex())
    await bench.fork(1)
    await bench.rpc("eth_sendRawTransaction", raw)
    after = bench.made(await bench.mined(sent))
    assert after.key == before.key
    assert after.block_hash != before.block_hash
    # The node follows once this branch is the longer one, or the same height with another hash.
    await _fulfill(bench)

    tracked = await bench.tracked(after)
    assert tracked.state is State.DONE
    assert tracked.request.block_hash == after.block_hash
    report = await bench.audit()
    assert report.clean
    assert report.fulfilled == 1


async def test_a_fulfillment_that_a_reorg_takes_away_is_sent_again_with_the_same_bytes(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(confirmations=2)
    request = await bench.roll()
    await bench.mine(2)
    await bench.walk()
    await bench.mine()
    await bench.walk()
    first = (await bench.tracked(request)).outcome
    assert first is not None

    await bench.fork(1)
    await bench.mine(2)
    await bench.walk()
    assert await bench.state(request) is State.SENT
    await _fulfill(bench, 10)

    again = await bench.tracked(request)
    assert again.state is State.DONE
    assert again.outcome is not None
    assert again.outcome.transaction_hash == first.transaction_hash
    assert (await bench.audit()).clean


async def test_a_reorg_below_an_exposed_seed_serves_whoever_takes_its_index(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(confirmations=1)
    gone = await bench.roll()
    await bench.mine()
    await bench.walk()
    assert await bench.state(gone) is State.SENT

    # Deeper than the configured depth: what must not happen, and does.
    await bench.fork(2)
    await bench.mine(3)
    taker = await bench.roll()
    assert taker.seed_index == gone.seed_index
    await _fulfill(bench, 14)

    assert await bench.state(gone) is State.ORPHANED
    assert await bench.state(taker) is State.DONE
    history = await _history(bench, taker)
    assert (State.DRAWN, "seed_exposed_before") in history
    assert (await bench.audit()).clean


async def test_what_somebody_else_fulfilled_is_not_sent(bench: Bench) -> None:
    request = await bench.roll()
    service = bench.service
    head = await service.reader.block()
    for step in (watch, draw, sign):
        await step(service, head)
    assert await bench.state(request) is State.SIGNED

    async with service.database.read() as connection:
        [slot] = await transactions.slots_in(
            connection, service.chain_id, service.contract, [SlotState.SIGNED]
        )
        seed = await service.pool.seed(
            connection, service.chain_id, service.contract, request.seed_index
        )
        batch = await batches.get(connection, service.chain_id, service.contract, 0)
    assert batch is not None
    data = _calldata(service.protocol, request, seed, batch.leaves)
    stranger = bench.devnet.player()
    await bench.mined(
        await send_transaction(bench.devnet.reader, stranger, to=service.contract, data=data)
    )
    await _fulfill(bench)

    tracked = await bench.tracked(request)
    assert tracked.state is State.DONE
    async with service.database.read() as connection:
        [filled] = [
            other
            for other in await transactions.slots_in(
                connection, service.chain_id, service.contract, SlotState
            )
            if other.id == slot.id
        ]
    assert filled.purpose is Purpose.FILLER
    report = await bench.audit()
    assert report.clean
    assert report.duplicates == 0


async def test_a_stuck_transaction_is_replaced_at_its_nonce(bench: Bench) -> None:
    request = await bench.roll()
    await bench.walk()
    for _ in range(8):
        # Far above what the first bytes offer, below the operator's cap.
        await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * GWEI))
        await bench.mine()
        await bench.walk()
    assert await bench.state(request) is State.SENT
    tracked = await bench.tracked(request)
    assert tracked.transaction_id is not None
    async with bench.service.database.read() as connection:
        attempts = await attempts_of(connection, tracked.transaction_id)
    assert len(attempts) == 2
    assert attempts[0].max_fee >= 20 * GWEI
    await _fulfill(bench)
    assert await bench.state(request) is State.DONE
    assert (await bench.audit()).clean


async def test_a_nonce_that_somebody_else_used_is_given_up_and_the_request_served(
    bench: Bench,
) -> None:
    request = await bench.roll()
    await bench.walk()
    tracked = await bench.tracked(request)
    assert tracked.transaction_id is not None
    async with bench.service.database.read() as connection:
        [attempt] = await attempts_of(connection, tracked.transaction_id)
        [slot] = await transactions.slots_in(
            connection, bench.service.chain_id, bench.service.contract, [SlotState.SENT]
        )
    await bench.rpc("anvil_dropTransaction", "0x" + attempt.transaction_hash.hex())
    operator = from_private_key(OPERATOR_KEY)
    await bench.mined(
        await send_transaction(
            bench.devnet.reader, operator, to=operator.address, data=b"", nonce=slot.nonce
        )
    )
    await _fulfill(bench)
    assert await bench.state(request) is State.DONE
    assert (State.CONFIRMED, "nonce_used_elsewhere") in await _history(bench, request)
    assert (await bench.audit()).clean


async def test_a_wallet_that_runs_dry_is_named_and_its_requests_served_once_it_is_funded(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    wallet = bench.service.lane.wallet
    balance = await bench.service.reader.balance(wallet)
    await bench.rpc("anvil_setBalance", wallet, "0x0")
    request = await bench.roll()
    await bench.walk()
    said = capsys.readouterr()
    assert "wallet_unfunded" in said.out + said.err
    assert "shortfall_wei" in said.out + said.err

    await bench.rpc("anvil_setBalance", wallet, hex(balance))
    for _ in range(5):
        await bench.mine()
        await bench.walk()
    await _fulfill(bench)
    assert await bench.state(request) is State.DONE


async def test_an_expired_request_reveals_nothing_and_its_requester_is_refunded(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(window=64)
    request = await bench.roll()
    await bench.mine(60)
    await bench.walk()
    assert await bench.state(request) is State.EXPIRED
    assert (State.EXPIRED, "window_closing") in await _history(bench, request)
    id_, config = request.key.request_id.hex(), bench.devnet.folder / "oracle.toml"
    said = await oracle("requests", "show", f"0x{id_}", "--config", config, "--json")
    assert f"from block {request.block_number + 65} on" in said.document["explanation"]

    await bench.mine(10)
    dice, player = bench.devnet.deployment.dice, bench.devnet.player()
    before = await bench.service.reader.balance(dice)
    await bench.mined(
        await send_transaction(bench.devnet.reader, player, to=dice, data=_cancel(request))
    )
    assert await bench.service.reader.balance(dice) == before
    await bench.walk()
    assert await bench.state(request) is State.CANCELLED
    async with bench.service.database.read() as connection:
        exposed = await bench.service.pool.exposed(
            connection, bench.service.chain_id, bench.service.contract, [request.seed_index]
        )
    assert exposed == set()


async def test_a_root_of_another_store_is_not_served(
    new_bench: NewBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = await new_bench(runway=256)
    service = bench.service
    counters = await bench.counters()
    operator = from_private_key(OPERATOR_KEY)
    data = service.protocol.encode_commit(counters.committed, [b"\x01" * 32])
    await bench.mined(
        await send_transaction(bench.devnet.reader, operator, to=service.contract, data=data)
    )
    await bench.walk()
    said = capsys.readouterr()
    assert "foreign_root" in said.out + said.err
    await bench.mine(1)
    await bench.walk()
    said = capsys.readouterr()
    assert "foreign_root" not in said.out + said.err  # once is enough


def _cancel(request: RandomnessRequest) -> bytes:
    terms = (request.requester, pack_terms(request), request.user_seed)
    return keccak(b"cancel((address,uint256,bytes32))")[:4] + encode(
        ["(address,uint256,bytes32)"], [terms]
    )


async def _history(bench: Bench, request: RandomnessRequest) -> list[tuple[State, str | None]]:
    async with bench.service.database.read() as connection:
        events = await requests.history(connection, request.key)
    return [(State(event.after), event.reason) for event in events]


def _calldata(
    protocol: CoordinatorProtocol, request: RandomnessRequest, seed: bytes, leaves: Sequence[bytes]
) -> bytes:
    proof = merkle.proof(leaves, request.seed_index % 256, 1)
    return protocol.encode_fulfill([Reveal(request=request, seed=seed)], proof)


async def test_what_was_read_is_asked_for_again_only_where_a_head_does_not_follow_on_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.roll()
    await bench.walk(9)
    reader, asked = bench.service.reader, list[int | None]()
    block = reader.block

    async def counted(number: int | None = None) -> Block:
        asked.append(number)
        return await block(number)

    monkeypatch.setattr(reader, "block", counted)

    async def read_before(blocks: int) -> bool:
        before = (await block()).number
        await bench.mine(blocks)
        asked.clear()
        await watch(bench.service, await block())
        return before in asked

    await watch(bench.service, await block())
    assert not await read_before(1)
    assert await read_before(2)
    await bench.fork(2)
    assert await read_before(2)
