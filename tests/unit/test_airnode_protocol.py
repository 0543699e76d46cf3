from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from oracle.airnode_request import (
    AirnodeRequest,
    Failed,
    Fulfilled,
    Kind,
    Place,
    Template,
    WithdrawalFulfilled,
    WithdrawalRequested,
    check_template,
    digest,
    request_id,
    withdrawal_id,
)
from oracle.errors import ForgedLogError, InconsistentChainError
from oracle.evm import Log
from oracle.protocols import airnode_calls as calls
from oracle.protocols import airnode_rrp_v0 as rrp
from oracle.request import RequestKey
from tests.factories import CHAIN_ID, addresses, words32
from tests.javascript import AirnodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit

RRP = "0xa0AD79D995DdeeB18a14eAef56A549A04e3Aa1Bd"
AIRNODE = "0x9d3C147cA16DB954873A498e0af5852AB39139f2"
OTHER = "0x224e030f03Cd3440D88BD78C9BF5Ed36458A1A25"
PROTOCOL = rrp.AirnodeProtocol(RRP, AIRNODE, CHAIN_ID)
PLACE = Place(block_number=7, block_hash=b"b" * 32, transaction_hash=b"t" * 32, log_index=3)
TYPES = [
    *("uint256", "address", "address", "uint256"),
    *("address", "address", "address", "bytes4", "bytes"),
]

counts = st.integers(0, 2**63 - 1)
requests = st.builds(
    AirnodeRequest,
    key=st.just(RequestKey(chain_id=CHAIN_ID, contract=RRP, request_id=bytes(32))),
    airnode=st.just(AIRNODE),
    requester=addresses,
    requester_count=counts,
    endpoint_id=words32,
    template_id=st.none(),
    sponsor=addresses,
    sponsor_wallet=addresses,
    fulfill_address=addresses,
    fulfill_function_id=st.binary(min_size=4, max_size=4),
    parameters=st.binary(max_size=200),
    place=st.just(PLACE),
)
kinds = st.sampled_from(Kind)


@pytest.fixture(scope="module")
def peer() -> Iterator[AirnodePeer]:
    with AirnodePeer() as running:
        yield running


def of_kind(request: AirnodeRequest, kind: Kind) -> AirnodeRequest:
    if kind is Kind.FULL:
        return request
    return replace(request, endpoint_id=None, template_id=request.endpoint_id)


def named_by(request: AirnodeRequest) -> bytes:
    return request.template_id or request.endpoint_id or b""


def tail(request: AirnodeRequest) -> list[Any]:
    return [
        request.sponsor,
        request.sponsor_wallet,
        request.fulfill_address,
        request.fulfill_function_id,
        request.parameters,
    ]


def peer_id(peer: AirnodePeer, request: AirnodeRequest) -> bytes:
    airnode = [("address", request.airnode)] if request.kind is Kind.FULL else []
    named = [*airnode, ("bytes32", named_by(request))]
    types = [*TYPES[:4], *(kind for kind, _ in named), *TYPES[4:]]
    values = [
        CHAIN_ID,
        RRP,
        request.requester,
        str(request.requester_count),
        *(value for _, value in named),
        *tail(request),
    ]
    return peer.bytes("hash", types=types, values=values)


def made(peer: AirnodePeer, request: AirnodeRequest, **changes: Any) -> Log:
    """
    Return the log of a request as the genuine contract's ABI encodes it; `changes` forge it.
    """
    event = {
        "airnode": request.airnode,
        "id": peer_id(peer, request),
        "count": str(request.requester_count),
        "chain": CHAIN_ID,
        "requester": request.requester,
        "named": named_by(request),
    }
    values = [*(event | changes).values(), *tail(request)]
    name = "MadeFullRequest" if request.kind is Kind.FULL else "MadeTemplateRequest"
    return log_of(peer, name, values)


