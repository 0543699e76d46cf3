"""
What reorgs, endpoints, strangers and operators can do to the node, and what it does then.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from eth_abi.abi import encode

from oracle.chain.fees import GWEI
from oracle.chain.reader import Web3Reader
from oracle.chain.sender import Verdict, Web3Sender
from oracle.chain.transact import send_transaction
from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.processes import free_port
from oracle.errors import EndpointError, InconsistentChainError
from oracle.evm import keccak
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.request import State
from oracle.steps.draw import draw
from oracle.steps.sign import sign
from oracle.steps.watch import watch
from oracle.store import requests, transactions
from oracle.store.attempts import attempts_of
from oracle.store.transactions import Purpose, SlotState
from tests.lying import lying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from oracle.evm import Log
    from oracle.request import RandomnessRequest
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

OTHER_OPERATOR_KEY = "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356"
OTHER_OPERATOR = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"


async def _settle(bench: Bench, blocks: int = 6) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk(2)


async def _until_signed(bench: Bench) -> None:
    head = await bench.service.reader.block()
    for step in (watch, draw, sign):
        await step(bench.service, head)


async def test_an_endpoint_that_loses_logs_does_not_make_the_node_drop_a_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await bench.roll()
    await bench.walk()
    assert await bench.state(request) is State.SENT

    async def nothing(*_: object) -> list[Log]:
        return []

    with monkeypatch.context() as patch:
        patch.setattr(bench.service.reader, "logs", nothing)
        await bench.mine()
        with pytest.raises(InconsistentChainError, match="lost logs"):
            await bench.walk()
    assert await bench.state(request) is not State.ORPHANED
    await _settle(bench)
    assert await bench.state(request) is State.DONE
    assert (await bench.audit()).clean


async def test_a_batch_survives_a_stranger_who_serves_one_of_its_requests(bench: Bench) -> None:
    hashes = [await bench.send_roll() for _ in range(3)]
    await bench.mine()
    made = sorted(
        [bench.made(await bench.mined(sent)) for sent in hashes], key=lambda r: r.seed_index
    )
    await bench.walk()
    slot_ids = {(await bench.tracked(request)).transaction_id for request in made}
    assert len(slot_ids) == 1

    # Our bytes leave the pool while a stranger's overtake them.
    [slot_id] = slot_ids
    assert slot_id is not None
    async with bench.service.database.read() as connection:
        [attempt] = await attempts_of(connection, slot_id)
    await bench.rpc("anvil_dropTransaction", "0x" + attempt.transaction_hash.hex())
    await bench.fulfill_as_stranger(made[0])
    await _settle(bench)

    for request in made:
        tracked = await bench.tracked(request)
        assert tracked.state is State.DONE
    for request in made[1:]:
        outcome = (await bench.tracked(request)).outcome
        assert outcome is not None
        assert outcome.transaction_hash == attempt.transaction_hash
    assert (await bench.audit()).clean


async def test_a_request_whose_window_closes_before_its_bytes_left_reveals_nothing(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(window=64)
    request = await bench.roll()
    await _until_signed(bench)
    assert await bench.state(request) is State.SIGNED
    await bench.mine(60)
    await _settle(bench)
    assert await bench.state(request) is State.EXPIRED
    async with bench.service.database.read() as connection:
        assert not await bench.service.pool.exposed(
            connection, bench.service.chain_id, bench.service.contract, [request.seed_index]
        )


async def test_a_request_that_the_fee_cap_held_up_too_long_reveals_nothing(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(window=64, max_fee_gwei=50)
    request = await bench.roll()
    await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
    await bench.mine()
    await bench.walk()
    assert await bench.state(request) is State.DRAWN
    assert (await bench.tracked(request)).reason == "fee_cap_reached"
    await bench.mine(60)
    await _settle(bench)
    assert await bench.state(request) is State.EXPIRED


async def test_another_wallet_finishes_what_the_old_one_signed(new_bench: NewBench) -> None:
    bench = await new_bench()
    request = await bench.roll()
    await _until_signed(bench)
    assert await bench.state(request) is State.SIGNED

    await bench.service.database.close()
    owner = bench.devnet.player()
    data = keccak(b"setOperator(address)")[:4] + encode(["address"], [OTHER_OPERATOR])
    contract = bench.service.contract
    await bench.mined(await send_transaction(bench.devnet.reader, owner, to=contract, data=data))
    (bench.devnet.folder / "operator.key").write_text(OTHER_OPERATOR_KEY, encoding="ascii")
    settings = Settings.load(bench.devnet.folder / "oracle.toml")
    runner = await compose(settings, bench.stack)
    [link] = runner.links
    bench.service = await link.connect(runner.database, runner.pool)
    await _settle(bench)

    assert await bench.state(request) is State.DONE
    assert (await bench.audit()).clean


async def test_a_wallet_without_funds_does_not_raise_its_bid(bench: Bench) -> None:
    wallet = bench.service.lane.wallet
    balance = await bench.service.reader.balance(wallet)
    await bench.rpc("anvil_setBalance", wallet, "0x0")
    request = await bench.roll()
    for _ in range(20):
        await bench.walk()
        await bench.mine()
    tracked = await bench.tracked(request)
    assert tracked.transaction_id is not None
    async with bench.service.database.read() as connection:
        assert len(await attempts_of(connection, tracked.transaction_id)) == 1
    await bench.rpc("anvil_setBalance", wallet, hex(balance))
    await _settle(bench)
    assert await bench.state(request) is State.DONE


async def test_a_rollback_below_everything_is_read_again_and_served(bench: Bench) -> None:
    gone = await bench.roll()
    await _settle(bench)
    assert await bench.state(gone) is State.DONE
    head = await bench.service.reader.block()

    # Fulfillment and request vanish, both final by the configured depth of 0.
    await bench.fork(head.number - gone.block_number + 1)
    await bench.mine(2)
    taker = await bench.roll()
    assert taker.seed_index == gone.seed_index
    assert taker.key != gone.key
    await _settle(bench, 24)

    assert await bench.state(gone) is State.ORPHANED
    assert await bench.state(taker) is State.DONE
    assert (await bench.audit()).clean


async def test_a_final_fulfillment_that_vanishes_is_made_again(bench: Bench) -> None:
    request = await bench.roll()
    await bench.walk()
    await bench.mine()
    await bench.walk(2)
    assert await bench.state(request) is State.DONE

    await bench.fork(1)
    await bench.mine(2)
    await _settle(bench, 12)
    assert await bench.state(request) is State.DONE
    async with bench.service.database.read() as connection:
        events = await requests.history(connection, request.key)
    assert [event.after for event in events].count(State.DONE) == 2
    assert (await bench.audit()).clean


async def test_requests_in_a_gap_that_the_node_never_saw_are_found(new_bench: NewBench) -> None:
    bench = await new_bench(confirmations=2)
    await bench.mine(40)
    await bench.walk()
    await bench.fork(30)
    request = await bench.roll()
    await bench.mine(40)
    await _settle(bench, 8)
    assert await bench.state(request) is State.DONE
    assert (await bench.audit()).clean


@pytest.mark.parametrize("answer", ["null", "{}", "[]", '"0x"', '"nonsense"', '{"number": null}'])
async def test_a_malformed_answer_is_an_endpoint_error(answer: str) -> None:
    async def garble(request: web.Request) -> web.Response:
        asked = await request.json()
        text = f'{{"jsonrpc": "2.0", "id": {asked["id"]}, "result": {answer}}}'
        return web.Response(text=text, content_type="application/json")

    app = web.Application()
    app.router.add_post("/", garble)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    reader = Web3Reader(f"http://127.0.0.1:{port}")
    address = "0x" + "11" * 20
    try:
        for ask in (reader.block, lambda: reader.nonce(address), lambda: reader.balance(address)):
            with pytest.raises((EndpointError, InconsistentChainError)):
                await ask()
        verdict, _ = await Web3Sender(reader).broadcast(b"signed")
        assert verdict is Verdict.UNANSWERED
    finally:
        await reader.close()
        await runner.cleanup()


async def test_slots_of_one_wallet_never_share_a_nonce(bench: Bench) -> None:
    for _ in range(3):
        await bench.roll()
        await bench.walk()
    await _settle(bench)
    async with bench.service.database.read() as connection:
        slots = await transactions.slots_in(
            connection, bench.service.chain_id, bench.service.contract, SlotState
        )
    nonces = [slot.nonce for slot in slots]
    assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))


async def test_a_request_that_makes_its_run_revert_is_given_up_and_the_others_are_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [bench.made(await bench.mined(await bench.send_roll())) for _ in range(5)]
    poison = made[2]
    real = bench.service.protocol.fulfill_gas

    def too_little(run: Sequence[RandomnessRequest], *, gaps: int, proof: int) -> int:
        # The contract reverts a call that cannot give a callback the gas that it was promised.
        return 80_000 if poison in run else real(run, gaps=gaps, proof=proof)

    monkeypatch.setattr(CoordinatorProtocol, "fulfill_gas", staticmethod(too_little))
    await _settle(bench, 10)

    assert await bench.state(poison) is State.FAILED
    assert await _reverts(bench, poison) == [
        "reverted_among_5",
        "reverted_among_3",
        "reverted",
        "reverted",
        "reverted",
    ]
    for request in made:
        if request != poison:
            assert await bench.state(request) is State.DONE
            assert "reverted" not in await _reverts(bench, request)


async def _reverts(bench: Bench, request: RandomnessRequest) -> list[str]:
    async with bench.service.database.read() as connection:
        events = await requests.history(connection, request.key)
    return [event.reason for event in events if (event.reason or "").startswith("reverted")]


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("eth_getBlockByNumber", "number", 1 << 63),
        ("eth_getBlockByNumber", "timestamp", 1 << 63),
        ("eth_getTransactionReceipt", "blockNumber", 1 << 63),
        ("eth_getTransactionCount", None, 1 << 63),
        ("eth_getLogs", "logIndex", 1 << 31),
    ],
)
async def test_a_number_that_no_database_can_hold_is_the_endpoints_error(
    bench: Bench, method: str, field: str | None, value: int
) -> None:
    def edit(box: dict[str, Any]) -> None:
        if field is None:
            box["result"] = hex(value)
        elif isinstance(box["result"], list):
            box["result"][0][field] = hex(value)
        else:
            box["result"][field] = hex(value)

    request = await bench.roll()
    async with lying(bench.devnet.ground.rpc_url, method, edit) as url:
        reader = Web3Reader(url)
        asks: dict[str, Callable[[], Awaitable[object]]] = {
            "eth_getBlockByNumber": reader.block,
            "eth_getTransactionReceipt": partial(reader.receipt, request.transaction_hash),
            "eth_getTransactionCount": partial(reader.nonce, request.requester),
            "eth_getLogs": partial(
                reader.logs, bench.service.contract, request.block_number, request.block_number
            ),
        }
        with pytest.raises(EndpointError):
            await asks[method]()
        await reader.close()


async def test_a_commit_whose_receipt_is_not_there_yet_is_waited_for(new_bench: NewBench) -> None:
    bench = await new_bench(runway=256)
    service = bench.service
    bench.service = replace(service, runway=2 * service.runway)
    async with lying(
        bench.devnet.ground.rpc_url,
        "eth_getTransactionReceipt",
        lambda box: box.update(result=None),
    ) as url:
        reader = Web3Reader(url)
        bench.stack.push_async_callback(reader.close)
        bench.service = replace(bench.service, reader=reader)
        await bench.walk(2)
        await bench.mine(service.depth + 2)
        await bench.walk(2)
        assert await _commits(bench, SlotState.SENT) == 1
        assert await _commits(bench, SlotState.LOST) == 0
    bench.service = replace(bench.service, reader=service.reader)
    await bench.walk(2)
    assert await _commits(bench, SlotState.SENT) == 0


async def _commits(bench: Bench, state: SlotState) -> int:
    service = bench.service
    async with service.database.read() as connection:
        slots = await transactions.slots_in(
            connection, service.chain_id, service.contract, [state]
        )
    return sum(slot.purpose is Purpose.COMMIT for slot in slots)
