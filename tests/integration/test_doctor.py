"""
`oracle doctor` on consumers of the genuine AirnodeRrpV0. What it prints is sent as it is, and does
what it says.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from eth_abi.abi import encode

from oracle.airnode_request import AirnodeRequest, Template
from oracle.artifacts import Artifact
from oracle.chain import transact
from oracle.devnet.network import Devnet
from oracle.protocols.airnode_calls import encode_create_template
from oracle.protocols.airnode_published import PROVIDERS
from oracle.protocols.airnode_rrp_v0 import AirnodeProtocol
from tests.airnode import ETHER, UINT256, UINT256_ARRAY, AirnodeBench, call
from tests.solidity import compiled
from tests.verbs import oracle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.devnet.network import Ground

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

ANU = PROVIDERS[0]
OLD_WALLET = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"
STRANGER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CONSUMERS = "tests/contracts/support/QrngConsumers.sol"
PROXY = "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(ground: Ground) -> AsyncIterator[AirnodeBench]:
    snapshot = await ground.reader.rpc("evm_snapshot")
    yield await AirnodeBench.deploy(ground.reader)
    await ground.reader.rpc("evm_revert", snapshot)


class Doctor:
    """
    Runs the verb.
    """

    def __init__(self, bench: AirnodeBench, url: str) -> None:
        self._bench = bench
        self._url = url

    async def text(self, consumer: str, *more: str) -> tuple[int, str, str]:
        said = await oracle("doctor", consumer, "--rpc", self._url, *more)
        return said.code, said.out, said.err

    async def process(self, consumer: str, *more: str) -> tuple[int, str, str]:
        """
        Run it as users do.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "oracle", "doctor", consumer, "--rpc", self._url, *more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaint = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode(), complaint.decode()

    async def __call__(self, consumer: str, *more: str) -> tuple[int, dict[str, Any]]:
        code, said, complaint = await self.text(consumer, *more, "--json")
        assert said, complaint
        return code, json.loads(said)

    async def towards_us(self, consumer: str, *more: str) -> tuple[int, dict[str, Any]]:
        return await self(consumer, "--airnode-xpub", str(self._bench.keys.xpub), *more)


@pytest.fixture
def doctor(bench: AirnodeBench, ground: Ground) -> Doctor:
    return Doctor(bench, ground.rpc_url)


async def deploy(bench: AirnodeBench, name: str, types: list[str], *values: object) -> str:
    artifact = compiled(CONSUMERS)[name]
    address, _ = await transact.deploy(
        bench.reader,
        Devnet.player(),
        artifact,
        encode(["address", *types], [bench.protocol.contract, *values]),
    )
    return address


async def stranded(bench: AirnodeBench, *, requests: int = 1) -> str:
    """
    Deploy a consumer that still asks ANU's Airnode, which nobody serves any more.
    """
    consumer = await bench.deploy_consumer(bench.reader, bench.protocol.contract)
    await bench.send(
        consumer,
        "setRequestParameters(address,bytes32,bytes32,address)",
        *(ANU.airnode, ANU.uint256, ANU.uint256_array, OLD_WALLET),
    )
    for _ in range(requests):
        await bench.send(consumer, "makeRequestUint256()")
    return consumer


async def test_what_no_request_is_answered_with_is_named(
    bench: AirnodeBench, doctor: Doctor
) -> None:
    consumer = await bench.deploy_consumer(bench.reader, bench.protocol.contract)
    unknown, swapped = bytes(31) + b"\1", ANU.uint256
    await bench.send(
        consumer,
        "setRequestParameters(address,bytes32,bytes32,address)",
        *(bench.keys.address, unknown, swapped, bench.wallet_of(bench.consumer).address),
    )
    code, said = await doctor.towards_us(consumer)
    text = "\n".join(said["reasons"])
    assert code == 0
    assert "names this Airnode already, and with it a sponsor wallet" in text
    assert f"0x{unknown.hex()}, is none that API3 published" in text
    assert f"0x{swapped.hex()}, is API3's for the other kind" in text
    assert "--array-endpoint-id names another" in text

    # Without an Airnode to move to, as far as can be seen.
    _, said = await doctor(consumer)
    text = "\n".join(said["reasons"])
    assert "is none that API3 published" in text
    assert "transactions" not in text
    await bench.send(
        consumer,
        "setRequestParameters(address,bytes32,bytes32,address)",
        *(ANU.airnode, ANU.uint256, ANU.uint256_array, "0x" + "77" * 20),
    )
    _, said = await doctor(consumer)
    assert "holds nothing" in said["reasons"][-1]


