"""
What is called on AirnodeRrpV0, and what it answers: each as the contract's own ABI has it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from oracle.airnode_request import AirnodeRequest, Template, WithdrawalRequested
from oracle.errors import InconsistentChainError
from oracle.protocols import airnode_calls as calls
from tests.airnode_logs import AIRNODE, OTHER, PLACE, example, peer, requests

if TYPE_CHECKING:
    from tests.javascript import AirnodePeer

pytestmark = pytest.mark.unit

__all__ = ["peer"]


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


def test_selectors_are_the_published_ones() -> None:
    request = example()
    assert calls.encode_fulfill(request, b"", bytes(65))[:4].hex() == "1decbf18"
    assert calls.encode_fail(request, "")[:4].hex() == "52e41f99"
    assert keccak(b"fulfillUint256(bytes32,bytes)")[:4] == request.fulfill_function_id