def log_of(peer: AirnodePeer, name: str, values: list[Any]) -> Log:
    encoded = peer.ask("event", name=name, values=values)
    return Log(
        address=RRP,
        topics=tuple(bytes.fromhex(topic[2:]) for topic in encoded["topics"]),
        data=bytes.fromhex(encoded["data"][2:]),
        block_number=PLACE.block_number,
        block_hash=PLACE.block_hash,
        transaction_hash=PLACE.transaction_hash,
        index=PLACE.log_index,
    )


def example(kind: Kind = Kind.FULL) -> AirnodeRequest:
    """
    Return a request with the id that the contract gives it.
    """
    request = AirnodeRequest(
        key=RequestKey(chain_id=CHAIN_ID, contract=RRP, request_id=bytes(32)),
        airnode=AIRNODE,
        requester="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        requester_count=1,
        endpoint_id=b"e" * 32,
        sponsor="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        sponsor_wallet="0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        fulfill_address="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        fulfill_function_id=bytes.fromhex("3718d90a"),
        parameters=b"",
        place=PLACE,
    )
    request = of_kind(request, kind)
    return replace(request, key=replace(request.key, request_id=request_id(request)))


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (rrp.MADE_FULL, "3a52c462346de2e9436a3868970892956828a11b9c43da1ed43740b12e1125ae"),
        (rrp.MADE_TEMPLATE, "eb39930cdcbb560e6422558a2468b93a215af60063622e63cbb165eba14c3203"),
        (rrp.FULFILLED, "c0977dab79883641ece94bb6a932ca83049f561ffff8d8daaeafdbc1acce9e0a"),
        (rrp.FAILED, "c7143b2270cddda57e0087ca5e2a4325657dcab10d10f6b1f9d5ce6b41cb97fc"),
        (
            rrp.WITHDRAWAL_REQUESTED,
            "d48d52c7c6d0c940f3f8d07591e1800ef3a70daf79929a97ccd80b4494769fc7",
        ),
        (
            rrp.WITHDRAWAL_FULFILLED,
            "adb4840bbd5f924665ae7e0e0c83de5c0fb40a98c9b57dba53a6c978127a622e",
        ),
    ],
)
def test_topic_is_the_deployed_contracts(topic: bytes, expected: str) -> None:
    assert topic.hex() == expected


@given(request=requests, kind=kinds)
def test_request_is_read_from_a_log_and_its_id_is_ethers_id(
    peer: AirnodePeer, request: AirnodeRequest, kind: Kind
) -> None:
    request = of_kind(request, kind)
    id_ = peer_id(peer, request)
    assert request_id(request) == id_
    expected = replace(request, key=replace(request.key, request_id=id_))
    assert PROTOCOL.decode(made(peer, request)) == expected


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    "forgery",
    [
        {"id": b"x" * 32},
        {"count": 2},
        {"chain": CHAIN_ID + 1},
        {"requester": OTHER},
        {"named": b"f" * 32},
    ],
)
def test_log_that_contradicts_itself_is_refused(
    peer: AirnodePeer, kind: Kind, forgery: dict[str, Any]
) -> None:
    with pytest.raises(ForgedLogError):
        PROTOCOL.decode(made(peer, example(kind), **forgery))


def test_request_of_another_chain_is_refused_although_its_id_is_right(peer: AirnodePeer) -> None:
    # The id of a request that was made on chain 1, shown on ours.
    elsewhere = replace(example(), key=replace(example().key, chain_id=1))
    forged = made(peer, example(), id=request_id(elsewhere), chain=1)
    with pytest.raises(ForgedLogError):
        PROTOCOL.decode(forged)
    there = rrp.AirnodeProtocol(RRP, AIRNODE, 1).decode(forged)
    assert isinstance(there, AirnodeRequest)


def test_logs_of_others_are_nothing(peer: AirnodePeer) -> None:
    log = made(peer, example())
    assert PROTOCOL.decode(log) is not None
    assert PROTOCOL.decode(replace(log, address=OTHER)) is None
    assert PROTOCOL.decode(made(peer, replace(example(), airnode=OTHER))) is None
    assert PROTOCOL.decode(replace(log, topics=())) is None
    sponsorship = log_of(peer, "SetSponsorshipStatus", [AIRNODE, OTHER, True])
    assert PROTOCOL.decode(sponsorship) is None


