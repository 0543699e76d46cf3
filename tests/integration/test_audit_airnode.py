"""
What `oracle audit` says of an Airnode and its store: that they fit, and every way in which they
do not.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from oracle.airnode_request import AirnodeRequest, digest
from oracle.cli.audit import audit as cli_audit
from oracle.cli.requests import requests as cli_requests
from oracle.devnet.network import Devnet
from oracle.protocols import airnode_calls as calls
from oracle.request import State
from oracle.verify import airnode_events as events
from tests import airnode_node as airnodes
from tests.airnode import ETHER, UINT256, AirnodeBench, call
from tests.lying import in_logs, lying, without

if TYPE_CHECKING:
    from tests.airnode_node import Node
    from tests.lying import Edit

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

new_node = airnodes.new_node
FUNDS = ETHER // 10


async def audited(node: Node, url: str | None = None) -> dict[str, Any]:
    config = node.folder / "oracle.toml"
    if url is not None:
        text = config.read_text(encoding="utf-8")
        config = config.with_name("lying.toml")
        config.write_text(text.replace(rpc_url(node), url), encoding="utf-8")
    arguments = ["--config", str(config), "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, cli_audit, arguments, env={})
    assert isinstance(result.exception, SystemExit | None), result.exception
    document = json.loads(result.stdout)
    assert result.exit_code == (0 if document["clean"] else 1)
    found: dict[str, Any] = document["airnodes"]["devnet"]
    return found


def codes(document: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in document["findings"]["findings"]]


def listed(document: dict[str, Any], name: str) -> dict[str, str]:
    assert document[name]["count"] == len(document[name]["entries"])
    return {entry["id"]: entry["reason"] for entry in document[name]["entries"]}


def hex_id(request: AirnodeRequest) -> str:
    return "0x" + request.key.request_id.hex()


def tamper(node: Node, statement: str) -> None:
    with sqlite3.connect(node.folder / "oracle.db") as database:
        assert database.execute(statement).rowcount != 0
    database.close()


def rpc_url(node: Node) -> str:
    text = (node.folder / "oracle.toml").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.startswith("endpoints")]
    return line.split('"')[1]


async def answer_elsewhere(node: Node, request: AirnodeRequest, word: int = 4711) -> None:
    """
    Answer as a second node with the same mnemonic does.
    """
    data = calls.encode_words([word], array=False)
    signature = node.bench.keys.sign(digest(request.key.request_id, data))
    await node.act(
        node.bench.wallet_of(request.sponsor),
        node.bench.protocol.contract,
        calls.encode_fulfill(request, data, signature),
    )


async def ask_with_own_wallet(node: Node) -> AirnodeRequest:
    """
    Ask as a stranger who names a wallet of its own as its sponsor wallet.
    """
    bench, player = node.bench, Devnet.player()
    sponsorship = calls.encode_set_sponsorship(player.address, sponsored=True)
    ask = call(
        "makeFullRequest(address,bytes32,address,address,address,bytes4,bytes)",
        *(bench.keys.address, UINT256, player.address, player.address, player.address),
        *(b"\1\2\3\4", b""),
    )
    await node.act(player, bench.protocol.contract, sponsorship)
    [request] = bench.events(await node.act(player, bench.protocol.contract, ask))
    assert isinstance(request, AirnodeRequest)
    return request


async def test_every_end_and_every_wait_is_clean_and_listed(new_node: Any) -> None:
    node = await new_node()
    bench, player = node.bench, Devnet.player()
    await node.ask()
    await node.ask("makeRequestUint256Array(uint256)", 5)
    bad = await node.ask("makeRequestUint256Array(uint256)", 511)
    fails = await node.ask_from(await airnodes.deploy_moody(node, airnodes.REVERTING))
    await node.serve()
    node.service = replace(node.service, policy=replace(node.service.policy, hold=0))
    await node.serve()
    node.service = replace(node.service, policy=replace(node.service.policy, hold=3_600_000))
    held = await node.ask_from(await airnodes.deploy_moody(node, airnodes.REVERTING))
    await node.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    dry = await AirnodeBench.deploy_consumer(bench.reader, bench.protocol.contract)
    await bench.point(dry)
    await node.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    unfunded = await node.ask_from(dry)
    refused = await ask_with_own_wallet(node)
    wallet = bench.wallet_of(player.address).address
    wish = calls.encode_request_withdrawal(bench.keys.address, wallet)
    for funds in (FUNDS, 0):
        if funds:
            await node.act(player, wallet, b"", funds)
        await node.act(player, bench.protocol.contract, wish)
        await node.serve()
        await node.walk()
    sent = await node.ask()
    await node.walk()
    assert (await node.where(sent))[0] is State.SENT

    found = await audited(node)
    assert codes(found) == []
    assert (await node.where(fails))[0] is (await node.where(bad))[0] is State.DONE
    counts = ("requests", "fulfilled", "failedCallbacks", "givenUp", "earlier", "notInStore")
    assert [found[name] for name in counts] == [8, 2, 1, 1, 0, 0]
    assert listed(found, "open") == {
        hex_id(held): "callback_fails",
        hex_id(unfunded): "wallet_unfunded",
        hex_id(refused): "wrong_sponsor_wallet",
        hex_id(sent): "sent",
    }
    assert list(listed(found, "unserved")) == [hex_id(refused)]
    assert list(listed(found, "held")) == [hex_id(held)]
    assert list(listed(found, "unfunded")) == [hex_id(unfunded)]
    assert list(listed(found, "exposed")) == [hex_id(sent)]
    assert (found["withdrawals"], found["withdrawalsPaid"]) == (2, 1)
    assert found["withdrawalsLate"]["count"] == 0
    await node.rpc("evm_increaseTime", 3601)
    await node.rpc("anvil_mine", "0x1")
    found = await audited(node)
    assert codes(found) == []
    [late] = found["withdrawalsLate"]["entries"]
    assert (late["sponsor"], late["reason"]) == (player.address, "requested")
    assert late["ageSeconds"] > 3600
    text = await asyncio.to_thread(
        CliRunner().invoke, cli_audit, ["--config", str(node.folder / "oracle.toml")], env={}
    )
    assert text.exit_code == 0
    assert f"{hex_id(held)}  callback_fails" in text.stdout


async def test_number_of_another_node_is_found_whatever_this_store_had(new_node: Any) -> None:
    node = await new_node()
    undrawn = await node.ask()
    await answer_elsewhere(node, undrawn, 1)
    await node.serve()
    await node.serve()
    assert codes(await audited(node)) == ["foreign_fulfillment"]
    shown = await asyncio.to_thread(
        CliRunner().invoke,
        cli_requests,
        ["show", hex_id(undrawn), "--config", str(node.folder / "oracle.toml"), "--json"],
        env={},
    )
    assert json.loads(shown.stdout)["reason"] == "foreign_fulfillment"
    exposed = await node.ask()
    await node.walk()
    assert (await node.where(exposed))[0] is State.SENT
    sent = (await node.transactions())[-1]
    await node.rpc("anvil_dropTransaction", "0x" + sent.hex())
    await answer_elsewhere(node, exposed, 2)
    # Twice: the seed is erased by then, and only what was written down tells.
    await node.serve()
    await node.serve()
    found = await audited(node)
    assert codes(found) == ["foreign_fulfillment"] * 2
    named = {finding["requestId"] for finding in found["findings"]["findings"]}
    assert named == {hex_id(undrawn), hex_id(exposed)}


async def test_number_of_another_node_for_a_callback_that_fails_is_read_from_calldata(
    new_node: Any,
) -> None:
    node = await new_node()
    request = await node.ask_from(await airnodes.deploy_moody(node, airnodes.REVERTING))
    await answer_elsewhere(node, request)
    await node.serve()
    found = await audited(node)
    assert (found["failedCallbacks"], codes(found)) == (1, ["foreign_fulfillment"])


@pytest.mark.parametrize("message", ["from elsewhere", events.CALLBACK_FAILED])
async def test_request_that_another_node_gave_up_is_found(new_node: Any, message: str) -> None:
    node = await new_node()
    request = await node.ask()
    wallet, contract = node.bench.wallet_of(request.sponsor), node.bench.protocol.contract
    await node.act(wallet, contract, calls.encode_fail(request, message))
    await node.serve()
    assert codes(await audited(node)) == ["foreign_failure"]


async def test_stranger_who_gives_up_a_request_of_a_wallet_of_its_own_is_no_finding(
    new_node: Any,
) -> None:
    node = await new_node()
    for message in ("mine", events.CALLBACK_FAILED):
        request = await ask_with_own_wallet(node)
        end = calls.encode_fail(request, message)
        await node.act(Devnet.player(), node.bench.protocol.contract, end)
    await node.serve()
    found = await audited(node)
    assert (found["givenUp"], found["failedCallbacks"], codes(found)) == (2, 0, [])


TAMPERED = {
    "a state": ("UPDATE airnode_requests SET state = 'confirmed'", "state_differs"),
    "an orphan": ("UPDATE airnode_requests SET state = 'orphaned'", "state_differs"),
    "an end": (
        "UPDATE airnode_requests SET outcome_block = outcome_block + 1",
        "outcome_differs",
    ),
    "a callback": ("UPDATE airnode_requests SET callback_succeeded = 0", "outcome_differs"),
    "a block": ("UPDATE airnode_requests SET block_hash = zeroblob(32)", "terms_differ"),
    "a requester": ("UPDATE airnode_requests SET requester = zeroblob(20)", "terms_differ"),
    "an id": ("UPDATE airnode_requests SET request_id = randomblob(32)", "not_on_chain"),
    "a number": ("UPDATE airnode_requests SET data = zeroblob(32)", "foreign_fulfillment"),
    "a draw": ("UPDATE airnode_requests SET drawn_at = NULL", "foreign_fulfillment"),
    "a row": ("DELETE FROM airnode_requests", "foreign_fulfillment"),
    "a block's purpose": (
        "UPDATE blocks SET purpose = 'gateway' WHERE purpose LIKE 'airnode:%'",
        "draw_missing",
    ),
    "a request": ("DELETE FROM airnode_requests", "drawn_for_nobody"),
    "a transaction": ("UPDATE attempts SET sent_at = NULL", "revealed_elsewhere"),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_store_that_was_tampered_with_is_found_out(new_node: Any, what: str) -> None:
    node = await new_node()
    await node.ask()
    await node.serve()
    assert codes(await audited(node)) == []
    statement, code = TAMPERED[what]
    tamper(node, statement)
    assert code in codes(await audited(node))


async def test_answers_of_before_a_restore_are_listed_and_later_ones_found(new_node: Any) -> None:
    node = await new_node()
    before = await node.ask()
    await node.serve()
    head = int(await node.rpc("eth_blockNumber"), 16)
    place = f"{node.service.chain_id}:{node.service.contract}"
    tamper(node, f"INSERT INTO settings VALUES ('restored:{place}', '1:{head}')")
    tamper(node, "UPDATE airnode_requests SET drawn_at = NULL, exposed_at = NULL")
    found = await audited(node)
    assert (codes(found), found["beforeRestore"]["requests"]) == ([], [hex_id(before)])
    tamper(node, f"UPDATE settings SET value = '1:{head - 3}' WHERE name LIKE 'restored:%'")
    assert codes(await audited(node)) == ["foreign_fulfillment"]


async def test_an_open_request_that_the_store_forgot_is_found(new_node: Any) -> None:
    node = await new_node()
    node.service = replace(node.service, policy=replace(node.service.policy, draws_per_day=0))
    await node.ask()
    await node.walk()
    tamper(node, "DELETE FROM airnode_requests")
    assert codes(await audited(node)) == ["not_in_store"]


async def test_an_open_request_of_which_nobody_says_why_it_waits_is_overdue(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.walk()
    [sent] = await node.transactions()
    await node.rpc("anvil_dropTransaction", "0x" + sent.hex())
    await node.rpc("anvil_mine", hex(101))
    tamper(node, "UPDATE airnode_requests SET state = 'confirmed', reason = NULL")
    assert codes(await audited(node)) == []
    tamper(node, "UPDATE cursors SET block_number = block_number + 101")
    found = await audited(node)
    assert codes(found) == ["overdue"]
    assert listed(found, "open") == {hex_id(request): "confirmed"}


async def test_a_request_with_two_draws_is_found(new_node: Any) -> None:
    node = await new_node()
    await node.ask()
    await node.serve()
    with sqlite3.connect(node.folder / "oracle.db") as database:
        columns = "id, sources, simulated, received_at, digest, nonce, ciphertext, purpose"
        # What no constraint holds back any more.
        database.executescript(
            f"""
            PRAGMA foreign_keys = OFF;
            CREATE TABLE tampered AS SELECT * FROM blocks;
            INSERT INTO tampered ({columns}) SELECT randomblob(16), sources, simulated,
                received_at, randomblob(32), nonce, ciphertext, purpose
                FROM blocks WHERE purpose LIKE 'airnode:%' LIMIT 1;
            DROP TABLE blocks;
            ALTER TABLE tampered RENAME TO blocks;
            """
        )
    database.close()
    assert codes(await audited(node)) == ["drawn_twice", "bound_twice"]


async def test_a_withdrawal_that_store_and_chain_tell_differently_is_found(new_node: Any) -> None:
    node = await new_node()
    bench, player = node.bench, Devnet.player()
    wallet = bench.wallet_of(player.address).address
    wish = calls.encode_request_withdrawal(bench.keys.address, wallet)
    await node.act(player, bench.protocol.contract, wish)
    await node.serve()
    assert codes(await audited(node)) == []
    tamper(node, "UPDATE airnode_withdrawals SET state = 'done'")
    assert codes(await audited(node)) == ["state_differs"]
    tamper(node, "DELETE FROM airnode_withdrawals")
    assert codes(await audited(node)) == ["not_in_store"]


# The first digit of a request's count.
COUNT = 2 + 63


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (without(events.MADE_FULL), "never_made"),
        (without(events.ANSWERED), "logs_missing"),
        (in_logs(events.MADE_FULL, "data", COUNT), "id_differs"),
        (in_logs(events.ANSWERED, "data"), "foreign_fulfillment"),
    ],
)
async def test_an_endpoint_that_lies_is_found_out(new_node: Any, edit: Edit, code: str) -> None:
    node = await new_node(start_block=0)
    await node.ask()
    await node.serve()
    async with lying(rpc_url(node), "eth_getLogs", edit) as liar:
        assert code in codes(await audited(node, liar))


async def test_a_dead_endpoint_is_named(new_node: Any) -> None:
    node = await new_node()
    assert codes(await audited(node, "http://127.0.0.1:1")) == ["not_audited"]
