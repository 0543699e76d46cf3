"""
What `oracle verify` says of requests on a real chain, and of endpoints that lie about them.
"""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from eth_abi.abi import encode

from oracle.chain import transact
from oracle.chain.reader import Web3Reader
from oracle.cli.verify import verify as cli_verify
from oracle.entropy import merkle
from oracle.evm import checksum_address, keccak
from oracle.protocols.coordinator import Reveal, pack_terms
from oracle.store import batches
from oracle.verify.checks import examine
from oracle.verify.events import COMMITTED, FAILED, FULFILLED, MADE, Failed
from oracle.verify.evidence import gather
from oracle.verify.judgment import Examination, State, first_of
from tests.lying import flip, in_answer, in_logs, in_result, lying, without

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.request import RandomnessRequest
    from tests.integration.conftest import Bench
    from tests.lying import Edit

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

# Deployed code that passes every call on, and reverts where that does:
# CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY · PUSH0 PUSH0 CALLDATASIZE PUSH0 PUSH0 PUSH20 target GAS
# CALL · ISZERO PUSH1 37 JUMPI STOP · JUMPDEST PUSH0 PUSH0 REVERT
_RELAY = "365f5f375f5f365f5f73{target}5af115602557005b5f5ffd"
# Deployed code `PUSH0 PUSH0 REVERT`: refuses its words.
_REVERTING = "5f5ffd"


async def examined(
    bench: Bench, request: RandomnessRequest, url: str | None = None
) -> Examination:
    key = request.key
    reader = Web3Reader(url or bench.devnet.ground.rpc_url)
    try:
        return examine(await gather(reader, key.chain_id, key.contract, key.request_id))
    finally:
        await reader.close()


async def serve(bench: Bench, blocks: int = 3) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk()


def reasons(examination: Examination) -> list[str | None]:
    return [check.reason for check in examination.checks if check.reason]


async def test_a_fulfilled_request_fits(bench: Bench) -> None:
    requests = [bench.made(await bench.mined(await bench.send_roll())) for _ in range(3)]
    await serve(bench)
    for request in requests:
        examination = await examined(bench, request)
        assert reasons(examination) == []
        assert examination.fits
        faces = await bench.service.reader.call(
            bench.devnet.deployment.dice, keccak(b"facesOf(bytes32)")[:4] + request.key.request_id
        )
        dice = [int.from_bytes(word, "big") % 6 + 1 for word in examination.words]
        assert faces == encode(["uint8[]"], [dice])


async def test_requests_of_a_run_with_a_gap_fit(bench: Bench) -> None:
    # The middle one is fulfilled by itself, so that its leaf is a sibling of the others' run.
    made = [await bench.send_roll() for _ in range(3)]
    await bench.mine()
    [first, middle, last] = [
        bench.made(await transact.wait_for(bench.devnet.reader, sent)) for sent in made
    ]
    await fulfill_directly(bench, [middle])
    await fulfill_directly(bench, [first, last])
    for request in (first, middle, last):
        assert (await examined(bench, request)).fits


async def fulfill_directly(
    bench: Bench, made: list[RandomnessRequest], to: str | None = None
) -> None:

    service = bench.service
    async with service.database.read() as connection:
        reveals = [
            Reveal(
                request=request,
                seed=await service.pool.seed(
                    connection, service.chain_id, service.contract, request.seed_index
                ),
            )
            for request in made
        ]
        batch = await batches.get(connection, service.chain_id, service.contract, 0)
    assert batch is not None
    first, last = made[0].seed_index, made[-1].seed_index
    served = {request.seed_index for request in made}
    gaps = [batch.leaves[index] for index in range(first, last + 1) if index not in served]
    proof = merkle.proof(batch.leaves, first, last - first + 1)
    data = service.protocol.encode_fulfill(reveals, [*gaps, *proof])
    sent = await transact.send_transaction(
        bench.devnet.reader, bench.devnet.player(), to=to or service.contract, data=data
    )
    await bench.mined(sent)


async def test_a_fulfillment_through_another_contract_fits_but_for_its_proof(
    bench: Bench,
) -> None:
    request = await bench.roll()
    relay = checksum_address("7e" * 20)
    code = _RELAY.format(target=request.key.contract[2:].lower())
    await bench.rpc("anvil_setCode", relay, "0x" + code)
    await fulfill_directly(bench, [request], to=relay)
    examination = await examined(bench, request)
    assert examination.fits
    assert reasons(examination) == ["internal_call"]


async def test_a_pending_request_says_what_it_waits_for(new_bench: NewBench) -> None:
    bench = await new_bench(window=64)
    request = await bench.roll()
    for blocks, reason in (
        (0, "waiting_for_fulfillment"),
        (63, "waiting_for_fulfillment"),
        (1, "window_closed"),
    ):
        if blocks:
            await bench.mine(blocks)
        examination = await examined(bench, request)
        assert (examination.state, examination.reason) == (State.PENDING, reason)
        assert not examination.failed
        assert not examination.fits