@given(cut=st.integers(0, 300))
def test_malformed_log_is_an_endpoints_fault(peer: AirnodePeer, cut: int) -> None:
    log = made(peer, example())
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode(replace(log, data=log.data[:cut]))
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode(replace(log, topics=log.topics[:2]))
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode(replace(log, topics=(log.topics[0], b"short", log.topics[2])))


@given(garbage=st.binary(max_size=400), topic=st.sampled_from(sorted(rrp._EVENTS)))
def test_no_garbage_escapes_as_another_error(garbage: bytes, topic: bytes) -> None:
    log = Log(
        address=RRP,
        topics=(topic, bytes(12) + bytes.fromhex(AIRNODE[2:]), bytes(32), bytes(32)),
        data=garbage,
        block_number=1,
        block_hash=bytes(32),
        transaction_hash=bytes(32),
        index=0,
    )
    with suppress(InconsistentChainError):
        PROTOCOL.decode(log)


@given(id_=words32, data=st.binary(max_size=300))
def test_fulfillment_is_read(peer: AirnodePeer, id_: bytes, data: bytes) -> None:
    log = log_of(peer, "FulfilledRequest", [AIRNODE, id_, data])
    assert PROTOCOL.decode(log) == Fulfilled(request_id=id_, data=data, place=PLACE)


@given(id_=words32, message=st.text(max_size=120))
def test_failure_is_read(peer: AirnodePeer, id_: bytes, message: str) -> None:
    message = message.encode("utf-8", "replace").decode()
    log = log_of(peer, "FailedRequest", [AIRNODE, id_, message])
    expected = Failed(request_id=id_, message=message, place=PLACE)
    assert PROTOCOL.decode(log) == expected


def test_failure_whose_message_is_no_text_is_read_all_the_same() -> None:
    """
    Whoever a request names as its sponsor wallet may call `fail` with any bytes: that must stop no
    node.
    """
    log = Log(
        address=RRP,
        topics=(rrp.FAILED, PROTOCOL.topics[1] or b"", b"i" * 32),
        data=encode(["bytes"], [b"\xff\xfe broken"]),
        block_number=1,
        block_hash=bytes(32),
        transaction_hash=bytes(32),
        index=0,
    )
    event = PROTOCOL.decode(log)
    assert isinstance(event, Failed)
    assert event.message.endswith(" broken")
    assert not event.by_callback


def test_failed_callback_is_told_from_a_wallets_own_word(peer: AirnodePeer) -> None:
    log = log_of(peer, "FailedRequest", [AIRNODE, b"i" * 32, "Fulfillment failed unexpectedly"])
    event = PROTOCOL.decode(log)
    assert isinstance(event, Failed)
    assert event.by_callback


@given(id_=words32, sponsor=addresses, wallet=addresses, amount=st.integers(0, 2**256 - 1))
def test_withdrawals_are_read(
    peer: AirnodePeer, id_: bytes, sponsor: str, wallet: str, amount: int
) -> None:
    asked = log_of(peer, "RequestedWithdrawal", [AIRNODE, sponsor, id_, wallet])
    assert PROTOCOL.decode(asked) == WithdrawalRequested(
        withdrawal_id=id_, sponsor=sponsor, sponsor_wallet=wallet, place=PLACE
    )
    paid = log_of(peer, "FulfilledWithdrawal", [AIRNODE, sponsor, id_, wallet, str(amount)])
    assert PROTOCOL.decode(paid) == WithdrawalFulfilled(
        withdrawal_id=id_, sponsor=sponsor, sponsor_wallet=wallet, amount=amount, place=PLACE
    )


@given(sponsor=addresses, count=counts)
def test_withdrawal_id_is_ethers(peer: AirnodePeer, sponsor: str, count: int) -> None:
    types = ["uint256", "address", "address", "uint256"]
    expected = peer.bytes("hash", types=types, values=[CHAIN_ID, RRP, sponsor, str(count)])
    assert withdrawal_id(CHAIN_ID, RRP, sponsor, count) == expected