async def test_consumer_moves_with_what_is_printed(bench: AirnodeBench, doctor: Doctor) -> None:
    consumer = await stranded(bench, requests=2)
    code, said = await doctor.towards_us(consumer, "--airnode", bench.keys.address)
    assert (code, said["verdict"], said["moved"]) == (0, "movable", False)
    assert said["asks"] == {
        "airnode": ANU.airnode,
        "provider": "ANU",
        "endpointIdUint256": "0x" + ANU.uint256.hex(),
        "endpointIdUint256Array": "0x" + ANU.uint256_array.hex(),
        "sponsorWallet": OLD_WALLET,
    }
    assert said["airnodeRrp"] == bench.protocol.contract
    assert said["requests"] == 2
    assert said["newestRequest"]["kind"] == "full"
    assert sorted(name for names in said["storage"].values() for name in names) == [
        "airnode",
        "endpointIdUint256",
        "endpointIdUint256Array",
        "sponsorWallet",
    ]
    assert said["sponsorWallet"] == bench.wallet_of(consumer).address
    # What the old wallet holds is lost, and told.
    assert any(OLD_WALLET in reason for reason in said["reasons"])
    for step in said["transactions"]:
        sent = await transact.send_transaction(
            bench.reader,
            Devnet.player(),
            to=step["to"],
            data=bytes.fromhex(step["data"][2:]),
            value=step["valueWei"],
        )
        await transact.wait_for(bench.reader, sent)
    [request] = bench.events(await bench.send(consumer, "makeRequestUint256()"))
    assert isinstance(request, AirnodeRequest)
    assert request.sponsor_wallet == said["sponsorWallet"]
    assert request.endpoint_id == ANU.uint256  # it stays: whoever is named serves it
    code, said = await doctor.towards_us(consumer)
    assert (code, said["verdict"], said["moved"]) == (0, "movable", True)
    assert said["transactions"] == [] or [step["to"] for step in said["transactions"]] == [
        said["sponsorWallet"]
    ]


async def test_own_endpoint_ids_are_named(bench: AirnodeBench, doctor: Doctor) -> None:
    consumer = await stranded(bench, requests=0)
    _, said = await doctor.towards_us(
        consumer,
        *("--endpoint-id", "0x" + UINT256.hex(), "--array-endpoint-id", UINT256_ARRAY.hex()),
    )
    data = said["transactions"][0]["data"]
    assert UINT256.hex() in data
    assert UINT256_ARRAY.hex() in data