async def test_a_request_with_many_confirmations_waits_for_them(bench: Bench) -> None:
    request = await ask(bench, bench.devnet.player().address, confirmations=5)
    assert (await examined(bench, request)).reason == "waiting_for_confirmations"
    await bench.mine(4)
    assert (await examined(bench, request)).reason == "waiting_for_fulfillment"


async def ask(bench: Bench, requester: str, *, confirmations: int = 1) -> RandomnessRequest:
    """
    Ask as any account or contract, which anvil lets everybody be.
    """
    service = bench.service
    await bench.rpc("anvil_setBalance", requester, hex(10**20))
    await bench.rpc("anvil_impersonateAccount", requester)
    data = service.protocol.encode_request(50_000, 2, confirmations, b"\x07" * 32)
    sent = await bench.rpc(
        "eth_sendTransaction",
        {
            "from": requester,
            "to": service.contract,
            "data": "0x" + data.hex(),
            "value": hex(10**16),
            "gas": hex(300_000),
        },
    )
    return bench.made(await bench.mined(bytes.fromhex(sent[2:])))


async def failing(bench: Bench) -> RandomnessRequest:
    """
    Have a request fulfilled whose callback fails.
    """
    consumer = checksum_address("5c" * 20)
    request = await ask(bench, consumer)
    await bench.rpc("anvil_setCode", consumer, "0x" + _REVERTING)
    await serve(bench)
    return request


async def test_a_failed_callback_fits_and_so_does_its_redelivery(bench: Bench) -> None:
    request = await failing(bench)
    examination = await examined(bench, request)
    assert examination.fits
    assert "callback failed" in examination.checks[-1].detail

    await bench.rpc("anvil_setCode", request.requester, "0x00")
    output = recorded_output(examination)
    data = keccak(b"redeliver(bytes32,address,uint32,uint16,uint256)")[:4] + encode(
        ["bytes32", "address", "uint32", "uint16", "uint256"],
        [request.key.request_id, request.requester, 50_000, 2, int.from_bytes(output, "big")],
    )
    sent = await transact.send_transaction(
        bench.devnet.reader, bench.devnet.player(), to=request.key.contract, data=data
    )
    await bench.mined(sent)
    examination = await examined(bench, request)
    assert examination.fits
    assert "repeated with success" in examination.checks[-1].detail


def recorded_output(examination: Examination) -> bytes:

    failed = first_of(examination.evidence, Failed)
    assert failed is not None
    return failed.output


async def test_a_cancelled_request_is_told_from_a_fulfilled_one(new_bench: NewBench) -> None:
    bench = await new_bench(window=64)
    request = await bench.roll()
    await bench.mine(70)
    terms = (request.requester, pack_terms(request), request.user_seed)
    data = keccak(b"cancel((address,uint256,bytes32))")[:4] + encode(
        ["(address,uint256,bytes32)"], [terms]
    )
    sent = await transact.send_transaction(
        bench.devnet.reader, bench.devnet.player(), to=bench.devnet.deployment.dice, data=data
    )
    await bench.mined(sent)
    examination = await examined(bench, request)
    assert examination.state is State.CANCELLED
    assert not examination.failed
    assert not examination.fits


async def test_a_coordinator_of_other_code_is_not_believed(bench: Bench) -> None:
    request = await bench.roll()
    await serve(bench)
    contract = request.key.contract
    code = await bench.rpc("eth_getCode", contract, "latest")
    # One more byte behind the code: it behaves the same, and is not the same.
    await bench.rpc("anvil_setCode", contract, code + "00")
    assert reasons(await examined(bench, request)) == ["unknown_code"]


async def test_another_root_in_storage_is_caught(bench: Bench) -> None:
    request = await bench.roll()
    await serve(bench)
    text = files("oracle.artifacts").joinpath("QuantumCoordinator.json").read_text()
    layout = json.loads(text)["storageLayout"]["storage"]
    [slot] = [int(item["slot"]) for item in layout if item["label"] == "_roots"]
    place = "0x" + keccak(encode(["uint256", "uint256"], [0, slot])).hex()
    await bench.rpc("anvil_setStorageAt", request.key.contract, place, "0x" + "11" * 32)
    assert reasons(await examined(bench, request)) == ["root_differs"]


def without_logs(box: Any) -> None:
    box["result"]["logs"] = []


def twice(box: Any) -> None:
    """
    Show a second fulfillment.
    """

    box["result"] += [
        {**log, "logIndex": "0x77"}
        for log in box["result"]
        if log["topics"][0] == "0x" + FULFILLED.hex()
    ]