@given(airnode=addresses, endpoint=words32, parameters=st.binary(max_size=200))
def test_template_id_is_ethers(
    peer: AirnodePeer, airnode: str, endpoint: bytes, parameters: bytes
) -> None:
    template = Template(airnode=airnode, endpoint_id=endpoint, parameters=parameters)
    types = ["address", "bytes32", "bytes"]
    expected = peer.bytes("hash", types=types, values=[airnode, endpoint, parameters])
    assert template.id == expected


@given(id_=words32, data=st.binary(max_size=200))
def test_digest_is_ethers(peer: AirnodePeer, id_: bytes, data: bytes) -> None:
    expected = peer.bytes("hash", types=["bytes32", "bytes"], values=[id_, data])
    assert digest(id_, data) == expected


def test_template_of_a_request_is_checked() -> None:
    template = Template(airnode=AIRNODE, endpoint_id=b"e" * 32, parameters=b"p")
    request = replace(example(Kind.TEMPLATE), template_id=template.id)
    check_template(request, template)
    with pytest.raises(ForgedLogError):
        check_template(request, replace(template, parameters=b"q"))
    foreign = replace(template, airnode=OTHER)
    with pytest.raises(ForgedLogError):
        check_template(replace(request, template_id=foreign.id), foreign)


def test_filter_names_the_airnode() -> None:
    assert PROTOCOL.topics == (None, bytes(12) + bytes.fromhex(AIRNODE[2:]))


@given(
    request=requests, data=st.binary(max_size=100), signature=st.binary(min_size=65, max_size=65)
)
def test_fulfill_is_the_contracts_call(
    peer: AirnodePeer, request: AirnodeRequest, data: bytes, signature: bytes
) -> None:
    head = [
        request.key.request_id,
        AIRNODE,
        request.fulfill_address,
        request.fulfill_function_id,
    ]
    expected = peer.bytes("call", name="fulfill", values=[*head, data, signature])
    assert calls.encode_fulfill(request, data, signature) == expected
    types = ["bytes32", "bytes"]
    body = peer.bytes("abi", types=types, values=[request.key.request_id, data])
    assert calls.encode_callback(request, data) == request.fulfill_function_id + body


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("too late", "too late"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 97 + "..."),
        ("\N{BUG}" * 200, "\N{BUG}" * 97 + "..."),
    ],
)
def test_fail_is_the_contracts_call_with_a_bounded_message(
    peer: AirnodePeer, message: str, sent: str
) -> None:
    request = example()
    values = [
        request.key.request_id,
        AIRNODE,
        request.fulfill_address,
        request.fulfill_function_id,
        sent,
    ]
    assert calls.encode_fail(request, message) == peer.bytes("call", name="fail", values=values)


def test_other_calls_are_the_contracts(peer: AirnodePeer) -> None:
    request = example()
    withdrawal = WithdrawalRequested(
        withdrawal_id=b"w" * 32, sponsor=OTHER, sponsor_wallet=request.sponsor_wallet, place=PLACE
    )
    template = Template(airnode=AIRNODE, endpoint_id=b"e" * 32, parameters=b"parameters")
    pair = [(request, b"e" * 32), (replace(request, requester=OTHER), b"f" * 32)]
    expected: list[tuple[bytes, str, list[Any]]] = [
        (
            calls.encode_fulfill_withdrawal(AIRNODE, withdrawal.withdrawal_id, withdrawal.sponsor),
            "fulfillWithdrawal",
            [b"w" * 32, AIRNODE, OTHER],
        ),
        (
            calls.encode_request_withdrawal(AIRNODE, request.sponsor_wallet),
            "requestWithdrawal",
            [AIRNODE, request.sponsor_wallet],
        ),
        (
            calls.encode_withdrawal_count(OTHER),
            "sponsorToWithdrawalRequestCount",
            [OTHER],
        ),
        (calls.encode_awaiting(b"i" * 32), "requestIsAwaitingFulfillment", [b"i" * 32]),
        (
            calls.encode_sponsored(OTHER, AIRNODE),
            "sponsorToRequesterToSponsorshipStatus",
            [OTHER, AIRNODE],
        ),
        (
            calls.encode_set_sponsorship(OTHER, sponsored=True),
            "setSponsorshipStatus",
            [OTHER, True],
        ),
        (
            calls.encode_create_template(template),
            "createTemplate",
            [AIRNODE, b"e" * 32, b"parameters"],
        ),
        (calls.encode_get_templates([b"1" * 32]), "getTemplates", [[b"1" * 32]]),
        (
            calls.encode_check_authorization_statuses([OTHER], AIRNODE, pair),
            "checkAuthorizationStatuses",
            [
                [OTHER],
                AIRNODE,
                [request.key.request_id] * 2,
                [b"e" * 32, b"f" * 32],
                [request.sponsor] * 2,
                [request.requester, OTHER],
            ],
        ),
    ]
    for ours, name, values in expected:
        assert ours == peer.bytes("call", name=name, values=values), name


