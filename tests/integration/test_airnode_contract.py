"""
Our translation and our keys against the genuine AirnodeRrpV0, and a consumer that inherits the
genuine RrpRequesterV0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from eth_abi.abi import decode, encode

from oracle.airnode_request import (
    AirnodeRequest,
    Failed,
    Fulfilled,
    Kind,
    Template,
    WithdrawalFulfilled,
    WithdrawalRequested,
    check_template,
    digest,
    withdrawal_id,
)
from oracle.chain import transact
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.errors import AnsweredError
from oracle.evm import checksum_address, keccak
from oracle.protocols import airnode_calls as calls
from oracle.protocols.airnode_abi import decode_parameters, merge, read_wanted
from oracle.protocols.airnode_rrp_v0 import AirnodeProtocol
from tests.airnode import ETHER, UINT256, UINT256_ARRAY, AirnodeBench, call
from tests.factories import hash32
from tests.solidity import compiled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.devnet.network import Ground
    from oracle.evm import Receipt

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

WORDS = [int.from_bytes(hash32("word", number), "big") for number in range(510)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(ground: Ground) -> AsyncIterator[AirnodeBench]:
    snapshot = await ground.reader.rpc("evm_snapshot")
    yield await AirnodeBench.deploy(ground.reader)
    await ground.reader.rpc("evm_revert", snapshot)


async def fulfill(bench: AirnodeBench, request: AirnodeRequest, data: bytes) -> Receipt:
    """
    Fulfill as the node does: signed by the Airnode, sent by the derived sponsor wallet.
    """
    signature = bench.keys.sign(digest(request.key.request_id, data))
    return await bench.send_data(
        bench.wallet_of(request.sponsor),
        bench.protocol.contract,
        calls.encode_fulfill(request, data, signature),
    )


async def is_awaiting(bench: AirnodeBench, request: AirnodeRequest) -> bool:
    answer = await bench.reader.call(
        bench.protocol.contract, calls.encode_awaiting(request.key.request_id)
    )
    return calls.decode_bool(answer)


def received(receipt: Receipt, consumer: str, event: str) -> list[bytes]:
    topic = keccak(event.encode())
    return [log.data for log in receipt.logs if log.address == consumer and log.topics[0] == topic]


async def test_one_word_reaches_its_consumer(bench: AirnodeBench) -> None:
    request = await bench.ask("makeRequestUint256()")
    assert request.kind is Kind.FULL
    assert request.endpoint_id == UINT256
    assert request.sponsor == request.requester == request.fulfill_address == bench.consumer
    assert request.sponsor_wallet == bench.keys.xpub.sponsor_wallet(bench.consumer)
    assert request.parameters == b""
    assert await is_awaiting(bench, request)
    data = calls.encode_words(WORDS[:1], array=False)
    receipt = await fulfill(bench, request, data)
    [event] = bench.events(receipt)
    assert event == Fulfilled(request_id=request.key.request_id, data=data, place=event.place)
    assert received(receipt, bench.consumer, "ReceivedUint256(bytes32,uint256)") == [data]
    assert not await is_awaiting(bench, request)


async def test_array_of_airnodes_most_words_reaches_its_consumer(bench: AirnodeBench) -> None:
    request = await bench.ask("makeRequestUint256Array(uint256)", 510)
    assert request.endpoint_id == UINT256_ARRAY
    wanted = read_wanted(decode_parameters(request.parameters), array=True)
    assert wanted.words == 510
    receipt = await fulfill(bench, request, calls.encode_words(WORDS, array=True))
    assert isinstance(bench.events(receipt)[0], Fulfilled)
    [data] = received(receipt, bench.consumer, "ReceivedUint256Array(bytes32,uint256[])")
    assert list(decode(["uint256[]"], data)[0]) == WORDS


async def test_template_is_fetched_checked_and_merged(bench: AirnodeBench) -> None:
    depth = encode(["bytes32", "bytes32", "uint256"], [b"1u", b"_minConfirmations", 7])
    template = Template(airnode=bench.keys.address, endpoint_id=UINT256, parameters=depth)
    for _ in range(2):  # whoever comes second changes nothing
        await bench.send_data(
            Devnet.player(), bench.protocol.contract, calls.encode_create_template(template)
        )
    more = encode(["bytes32", "bytes32", "uint256"], [b"1u", b"other", 1])
    request = await bench.ask("makeTemplateRequest(bytes32,bytes)", template.id, more)
    assert request.kind is Kind.TEMPLATE
    ids = [template.id, bytes(32)]
    answer = await bench.reader.call(bench.protocol.contract, calls.encode_get_templates(ids))
    found = calls.decode_templates(ids, answer)
    assert found == {template.id: template}
    check_template(request, found[template.id])
    merged = merge(decode_parameters(template.parameters), decode_parameters(request.parameters))
    assert merged == {"_minConfirmations": "7", "other": "1"}
    receipt = await fulfill(bench, request, calls.encode_words(WORDS[:1], array=False))
    assert isinstance(bench.events(receipt)[0], Fulfilled)


async def test_second_fulfillment_and_altered_number_are_refused(bench: AirnodeBench) -> None:
    request = await bench.ask("makeRequestUint256()")
    data, other = (calls.encode_words([word], array=False) for word in WORDS[:2])
    signature = bench.keys.sign(digest(request.key.request_id, data))
    wallet = bench.wallet_of(request.sponsor)
    forged = calls.encode_fulfill(request, other, signature)
    with pytest.raises(AnsweredError, match="Invalid signature"):
        await bench.send_data(wallet, bench.protocol.contract, forged)
    genuine = calls.encode_fulfill(request, data, signature)
    with pytest.raises(AnsweredError, match="Invalid request fulfillment"):
        await bench.send_data(Devnet.player(), bench.protocol.contract, genuine)
    await bench.send_data(wallet, bench.protocol.contract, genuine)
    with pytest.raises(AnsweredError, match="Invalid request fulfillment"):
        await bench.send_data(wallet, bench.protocol.contract, genuine)


async def test_request_is_given_up_with_a_bounded_message(bench: AirnodeBench) -> None:
    request = await bench.ask("makeRequestUint256()")
    receipt = await bench.send_data(
        bench.wallet_of(request.sponsor),
        bench.protocol.contract,
        calls.encode_fail(request, "the parameters are bad, " * 10),
    )
    [event] = bench.events(receipt)
    assert isinstance(event, Failed)
    assert len(event.message) == 100
    assert not event.by_callback
    assert not await is_awaiting(bench, request)


async def test_callback_that_fails_is_told_by_the_contract(bench: AirnodeBench) -> None:
    # A word of 31 bytes: the consumer cannot decode it.
    request = await bench.ask("makeRequestUint256()")
    receipt = await fulfill(bench, request, bytes(31))
    [event] = bench.events(receipt)
    assert isinstance(event, Failed)
    assert event.by_callback


async def test_requesters_own_wallet_may_fail_with_bytes_that_are_no_text(
    bench: AirnodeBench,
) -> None:
    """
    A stranger can put this log into every node's way.
    """
    player = Devnet.player()
    sponsorship = calls.encode_set_sponsorship(player.address, sponsored=True)
    await bench.send_data(player, bench.protocol.contract, sponsorship)
    ask = call(
        "makeFullRequest(address,bytes32,address,address,address,bytes4,bytes)",
        *(bench.keys.address, UINT256, player.address, player.address, player.address),
        *(b"\1\2\3\4", b""),
    )
    [request] = bench.events(await bench.send_data(player, bench.protocol.contract, ask))
    assert isinstance(request, AirnodeRequest)
    text = calls.encode_fail(request, "xxxx")
    receipt = await bench.send_data(
        player, bench.protocol.contract, text.replace(b"xxxx", b"\xff\xfe\0\xff")
    )
    [event] = bench.events(receipt)
    assert isinstance(event, Failed)


async def test_withdrawal_returns_what_the_wallet_holds(bench: AirnodeBench) -> None:
    sponsor = Devnet.player()
    wallet = bench.wallet_of(sponsor.address)
    await bench.fund(wallet.address, ETHER // 10)
    count = await bench.reader.call(
        bench.protocol.contract, calls.encode_withdrawal_count(sponsor.address)
    )
    [asked] = bench.events(
        await bench.send_data(
            sponsor,
            bench.protocol.contract,
            calls.encode_request_withdrawal(bench.keys.address, wallet.address),
        )
    )
    assert isinstance(asked, WithdrawalRequested)
    assert asked.sponsor_wallet == wallet.address
    assert asked.withdrawal_id == withdrawal_id(
        CHAIN_ID, bench.protocol.contract, sponsor.address, int.from_bytes(count, "big") + 1
    )
    amount = ETHER // 20
    [paid] = bench.events(
        await bench.send_data(
            wallet,
            bench.protocol.contract,
            calls.encode_fulfill_withdrawal(
                bench.keys.address, asked.withdrawal_id, asked.sponsor
            ),
            amount,
        )
    )
    assert paid == WithdrawalFulfilled(
        withdrawal_id=asked.withdrawal_id,
        sponsor=sponsor.address,
        sponsor_wallet=wallet.address,
        amount=amount,
        place=paid.place,
    )


async def test_sponsorship_and_authorizations_are_read(bench: AirnodeBench) -> None:
    async def ask(data: bytes) -> bytes:
        return await bench.reader.call(bench.protocol.contract, data)

    own = calls.encode_sponsored(bench.consumer, bench.consumer)
    assert calls.decode_bool(await ask(own))
    foreign = calls.encode_sponsored(bench.keys.address, bench.consumer)
    assert not calls.decode_bool(await ask(foreign))
    request = await bench.ask("makeRequestUint256()")
    both = [(request, UINT256), (replace(request, requester=bench.keys.address), UINT256)]
    only = compiled("tests/contracts/support/QrngConsumers.sol")["OnlyRequester"]
    arguments = encode(["address"], [bench.consumer])
    authorizer, _ = await transact.deploy(bench.reader, Devnet.player(), only, arguments)
    for authorizers, expected in (([authorizer], [True, False]), ([], [False, False])):
        data = calls.encode_check_authorization_statuses(authorizers, bench.keys.address, both)
        assert calls.decode_authorization_statuses(2, await ask(data)) == expected


async def test_filter_returns_all_of_the_airnode_and_nothing_else(bench: AirnodeBench) -> None:
    request = await bench.ask("makeRequestUint256()")
    head = (await bench.reader.block()).number
    logs = await bench.reader.logs(bench.protocol.contract, 0, head, topics=bench.protocol.topics)
    events = [bench.protocol.decode(log) for log in logs]
    assert None not in events
    assert request in events
    nobody = checksum_address(hash32("nobody")[12:])
    other = AirnodeProtocol(bench.protocol.contract, nobody, CHAIN_ID)
    assert await bench.reader.logs(other.contract, 0, head, topics=other.topics) == []
    assert all(other.decode(log) is None for log in logs)


async def test_consumer_refuses_an_answer_that_nobody_asked_for(bench: AirnodeBench) -> None:
    with pytest.raises(AnsweredError, match="Caller not Airnode RRP"):
        await bench.send(bench.consumer, "fulfillUint256(bytes32,bytes)", bytes(32), bytes(32))


async def test_request_with_an_unpaid_wallet_waits(bench: AirnodeBench) -> None:
    consumer = await bench.deploy_consumer(bench.reader, bench.protocol.contract)
    await bench.point(consumer)
    [request] = bench.events(await bench.send(consumer, "makeRequestUint256()"))
    assert isinstance(request, AirnodeRequest)
    assert request.sponsor_wallet != bench.wallet_of(bench.consumer).address
    assert await transact.pending_nonce(bench.reader, request.sponsor_wallet) == 0
    await bench.fund(request.sponsor_wallet)
    receipt = await fulfill(bench, request, calls.encode_words(WORDS[:1], array=False))
    assert isinstance(bench.events(receipt)[0], Fulfilled)