def lies() -> dict[str, tuple[str, Edit, str]]:

    logs = "eth_getLogs"
    fulfill = "eth_getTransactionByHash"
    return {
        "fee": (logs, in_logs(MADE, "data", 2), "id_differs"),
        "index": (logs, in_logs(MADE, "data", 2 + 63), "id_differs"),
        "user seed": (logs, in_logs(MADE, "data"), "id_differs"),
        "request's block hash": (logs, in_logs(MADE, "blockHash"), "other_block"),
        "request's transaction": (logs, in_logs(MADE, "transactionHash"), "not_in_receipt"),
        "seed": (logs, in_logs(FULFILLED, "data", 2), "seed_differs"),
        "success": (logs, in_logs(FULFILLED, "data"), "callback_contradiction"),
        "fulfillment's block hash": (logs, in_logs(FULFILLED, "blockHash"), "other_block"),
        "second fulfillment": (logs, twice, "fulfilled_twice"),
        "root": (logs, in_logs(COMMITTED, "data", 1 + 64 * 3), "root_differs"),
        "commitment's block hash": (logs, in_logs(COMMITTED, "blockHash"), "other_block"),
        "root in storage": ("eth_call", in_answer("rootOf(uint256)"), "root_differs"),
        "status": ("eth_call", in_answer("status(uint64,bytes32)"), "still_pending"),
        "code": (
            "eth_getCode",
            lambda box: box.update(result=flip(box["result"])),
            "unknown_code",
        ),
        "header": ("eth_getBlockByNumber", in_result("hash"), "other_block"),
        "parent": ("eth_getBlockByNumber", in_result("parentHash"), "other_parent"),
        "receipt": ("eth_getTransactionReceipt", without_logs, "not_in_receipt"),
        "receipt's status": ("eth_getTransactionReceipt", in_result("status"), "not_in_receipt"),
        "sibling": (fulfill, in_result("input"), "proof_differs"),
        "seed in calldata": (fulfill, in_result("input", 2 + 8 + 64 * 6), "seed_differs"),
        "requester in calldata": (
            fulfill,
            in_result("input", 2 + 8 + 64 * 4 - 1),
            "other_request",
        ),
    }


async def test_an_endpoint_that_lies_about_one_field_is_caught(bench: Bench) -> None:
    request = await bench.roll()
    await serve(bench)
    for what, (method, edit, reason) in lies().items():
        async with lying(bench.devnet.ground.rpc_url, method, edit) as url:
            examination = await examined(bench, request, url)
        assert not examination.fits, what
        assert reason in reasons(examination), what
    assert (await examined(bench, request)).fits


async def test_a_wrong_output_on_record_is_caught(bench: Bench) -> None:

    request = await failing(bench)
    async with lying(bench.devnet.ground.rpc_url, "eth_getLogs", in_logs(FAILED, "data")) as url:
        assert "output_differs" in reasons(await examined(bench, request, url))


async def test_an_endpoint_that_loses_the_fulfillment_is_caught(bench: Bench) -> None:

    request = await bench.roll()
    await serve(bench)

    async with lying(bench.devnet.ground.rpc_url, "eth_getLogs", without(FULFILLED)) as url:
        assert reasons(await examined(bench, request, url)) == ["logs_missing"]


async def test_the_verb_prints_words_and_exits_by_what_it_found(
    bench: Bench, tmp_path: Any
) -> None:
    request = await bench.roll()
    place = tmp_path / "deployments.json"
    place.write_text(json.dumps(bench.devnet.deployment.document()), encoding="utf-8")

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(
            CliRunner().invoke, cli_verify, [*arguments, "--deployments", str(place)], env={}
        )

    id_ = "0x" + request.key.request_id.hex()
    pending = await run(id_, "--json")
    assert (pending.exit_code, json.loads(pending.stdout)["reason"]) == (
        1,
        "waiting_for_fulfillment",
    )
    await serve(bench)
    found = await run(id_, "--json")
    document = json.loads(found.stdout)
    assert (found.exit_code, document["fits"], len(document["words"])) == (0, True, 2)
    text = await run(id_)
    assert text.exit_code == 0
    assert document["words"][1] in text.stdout
    assert request.requester in text.stdout
    unknown = await run("0x" + "ab" * 32, "--json")
    assert (unknown.exit_code, json.loads(unknown.stdout)["state"]) == (1, "not_found")
    late = await run(id_, "--from-block", str(request.block_number + 1), "--json")
    assert late.exit_code == 1


async def test_the_verb_finds_its_chain_in_a_configuration(bench: Bench) -> None:
    request = await bench.roll()
    await serve(bench)
    path = bench.devnet.folder / "oracle.toml"
    id_ = "0x" + request.key.request_id.hex()

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(
            CliRunner().invoke, cli_verify, [id_, "--config", str(path), *arguments], env={}
        )

    assert (await run()).exit_code == 0
    text = path.read_text(encoding="utf-8")
    chain = text[text.index("[chains.devnet]") :]
    other = chain.replace("[chains.devnet]", "[chains.other]").replace("31337", "31338")
    path.write_text(text + "\n" + other, encoding="utf-8")
    assert "with --chain: devnet, other" in str((await run()).exception)
    assert (await run("--chain", "devnet")).exit_code == 0