async def test_wallet_is_funded_for_the_answers(bench: AirnodeBench, doctor: Doctor) -> None:
    consumer = await stranded(bench)
    await bench.fund(bench.wallet_of(consumer).address, ETHER // 10**6)
    _, few = await doctor.towards_us(consumer, "--answers", "100")
    _, many = await doctor.towards_us(consumer, "--answers", "200")
    wei = [said["transactions"][-1]["valueWei"] for said in (few, many)]
    assert 0 < wei[0] < wei[1]
    assert few["sponsorWalletWei"] == ETHER // 10**6
    await bench.fund(bench.wallet_of(consumer).address, 10 * ETHER)
    _, enough = await doctor.towards_us(consumer)
    assert [step["to"] for step in enough["transactions"]] == [consumer]


async def test_text_says_the_same(bench: AirnodeBench, doctor: Doctor) -> None:
    consumer = await stranded(bench)
    code, said, complaint = await doctor.process(consumer)
    assert (code, complaint) == (0, "")
    assert "it can move" in said
    assert "--airnode-xpub" in said
    xpub = str(bench.keys.xpub)
    code, said, _ = await doctor.text(consumer, "--airnode-xpub", xpub)
    _, document = await doctor.towards_us(consumer)
    for step in document["transactions"]:
        for word in (step["to"], str(step["valueWei"]), step["data"]):
            assert word in said


async def test_hard_coded_consumer_cannot_move(bench: AirnodeBench, doctor: Doctor) -> None:
    consumer = await deploy(bench, "HardCodedQrng", ["address"], OLD_WALLET)
    for requests in range(2):  # its code says it before it has asked, too
        code, said = await doctor.towards_us(consumer)
        assert (code, said["verdict"]) == (1, "not_movable")
        assert said["requests"] == requests
        assert ANU.airnode in said["reasons"][0]
        assert said["transactions"] == []
        await bench.send(consumer, "ask()")
    assert said["asks"]["airnode"] is None or said["asks"]["airnode"] == ANU.airnode
    _, text, _ = await doctor.text(consumer)
    assert "it cannot move" in text


async def test_consumer_with_functions_of_its_own_is_unclear(
    bench: AirnodeBench, doctor: Doctor
) -> None:
    consumer = await deploy(bench, "OwnNamesQrng", [])
    await bench.send(consumer, "configure(address,bytes32)", STRANGER, UINT256)
    await bench.send(consumer, "setPayer(address)", OLD_WALLET)
    await bench.send(consumer, "ask()")
    code, said = await doctor.towards_us(consumer)
    assert (code, said["verdict"]) == (1, "unclear")
    # Found in a past request, and then in its storage.
    assert said["asks"]["airnode"] == STRANGER
    assert said["storage"] == {
        "0": ["airnode"],
        "1": ["endpointIdUint256"],
        "2": ["sponsorWallet"],
    }
    assert "storage" in said["reasons"][0]


async def test_template_in_the_code_cannot_move(bench: AirnodeBench, doctor: Doctor) -> None:
    template = Template(airnode=STRANGER, endpoint_id=UINT256, parameters=b"")
    await bench.send_data(
        Devnet.player(), bench.protocol.contract, encode_create_template(template)
    )
    kinds = ["bytes32", "address"]
    consumer = await deploy(bench, "TemplateQrng", kinds, template.id, OLD_WALLET)
    await bench.send(consumer, "ask()")
    code, said = await doctor(consumer)
    assert (code, said["verdict"]) == (1, "not_movable")
    assert template.id.hex() in said["reasons"][0]
    assert said["newestRequest"]["kind"] == "template"


async def test_owner_is_who_sends(bench: AirnodeBench, doctor: Doctor) -> None:
    consumer = await stranded(bench)
    _, said = await doctor.towards_us(consumer)
    assert said["owner"] == said["transactions"][0]["from"] == Devnet.player().address
    for xpub in ([], ["--airnode-xpub", str(bench.keys.xpub)]):
        code, said = await doctor(consumer, "--from", STRANGER, *xpub)
        assert (code, said["verdict"]) == (1, "unclear")
        assert any("--from" in reason for reason in said["reasons"])


async def test_consumer_without_an_owner_cannot_move(bench: AirnodeBench, doctor: Doctor) -> None:
    consumer = await stranded(bench)
    code = await bench.reader.code(consumer)
    renounced = code.replace(bytes.fromhex(Devnet.player().address[2:]), bytes(20))
    assert renounced != code
    await bench.reader.rpc("anvil_setCode", consumer, "0x" + renounced.hex())
    exit_code, said = await doctor.towards_us(consumer)
    assert (exit_code, said["verdict"]) == (1, "not_movable")
    assert "renounced" in said["reasons"][-1]


async def test_clone_is_read_through(bench: AirnodeBench, doctor: Doctor) -> None:
    original = await stranded(bench)
    creation = "3d602d80600a3d3981f3363d3d373d3d3d363d73%s5af43d82803e903d91602b57fd5bf3"
    code = bytes.fromhex(creation % original[2:].lower())
    clone, _ = await transact.deploy(
        bench.reader, Devnet.player(), Artifact("Clone", [], code, b""), b""
    )
    exit_code, said = await doctor.towards_us(clone)
    assert (exit_code, said["verdict"]) == (0, "movable")
    assert said["implementation"] == original
    # Its constructor never ran: nobody sponsors it.
    assert not said["sponsored"]
    assert any("setSponsorshipStatus" in reason for reason in said["reasons"])
    assert said["sponsorWallet"] == bench.wallet_of(clone).address


async def test_upgradeable_consumer_can_be_moved_by_whoever_upgrades_it(
    bench: AirnodeBench, doctor: Doctor
) -> None:
    hard_coded = await deploy(bench, "HardCodedQrng", ["address"], OLD_WALLET)
    proxy = compiled(PROXY)["ERC1967Proxy"]
    arguments = encode(["address", "bytes"], [hard_coded, call("airnodeRrp()")])
    address, _ = await transact.deploy(bench.reader, Devnet.player(), proxy, arguments)
    code, said = await doctor(address)
    assert (code, said["verdict"]) == (1, "unclear")
    assert "upgrade" in said["reasons"][0]


async def test_what_is_no_consumer_is_told(bench: AirnodeBench, doctor: Doctor) -> None:
    code, said, complaint = await doctor.text(STRANGER)
    assert (code, said) == (1, "")
    assert "no contract" in complaint
    code, _, complaint = await doctor.text(bench.protocol.contract)
    assert code == 1
    assert "--rrp" in complaint
    rrp = bench.protocol.contract
    authorizer = await deploy(bench, "OnlyRequester", [])
    code, _, complaint = await doctor.text(authorizer, "--rrp", await other_rrp(bench))
    assert code == 1
    assert "no consumer" in complaint
    assert rrp in (await doctor(bench.consumer, "--rrp", rrp))[1]["airnodeRrp"]


async def other_rrp(bench: AirnodeBench) -> str:
    fresh = await AirnodeBench.deploy(bench.reader)
    return fresh.protocol.contract


@pytest.mark.parametrize(
    "words",
    [
        ("0x12",),
        (STRANGER, "--airnode", STRANGER),
        (STRANGER, "--airnode-xpub", "xpub"),
        (STRANGER, "--rrp", "nowhere"),
    ],
)
async def test_mistaken_words_are_usage_errors(doctor: Doctor, words: tuple[str, ...]) -> None:
    code, said, complaint = await doctor.text(*words)
    assert (code, said) == (2, "")
    assert complaint


async def test_requests_of_others_are_not_taken_for_its_own(
    bench: AirnodeBench, doctor: Doctor
) -> None:
    consumer = await stranded(bench)
    await stranded(bench)  # asks the same Airnode, after it
    _, said = await doctor(consumer)
    theirs = AirnodeProtocol(bench.protocol.contract, ANU.airnode, bench.protocol.chain_id)
    block = said["newestRequest"]["blockNumber"]
    [log] = await bench.reader.logs(theirs.contract, block, block, topics=theirs.topics)
    found = theirs.decode(log)
    assert isinstance(found, AirnodeRequest)
    assert found.requester == consumer
