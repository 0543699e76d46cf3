from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

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
    request_id,
    withdrawal_id,
)
from oracle.errors import ForgedLogError, InconsistentChainError
from oracle.evm import Log
from oracle.protocols import airnode_rrp_v0 as rrp
from tests.airnode_logs import (
    AIRNODE,
    OTHER,
    PLACE,
    PROTOCOL,
    RRP,
    counts,
    example,
    kinds,
    log_of,
    made,
    of_kind,
    peer,
    peer_id,
    requests,
)
from tests.factories import CHAIN_ID, addresses, words32

if TYPE_CHECKING:
    from tests.javascript import AirnodePeer

pytestmark = pytest.mark.unit

__all__ = ["peer"]


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


def test_request_that_names_nothing_has_no_id() -> None:
    with pytest.raises(ValueError, match="endpoint or a template"):
        request_id(replace(example(), endpoint_id=None))
