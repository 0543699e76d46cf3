"""
What `oracle audit` says of a chain and a store that fit, and of every way in which they do not.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from eth_abi.abi import encode

from oracle.audit.chain import audit_chain, open_ledger
from oracle.audit.store import StoreAudit
from oracle.chain import transact
from oracle.chain.wallets import from_private_key
from oracle.cli.audit import audit as cli_audit
from oracle.devnet.network import OPERATOR_KEY
from oracle.errors import InvariantError
from oracle.evm import checksum_address, keccak
from oracle.protocols.coordinator import pack_terms
from oracle.request import State
from oracle.verify.events import COMMITTED, FULFILLED, MADE
from tests.lying import in_logs, lying, without

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.request import RandomnessRequest
    from tests.integration.conftest import Bench
    from tests.lying import Edit

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def serve(bench: Bench, blocks: int = 3) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk()


async def audited(bench: Bench, url: str | None = None) -> dict[str, Any]:
    config = bench.devnet.folder / "oracle.toml"
    if url is not None:
        text = config.read_text(encoding="utf-8")
        config = config.with_name("lying.toml")
        config.write_text(text.replace(bench.devnet.ground.rpc_url, url), encoding="utf-8")
    arguments = ["--config", str(config), "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, cli_audit, arguments, env={})
    assert isinstance(result.exception, SystemExit | None), result.exception
    document = json.loads(result.stdout)
    assert result.exit_code == (0 if document["clean"] else 1)
    chain: dict[str, Any] = document["chains"]["devnet"]
    return chain


def codes(document: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in document["findings"]["findings"]]


def hex_id(request: RandomnessRequest) -> str:
    return "0x" + request.key.request_id.hex()


def tamper(bench: Bench, statement: str, *values: object) -> None:
    with sqlite3.connect(bench.devnet.folder / "oracle.db") as database:
        assert database.execute(statement, values).rowcount != 0
    database.close()


async def cancel(bench: Bench, request: RandomnessRequest) -> None:
    terms = (request.requester, pack_terms(request), request.user_seed)
    data = keccak(b"cancel((address,uint256,bytes32))")[:4] + encode(
        ["(address,uint256,bytes32)"], [terms]
    )
    player, dice = bench.devnet.player(), bench.devnet.deployment.dice
    sent = await transact.send_transaction(bench.devnet.reader, player, to=dice, data=data)
    await bench.mined(sent)


async def as_owner(bench: Bench, signature: str, *values: object) -> None:
    types = signature[signature.index("(") + 1 : -1].split(",")
    sent = await transact.send_transaction(
        bench.devnet.reader,
        bench.devnet.player(),
        to=bench.service.contract,
        data=keccak(signature.encode())[:4] + encode(types, values),
    )
    await bench.mined(sent)


async def test_requests_in_every_state_are_clean_beside_a_running_node(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(window=64)
    withheld = await bench.roll()
    await bench.mine(60)
    await serve(bench, 5)
    await cancel(bench, withheld)
    await bench.roll()
    await serve(bench)
    expired = await bench.roll()
    await bench.mine(64)
    await serve(bench)
    for _ in range(2):
        await bench.roll()
    await serve(bench)
    # The owner collects a part, and takes a part of that.
    await as_owner(bench, "collect(uint64,uint64)", 0, 2)
    await as_owner(bench, "withdraw(address,uint256)", bench.devnet.player().address, 12345)
    await serve(bench)
    open_ = await bench.roll()
    await bench.rpc(
        "anvil_setBalance",
        bench.service.contract,
        hex(await bench.service.reader.balance(bench.service.contract) + 777),
    )
    await bench.walk()

    found = await audited(bench)
    assert codes(found) == []
    assert [found[name] for name in ("requests", "fulfilled", "cancelled", "pending")] == [
        *(6, 3, 1, 2)
    ]
    assert found["withheld"]["requests"] == [
        {"index": 0, "requestId": hex_id(withheld), "reason": "cancelled"},
        {"index": 2, "requestId": hex_id(expired), "reason": "window_closed"},
    ]
    assert [one["requestId"] for one in found["exposed"]["requests"]] == [hex_id(open_)]
    money = found["money"]
    assert money["donatedWei"] == 777
    assert money["withdrawnWei"] == 12345
    assert money["earnedWei"] > 0 < money["uncollectedWei"]
    assert money["escrowWei"] == expired.fee + open_.fee
    assert money["refundedWei"] == withheld.fee


async def test_a_store_whose_node_has_stopped_is_audited_and_not_written(bench: Bench) -> None:
    await bench.roll()
    await serve(bench)
    await bench.stack.aclose()
    path = bench.devnet.folder / "oracle.db"
    before = path.read_bytes()
    assert codes(await audited(bench)) == []
    assert path.read_bytes() == before


async def test_a_request_that_waits_for_a_quarter_of_its_window_is_overdue(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(window=64)
    request = await bench.roll()
    await bench.mine(20)
    found = await audited(bench)
    assert codes(found) == ["overdue"]
    assert [one["requestId"] for one in found["overdue"]["requests"]] == [hex_id(request)]


async def test_only_what_is_settled_is_audited(new_bench: NewBench) -> None:
    bench = await new_bench(confirmations=3)
    await bench.roll()
    assert (await audited(bench))["requests"] == 0
    await bench.mine(3)
    found = await audited(bench)
    # The node has not read it yet.
    assert (codes(found), found["pending"]) == ([], 1)
    await serve(bench, 8)
    assert (codes(found := await audited(bench)), found["fulfilled"]) == ([], 1)


async def test_a_failed_callback_is_counted_and_its_output_checked(bench: Bench) -> None:
    consumer = checksum_address("5c" * 20)
    await bench.rpc("anvil_setBalance", consumer, hex(10**20))
    await bench.rpc("anvil_impersonateAccount", consumer)
    data = bench.service.protocol.encode_request(50_000, 2, 1, bytes(32))
    sent = await bench.rpc(
        "eth_sendTransaction",
        {
            "from": consumer,
            "to": bench.service.contract,
            "data": "0x" + data.hex(),
            "value": hex(10**16),
            "gas": hex(300_000),
        },
    )
    await bench.mined(bytes.fromhex(sent[2:]))
    await bench.rpc("anvil_setCode", consumer, "0x5f5ffd")
    await serve(bench)
    found = await audited(bench)
    assert (codes(found), found["failedCallbacks"]) == ([], 1)


async def test_a_root_of_another_store_is_named(new_bench: NewBench) -> None:
    bench = await new_bench(runway=256)
    counters = await bench.counters()
    data = bench.service.protocol.encode_commit(counters.committed, [b"\x01" * 32])
    sent = await transact.send_transaction(
        bench.devnet.reader,
        from_private_key(OPERATOR_KEY),
        to=bench.service.contract,
        data=data,
    )
    await bench.mined(sent)
    await bench.walk()
    found = await audited(bench)
    assert codes(found) == ["foreign_root"]
    assert found["foreignRoots"] == {"count": 1, "from": [counters.committed]}


TAMPERED = {
    "a state": ("UPDATE requests SET state = 'confirmed'", "state_differs"),
    "a fulfillment": ("UPDATE requests SET outcome_block = outcome_block + 1", "outcome_differs"),
    "a callback": ("UPDATE requests SET callback_succeeded = 0", "outcome_differs"),
    "a fee": ("UPDATE requests SET fee = zeroblob(32)", "terms_differ"),
    "a requester": ("UPDATE requests SET requester = zeroblob(20)", "terms_differ"),
    "a block": ("UPDATE requests SET block_hash = zeroblob(32)", "terms_differ"),
    "an orphan": ("UPDATE requests SET state = 'orphaned'", "state_differs"),
    "an id": ("UPDATE requests SET request_id = randomblob(32)", "not_on_chain"),
    "a leaf": (
        (
            "UPDATE batches SET leaves = CAST(zeroblob(32) || substr(leaves, 33) AS BLOB)"
            " WHERE first_index = 0"
        ),
        "leaves_differ",
    ),
    "a root": ("UPDATE batches SET root = zeroblob(32) WHERE first_index = 0", "foreign_root"),
    "a batch's state": ("UPDATE batches SET state = 'built'", "batch_differs"),
    "an exposure": ("DELETE FROM reveals", "revealed_elsewhere"),
}


async def test_a_store_that_was_tampered_with_is_found_out(bench: Bench) -> None:
    await bench.roll()
    await serve(bench)
    await bench.stack.aclose()
    path = bench.devnet.folder / "oracle.db"
    good = path.read_bytes()
    for what, (statement, code) in TAMPERED.items():
        tamper(bench, statement)
        assert code in codes(await audited(bench)), what
        path.write_bytes(good)
    assert codes(await audited(bench)) == []


async def test_every_row_is_audited_however_many_are_read_at_once(bench: Bench) -> None:
    for _ in range(3):
        await bench.roll()
    await serve(bench)
    tamper(bench, "UPDATE requests SET num_words = num_words + 1")
    reader, service = bench.service.reader, bench.service
    for page in range(1, 5):
        with await open_ledger(reader, service.chain_id, service.contract, 0) as ledger:
            store = StoreAudit(service.database, ledger, page)
            await audit_chain(reader, ledger, store.leaves_of)
            await store.audit()
            found = [finding.code for finding in ledger.report.findings]
        assert found == ["terms_differ"] * 3, page


async def test_an_orphan_that_the_chain_has_is_found_once_the_node_has_read_its_block(
    bench: Bench,
) -> None:
    await bench.roll()
    await bench.walk()
    tamper(bench, "UPDATE requests SET state = 'orphaned'")
    assert codes(await audited(bench)) == ["state_differs"]
    # After a deep reorg a node reads again from further back.
    tamper(bench, "UPDATE cursors SET block_number = 1")
    assert codes(await audited(bench)) == []


async def test_rows_that_cannot_be_read_end_the_audit_with_a_sentence(bench: Bench) -> None:
    await bench.roll()
    await bench.walk()
    tamper(bench, "UPDATE requests SET state = 'lost in translation'")
    result = await asyncio.to_thread(
        CliRunner().invoke, cli_audit, ["--config", str(bench.devnet.folder / "oracle.toml")]
    )
    assert isinstance(result.exception, InvariantError)
    assert "was tampered with" in str(result.exception)


async def test_a_pending_request_that_the_store_forgot_is_found(bench: Bench) -> None:
    request = await bench.roll()
    await bench.walk()
    assert await bench.state(request) is State.SENT
    tamper(bench, "DELETE FROM requests")
    assert codes(await audited(bench)) == ["not_in_store"]


async def test_a_block_of_the_pool_that_is_bound_twice_is_found(bench: Bench) -> None:
    with sqlite3.connect(bench.devnet.folder / "oracle.db") as database:
        columns = "id, sources, simulated, received_at, digest, nonce, ciphertext, purpose"
        # What no constraint holds back any more.
        database.executescript(
            f"""
            PRAGMA foreign_keys = OFF;
            CREATE TABLE tampered AS SELECT * FROM blocks;
            INSERT INTO tampered ({columns}) SELECT randomblob(16), sources, simulated,
                received_at, randomblob(32), nonce, ciphertext, purpose
                FROM blocks WHERE purpose IS NOT NULL LIMIT 1;
            DROP TABLE blocks;
            ALTER TABLE tampered RENAME TO blocks;
            """
        )
    database.close()
    assert codes(await audited(bench)) == ["bound_twice"]


@pytest.mark.parametrize("part", ["earned", "escrow"])
async def test_money_that_does_not_add_up_is_found(bench: Bench, part: str) -> None:
    await bench.roll()
    await serve(bench)
    await bench.roll()
    contract = bench.service.contract
    if part == "escrow":
        await bench.rpc("anvil_setBalance", contract, "0x1")
        assert codes(await audited(bench)) == ["insolvent"]
        return
    # Its slot says that the first request earned nothing.
    slot = await find_slot(bench)
    await bench.rpc("anvil_setStorageAt", contract, slot, "0x" + "00" * 31 + "01")
    assert codes(await audited(bench)) == ["earnings_differ"]


async def find_slot(bench: Bench) -> str:
    """
    Return the place of the ring's first slot in the storage.
    """
    text = files("oracle.artifacts").joinpath("QuantumCoordinator.json").read_text()
    layout = json.loads(text)["storageLayout"]["storage"]
    [slot] = [int(item["slot"]) for item in layout if item["label"] == "_ring"]
    return f"0x{slot:064x}"


async def test_an_endpoint_that_lies_is_found_out(bench: Bench) -> None:
    await bench.roll()
    await serve(bench)
    lies: list[tuple[Edit, set[str]]] = [
        (without(MADE), {"not_pending"}),
        (without(FULFILLED), {"earnings_differ", "logs_missing"}),
        (without(COMMITTED), {"logs_missing"}),
        (in_logs(MADE, "data"), {"id_differs"}),
        (in_logs(FULFILLED, "data", 2), {"wrong_seed"}),
        (in_logs(FULFILLED, "data"), {"callback_contradiction"}),
        (in_logs(COMMITTED, "data", 1 + 64 * 3), {"foreign_root"}),
    ]
    for place, (edit, expected) in enumerate(lies):
        async with lying(bench.devnet.ground.rpc_url, "eth_getLogs", edit) as url:
            assert expected <= set(codes(await audited(bench, url))), place
    assert codes(await audited(bench)) == []


async def test_a_coordinator_of_other_code_is_found(bench: Bench) -> None:
    contract = bench.service.contract
    code = await bench.rpc("eth_getCode", contract, "latest")
    await bench.rpc("anvil_setCode", contract, code + "00")
    assert codes(await audited(bench)) == ["unknown_code"]


async def test_a_dead_endpoint_is_named_and_the_other_chain_audited(bench: Bench) -> None:
    path = bench.devnet.folder / "oracle.toml"
    text = path.read_text(encoding="utf-8")
    chain = text[text.index("[chains.devnet]") :]
    dead = chain.replace("[chains.devnet]", "[chains.dead]").replace("31337", "31338")
    url = bench.devnet.ground.rpc_url
    path.write_text(text + "\n" + dead.replace(url, "http://127.0.0.1:1"), encoding="utf-8")
    result = await asyncio.to_thread(
        CliRunner().invoke, cli_audit, ["--config", str(path), "--json"], env={}
    )
    assert result.exit_code == 1
    chains = json.loads(result.stdout)["chains"]
    assert {name: codes(chain) for name, chain in chains.items()} == {
        "devnet": [],
        "dead": ["not_audited"],
    }
    told = await asyncio.to_thread(CliRunner().invoke, cli_audit, ["--config", str(path)], env={})
    # Nothing that was not counted is shown as a count.
    assert "dead\nnot_audited" in told.stdout
    assert told.stdout.count("up to block") == 1


async def test_a_store_of_another_chain_is_refused(bench: Bench) -> None:
    tamper(bench, "UPDATE settings SET value = 'other' WHERE name LIKE 'genesis:%'")
    result = await asyncio.to_thread(
        CliRunner().invoke, cli_audit, ["--config", str(bench.devnet.folder / "oracle.toml")]
    )
    assert "belongs to another chain" in str(result.exception)


async def test_the_text_names_what_the_document_names(bench: Bench) -> None:
    request = await bench.roll()
    await serve(bench)
    tamper(bench, "UPDATE requests SET fee = zeroblob(32)")
    result = await asyncio.to_thread(
        CliRunner().invoke, cli_audit, ["--config", str(bench.devnet.folder / "oracle.toml")]
    )
    assert result.exit_code == 1
    assert "terms_differ" in result.stdout
    assert hex_id(request) in result.stdout
