"""
Whoever watches the broadcasts sees a second number, and a second transaction that can land.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eth_abi.abi import encode

from oracle.chain.fees import Fees
from oracle.chain.wallets import UnsignedTransaction, from_private_key
from oracle.devnet.network import CHAIN_ID, OPERATOR_KEY
from oracle.evm import keccak
from oracle.protocols.coordinator import CoordinatorProtocol, Reveal
from oracle.request import RandomnessRequest, RequestKey
from tests.chaos.witness import Place, Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.chaos

COORDINATOR = "0x" + 40 * "1"
PROTOCOL = CoordinatorProtocol(CHAIN_ID, COORDINATOR)
OPERATOR = from_private_key(OPERATOR_KEY)
ANSWER = keccak(b"fulfill(bytes32,address,address,bytes4,bytes,bytes)")[:4]


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def signed(data: bytes, nonce: int, max_fee: int = 10) -> bytes:
    raw, _ = OPERATOR.sign(
        UnsignedTransaction(
            chain_id=CHAIN_ID,
            nonce=nonce,
            to=COORDINATOR,
            data=data,
            gas_limit=21_000,
            fees=Fees(max_fee, 1),
        )
    )
    return raw


def reveal(index: int, seed: bytes) -> bytes:
    request = RandomnessRequest(
        key=RequestKey(chain_id=CHAIN_ID, contract=COORDINATOR, request_id=bytes(32)),
        seed_index=index,
        callback_gas_limit=1,
        num_words=1,
        confirmations=1,
        fee=1,
        requester=COORDINATOR,
        user_seed=bytes(32),
        block_number=index,
        block_hash=bytes(32),
        transaction_hash=bytes(32),
        log_index=0,
    )
    return PROTOCOL.encode_fulfill([Reveal(request=request, seed=seed)], [])


def answer(id_: bytes, data: bytes) -> bytes:
    fields = ["bytes32", "address", "address", "bytes4", "bytes", "bytes"]
    return ANSWER + encode(fields, [id_, COORDINATOR, COORDINATOR, bytes(4), data, bytes(65)])


def watcher(still_open: Callable[[Place], Awaitable[bool]]) -> Watcher:
    return Watcher(PROTOCOL.domain, still_open)


async def yes(_: Place) -> bool:
    return True


async def no(_: Place) -> bool:
    return False


async def test_a_second_seed_of_an_index_and_a_second_number_of_a_request_are_seen() -> None:
    seen = watcher(no)
    for data in (
        reveal(4, word(1)),
        reveal(4, word(2)),
        reveal(5, word(3)),
        answer(word(7), word(8)),
        answer(word(7), word(9)),
    ):
        await seen.saw("node-0", signed(data, 0))
    assert seen.seeds == {4: {word(1), word(2)}, 5: {word(3)}}
    assert seen.numbers == {word(7): {word(8), word(9)}}


async def test_bytes_at_another_nonce_are_a_duplicate_only_while_the_first_can_land() -> None:
    data = reveal(4, word(1))
    for still_open, found in ((yes, 1), (no, 0)):
        seen = watcher(still_open)
        await seen.saw("node-0", signed(data, 0))
        await seen.saw("node-0", signed(data, 1))
        assert len(seen.twice) == found
    assert seen.broadcasts == 2


async def test_the_same_bytes_again_and_a_replacement_are_no_duplicates() -> None:
    seen = watcher(yes)
    for max_fee in (10, 10, 20):
        await seen.saw("node-0", signed(answer(word(7), word(8)), 0, max_fee))
    assert seen.twice == []
    assert len(seen.raw) == 2


async def test_what_serves_no_request_shows_nothing() -> None:
    seen = watcher(yes)
    await seen.saw("node-0", signed(b"", 0))
    await seen.saw("node-0", signed(ANSWER + b"no words", 1))
    assert (seen.seeds, seen.numbers, seen.twice) == ({}, {}, [])
