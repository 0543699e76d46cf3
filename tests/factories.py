"""
Requests, logs, outcomes and seeds as tests need them: consistent unless a test says otherwise.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from eth_abi.abi import encode
from hypothesis import strategies as st

from oracle.evm import Log, checksum_address
from oracle.protocols.coordinator import REQUESTED, CoordinatorProtocol, pack_terms, request_id
from oracle.request import Outcome, RandomnessRequest, RequestKey
from oracle.store.seed_blocks import SeedBlock

if TYPE_CHECKING:
    from oracle.request import State, TrackedRequest

CHAIN_ID = 31337
COORDINATOR = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
REQUESTER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
WALLET = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"

PROTOCOL = CoordinatorProtocol(CHAIN_ID, COORDINATOR)


def hash32(*parts: object) -> bytes:
    """
    Return 32 bytes that look random and depend on the parts alone.
    """
    return hashlib.sha256(repr(parts).encode()).digest()


def with_id(request: RandomnessRequest) -> RandomnessRequest:
    """
    Return the request with the id that its contract would give it.
    """
    domain = CoordinatorProtocol(request.key.chain_id, request.key.contract).domain
    id_ = request_id(domain, request.requester, pack_terms(request), request.user_seed)
    return replace(request, key=replace(request.key, request_id=id_))


def make_request(
    index: int = 0,
    *,
    requester: str = REQUESTER,
    callback_gas_limit: int = 100_000,
    num_words: int = 1,
    confirmations: int = 1,
    fee: int = 10**15,
    user_seed: bytes = bytes(32),
    block_number: int = 100,
    block_hash: bytes | None = None,
    log_index: int = 0,
) -> RandomnessRequest:
    """
    Return a request whose id is the hash of its terms.
    """
    return with_id(
        RandomnessRequest(
            key=RequestKey(chain_id=CHAIN_ID, contract=COORDINATOR, request_id=bytes(32)),
            seed_index=index,
            requester=requester,
            callback_gas_limit=callback_gas_limit,
            num_words=num_words,
            confirmations=confirmations,
            fee=fee,
            user_seed=user_seed,
            block_number=block_number,
            block_hash=block_hash or hash32("block", block_number),
            transaction_hash=hash32("transaction", index, block_number),
            log_index=log_index,
        )
    )


def make_log(request: RandomnessRequest) -> Log:
    """
    Return the log that the coordinator emits for a request.
    """
    return Log(
        address=request.key.contract,
        topics=(
            REQUESTED,
            request.key.request_id,
            bytes(12) + bytes.fromhex(request.requester[2:]),
        ),
        data=encode(["uint256", "bytes32"], [pack_terms(request), request.user_seed]),
        block_number=request.block_number,
        block_hash=request.block_hash,
        transaction_hash=request.transaction_hash,
        index=request.log_index,
    )


def make_outcome(request: RandomnessRequest, *, block_number: int = 110) -> Outcome:
    """
    Return a fulfillment of the request.
    """
    return Outcome(
        request_id=request.key.request_id,
        callback_succeeded=True,
        transaction_hash=hash32("fulfillment", request.key.request_id, block_number),
        block_number=block_number,
        block_hash=hash32("block", block_number),
    )


def make_seed(number: int) -> bytes:
    """
    Return the seed of the block with a number.
    """
    return hash32("seed", number)


def make_block(number: int, *, seed: bytes | None = None) -> SeedBlock:
    """
    Return a block for the pool; a higher number came in later.
    """
    return SeedBlock(
        id=hash32("id", number)[:16],
        sources=("anu",),
        simulated=True,
        received_at=1_700_000_000_000 + number,
        seed=make_seed(number) if seed is None else seed,
    )


def state_of(tracked: TrackedRequest | None) -> State:
    """
    Return the state of a request that must be there.
    """
    assert tracked is not None
    return tracked.state


addresses = st.binary(min_size=20, max_size=20).map(checksum_address)
words32 = st.binary(min_size=32, max_size=32)

#: Requests with every field anywhere in the range that the contract's types give it.
any_request = st.builds(
    make_request,
    st.integers(0, 2**63 - 1),
    requester=addresses,
    callback_gas_limit=st.integers(0, 2**32 - 1),
    num_words=st.integers(0, 2**16 - 1),
    confirmations=st.integers(0, 2**8 - 1),
    fee=st.integers(0, 2**96 - 1),
    user_seed=words32,
    block_number=st.integers(0, 2**40 - 1),
    block_hash=words32,
    log_index=st.integers(0, 1000),
)
