"""
Requests to an Airnode and their logs, as ethers encodes them beside us.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from oracle.airnode_request import AirnodeRequest, Kind, Place, request_id
from oracle.evm import Log
from oracle.protocols import airnode_rrp_v0 as rrp
from oracle.request import RequestKey
from tests.factories import CHAIN_ID, addresses, words32
from tests.javascript import AirnodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator

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