def test_templates_are_read_and_checked(peer: AirnodePeer) -> None:
    known = Template(airnode=AIRNODE, endpoint_id=b"e" * 32, parameters=b"parameters")
    nobody, none = "0x" + "00" * 20, bytes(32)
    columns = [[known.airnode, nobody], [known.endpoint_id, none], [known.parameters, b""]]
    answer = peer.bytes("result", name="getTemplates", values=columns)
    ids = [known.id, b"unknown".ljust(32)]
    assert calls.decode_templates(ids, answer) == {known.id: known}
    with pytest.raises(InconsistentChainError, match="lies"):
        calls.decode_templates([b"x" * 32, ids[1]], answer)
    for broken in (answer[:-1], answer[:40], b""):
        with pytest.raises(InconsistentChainError, match="garbled"):
            calls.decode_templates(ids, broken)
    with pytest.raises(InconsistentChainError, match="garbled"):
        calls.decode_templates(ids[:1], answer)


def test_authorizations_are_read_and_counted(peer: AirnodePeer) -> None:
    statuses = [True, False, True]
    answer = peer.bytes("result", name="checkAuthorizationStatuses", values=[statuses])
    assert calls.decode_authorization_statuses(3, answer) == statuses
    for count, broken in ((2, answer), (3, answer[:-1]), (0, b"")):
        with pytest.raises(InconsistentChainError):
            calls.decode_authorization_statuses(count, broken)
    assert calls.decode_bool(bytes(31) + b"\x01")
    assert not calls.decode_bool(bytes(32))
    with pytest.raises(InconsistentChainError):
        calls.decode_bool(b"")


@given(words=st.lists(st.integers(0, 2**256 - 1), max_size=20))
def test_response_is_what_ethers_encodes(peer: AirnodePeer, words: list[int]) -> None:
    values = [[str(word) for word in words]]
    assert calls.encode_words(words, array=True) == peer.bytes(
        "abi", types=["uint256[]"], values=values
    )
    for word in words[:1]:
        assert calls.encode_words([word], array=False) == word.to_bytes(32, "big")


def test_response_is_no_longer_than_airnodes() -> None:
    assert calls.MAX_WORDS == 510
    assert len(calls.encode_words([0] * 510, array=True)) == 16_384
    with pytest.raises(ValueError, match="510"):
        calls.encode_words([0] * 511, array=True)
    with pytest.raises(ValueError, match="too many values"):
        calls.encode_words([0, 0], array=False)


def test_signature_of_another_length_is_not_sent() -> None:
    with pytest.raises(ValueError, match="65"):
        calls.encode_fulfill(example(), b"", b"s" * 64)


def test_request_that_names_nothing_has_no_id() -> None:
    with pytest.raises(ValueError, match="endpoint or a template"):
        request_id(replace(example(), endpoint_id=None))


def test_selectors_are_the_published_ones() -> None:
    request = example()
    assert calls.encode_fulfill(request, b"", bytes(65))[:4].hex() == "1decbf18"
    assert calls.encode_fail(request, "")[:4].hex() == "52e41f99"
    assert keccak(b"fulfillUint256(bytes32,bytes)")[:4] == request.fulfill_function_id
