"""
What `oracle verify` says of requests to an Airnode on the genuine AirnodeRrpV0, of endpoints that
lie about them, and of an Airnode that draws again.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from eth_abi.abi import decode, encode

from oracle.airnode_request import Template, digest
from oracle.cli.verify import verify as cli_verify
from oracle.devnet.network import Devnet
from oracle.errors import ConfigError
from oracle.protocols import airnode_calls as calls
from oracle.request import State
from oracle.verify import airnode_events as events
from tests import airnode_node as airnodes
from tests.airnode import UINT256_ARRAY
from tests.integration.test_audit_airnode import answer_elsewhere, ask_with_own_wallet, rpc_url
from tests.lying import in_answer, in_logs, in_result, lying, without

if TYPE_CHECKING:
    from oracle.airnode_request import AirnodeRequest
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

new_node = airnodes.new_node


async def run(*arguments: str) -> Any:
    result = await asyncio.to_thread(CliRunner().invoke, cli_verify, arguments, env={})
    assert isinstance(result.exception, SystemExit | ConfigError | None), result.exception
    return result


def known(node: Node, url: str | None = None) -> tuple[str, ...]:
    """
    Return what a requester knows of its Airnode.
    """
    keys = node.bench.keys
    return (
        *("--rpc-url", url or rpc_url(node), "--rrp", node.bench.protocol.contract),
        *("--airnode", keys.address, "--xpub", str(keys.xpub)),
    )


async def examined(
    node: Node, request: AirnodeRequest, *arguments: str, url: str | None = None
) -> dict[str, Any]:
    options = arguments or known(node, url)
    result = await run("0x" + request.key.request_id.hex(), *options, "--json")
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if document["fits"] else 1)
    return document


def reasons(document: dict[str, Any], verdict: str = "failed") -> list[str]:
    return [one["reason"] for one in document["checks"] if one["verdict"] == verdict]


async def test_numbers_are_verified_from_an_endpoint_alone(new_node: Any) -> None:
    node = await new_node()
    parameters = encode(["bytes32", "bytes32", "uint256"], [b"1u", b"size", 3])
    template = Template(
        airnode=node.bench.keys.address, endpoint_id=UINT256_ARRAY, parameters=parameters
    )
    contract = node.bench.protocol.contract
    await node.act(Devnet.player(), contract, calls.encode_create_template(template))
    one = await node.ask()
    five = await node.ask("makeRequestUint256Array(uint256)", 5)
    three = await node.ask("makeTemplateRequest(bytes32,bytes)", template.id, b"")
    pending = await examined(node, one)
    assert (pending["state"], pending["fits"], reasons(pending)) == ("open", False, [])
    await node.serve()
    for request, count in ((one, 1), (five, 5), (three, 3)):
        found = await examined(node, request)
        assert (found["state"], found["fits"], len(found["words"])) == ("fulfilled", True, count)
        assert reasons(found, "not_checkable") == ["operators_word"]
        assert "template" in [check["name"] for check in found["checks"]] or count != 3
        data = await node.data(request)
        words = decode([f"bytes32[{count}]"], data[-32 * count :])[0]
        assert found["words"] == ["0x" + word.hex() for word in words]
    bare = await examined(node, one, "--rpc-url", rpc_url(node), "--rrp", contract)
    assert bare["fits"]
    assert reasons(bare, "not_checkable") == [
        *("airnode_not_given", "xpub_not_given", "operators_word")
    ]
    text = await run("0x" + five.key.request_id.hex(), *known(node))
    assert text.exit_code == 0
    assert "nothing proves where the number came from" in text.stdout
    assert "\n".join((await examined(node, five))["words"]) in text.stdout


async def test_airnode_is_found_in_a_configuration_and_in_deployments(
    new_node: Any, tmp_path: Any
) -> None:
    node = await new_node()
    request = await node.ask()
    await node.serve()
    config = ("--config", str(node.folder / "oracle.toml"))
    for arguments in (config, (*config, "--chain", "devnet")):
        found = await examined(node, request, *arguments)
        assert (found["fits"], reasons(found, "not_checkable")) == (True, ["operators_word"])
    id_ = "0x" + request.key.request_id.hex()
    unknown = await run(id_, *config, "--chain", "other")
    assert "--chain: devnet" in str(unknown.exception)
    place = tmp_path / "deployments.json"
    keys = node.bench.keys
    deployed = {
        "rpcUrl": rpc_url(node),
        "airnodeRrp": node.bench.protocol.contract,
        "airnode": keys.address,
        "airnodeXpub": str(keys.xpub),
    }
    place.write_text(json.dumps(deployed), encoding="utf-8")
    found = await examined(
        node, request, "--deployments", str(place), "--airnode", node.bench.keys.address
    )
    assert found["fits"]


async def test_other_ends_are_told_apart_and_never_fit(new_node: Any) -> None:
    node = await new_node(hold_minutes=0)
    bad = await node.ask("makeRequestUint256Array(uint256)", 511)
    fails = await node.ask_from(await airnodes.deploy_moody(node, airnodes.REVERTING))
    own = await ask_with_own_wallet(node)
    for _ in range(3):
        await node.serve()
    assert (await node.where(fails))[0] is State.DONE
    given_up = await examined(node, bad)
    assert (given_up["state"], reasons(given_up), given_up["words"]) == ("given_up", [], [])
    assert "between 1 and 510" in given_up["explanation"]
    failed = await examined(node, fails)
    assert (failed["state"], reasons(failed), failed["fits"]) == ("callback_failed", [], False)
    [word] = failed["words"]
    data = (await node.answer(fails)).data
    assert data is not None
    assert word == "0x" + data.hex()
    stranger = await examined(node, own)
    assert (stranger["state"], reasons(stranger)) == ("open", ["other_sponsor_wallet"])
    missing = await run("0x" + "ab" * 32, *known(node), "--json")
    assert (missing.exit_code, json.loads(missing.stdout)["state"]) == (1, "not_found")


async def test_another_airnode_and_another_contract_are_told(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.serve()
    basis = ("--rpc-url", rpc_url(node), "--rrp", node.bench.protocol.contract)
    other = await examined(node, request, *basis, "--airnode", Devnet.player().address)
    assert reasons(other) == ["other_airnode"]
    id_ = "0x" + request.key.request_id.hex()
    wrong = await run(id_, "--rpc-url", rpc_url(node), "--rrp", node.bench.consumer)
    assert "is no AirnodeRrpV0" in str(wrong.exception)


AWAITING = "requestIsAwaitingFulfillment(bytes32)"


@pytest.mark.parametrize(
    ("method", "edit", "reason"),
    [
        ("eth_getLogs", in_logs(events.MADE_FULL, "data", 2 + 63), "id_differs"),
        ("eth_getLogs", in_logs(events.ANSWERED, "data"), "data_differs"),
        ("eth_getLogs", in_logs(events.ANSWERED, "data"), "not_in_receipt"),
        ("eth_getLogs", without(events.ANSWERED), "logs_missing"),
        ("eth_call", in_answer(AWAITING), "still_open"),
        ("eth_getTransactionByHash", in_result("from"), "other_sender"),
        # The last digit of the one word, and one of the signature.
        ("eth_getTransactionByHash", in_result("input", 2 + 8 + 64 * 8 - 1), "data_differs"),
        ("eth_getTransactionByHash", in_result("input", 2 + 8 + 64 * 9 + 5), "not_signed"),
        ("eth_getTransactionByHash", in_result("input", 2 + 8 + 63), "other_request"),
    ],
)
async def test_an_endpoint_that_lies_is_caught(
    new_node: Any, method: str, edit: Any, reason: str
) -> None:
    node = await new_node()
    request = await node.ask()
    await node.serve()
    async with lying(rpc_url(node), method, edit) as url:
        found = await examined(node, request, url=url)
    assert reason in reasons(found)
    assert not found["fits"]


async def test_a_template_that_the_endpoint_invents_is_caught(new_node: Any) -> None:
    node = await new_node()
    template = Template(airnode=node.bench.keys.address, endpoint_id=UINT256_ARRAY, parameters=b"")
    contract = node.bench.protocol.contract
    await node.act(Devnet.player(), contract, calls.encode_create_template(template))
    request = await node.ask("makeTemplateRequest(bytes32,bytes)", template.id, b"")
    edit = in_answer("templates(bytes32)", 2 + 64 + 5)
    async with lying(rpc_url(node), "eth_call", edit) as url:
        assert reasons(await examined(node, request, url=url)) == ["template_differs"]


async def test_two_numbers_for_one_request_are_proof_mined_or_not(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.walk()
    [first] = await node.transactions()
    first_raw = await node.rpc("eth_getRawTransactionByHash", "0x" + first.hex())
    first_hash = "0x" + first.hex()
    second = calls.encode_words([7], array=False)
    signature = node.bench.keys.sign(digest(request.key.request_id, second))
    other = "0x" + calls.encode_fulfill(request, second, signature).hex()
    # As a hash while it is in the mempool, and as signed bytes without any endpoint.
    assert (await node.rpc("eth_getTransactionByHash", first_hash))["blockNumber"] is None
    url = ("--rpc-url", rpc_url(node))
    for pair, options in (((first_hash, other), url), ((other, first_raw), ())):
        found = await run("--pair", *pair, *options)
        assert found.exit_code == 1, found.stdout
        assert "was drawn again" in found.stdout
        assert node.bench.keys.address in found.stdout
    await node.rpc("anvil_dropTransaction", first_hash)
    await answer_elsewhere(node, request, 7)
    found = await run("--pair", first_raw, other, "--json")
    document = json.loads(found.stdout)
    assert (found.exit_code, document["misbehaviour"]) == (1, True)
    gone = await run("--pair", "0x" + "ab" * 32, other, *url)
    assert "knows no transaction" in str(gone.exception)
    assert "--rpc-url" in str((await run("--pair", first_hash, other)).exception)


async def test_pairs_that_prove_nothing_are_no_proof(new_node: Any) -> None:
    node = await new_node()
    requests = [await node.ask(), await node.ask()]
    keys = node.bench.keys

    def fulfillment(place: int, word: int, *, signed_for: int | None = None) -> str:
        request, data = requests[place], calls.encode_words([word], array=False)
        subject = requests[place if signed_for is None else signed_for].key.request_id
        return "0x" + calls.encode_fulfill(request, data, keys.sign(digest(subject, data))).hex()

    one = fulfillment(0, 1)
    for other, verdict in (
        (fulfillment(0, 1), "same_number"),
        (fulfillment(1, 2), "other_requests"),
        (fulfillment(0, 2, signed_for=1), "not_signed"),
    ):
        found = await run("--pair", one, other, "--json")
        assert (found.exit_code, json.loads(found.stdout)["verdict"]) == (0, verdict)
    found = await run("--pair", one, "0x" + calls.encode_fail(requests[0], "no").hex())
    assert isinstance(found.exception, ConfigError)
    assert "the second of the two is no call of AirnodeRrpV0.fulfill" in str(found.exception)
