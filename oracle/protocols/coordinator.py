"""
The native coordinator: its events, its calls, and the value of a request. Pure; no network, no
keys.

The contract's own words are in `contracts/interfaces/IQuantumCoordinator.sol`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.errors import InconsistentChainError
from oracle.evm import Log, checksum_address, keccak
from oracle.protocols.coordinator_events import Cancelled, Committed, Discarded, Event
from oracle.recent import DECODED, Recent
from oracle.request import Outcome, RandomnessRequest, RequestKey

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 256
MAX_WORDS = 500
# The node makes no first reveal in the last blocks of a window.
WINDOW_MARGIN = 16

_REQUEST = "(address,uint256,bytes32)"
_FULFILLMENT = f"({_REQUEST},bytes32)"

REQUESTED = keccak(b"RandomnessRequested(bytes32,address,uint256,bytes32)")
FULFILLED = keccak(b"RandomnessFulfilled(bytes32,bytes32,bool)")
CANCELLED = keccak(b"RequestCancelled(bytes32,uint256,address,uint256)")
COMMITTED = keccak(b"RootsCommitted(uint256,bytes32[])")
DISCARDED = keccak(b"SeedsDiscarded(uint256,uint256)")

# Upper bounds of gas, calldata included, as tests/contracts/Gas.t.sol proves them for any run.
GAS_PER_TRANSACTION = 37_000
GAS_PER_ITEM = 19_300
GAS_PER_FAILURE = 24_000
GAS_PER_WORD = 135
GAS_PER_PROOF_ELEMENT = 700
GAS_PER_GAP = 800
# Levels of a batch's tree: the elements in the proof of one request.
_DEPTH = 8
# A fulfillment's selector, the frame of its two arrays, signature, nonce and fees.
_BYTES_AROUND = 132 + 110
# The bytes of a transaction that commits one root.
COMMIT_SIZE = 132 + 110
_GAS_PER_COMMIT = 60_000
_GAS_PER_ROOT = 26_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """
    A request and the 32-byte seed that fulfills it.
    """

    request: RandomnessRequest
    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Counters:
    """
    The next index that a request takes, and the first that is not committed.
    """

    next: int
    committed: int


def batch_start(index: int) -> int:
    """
    Return the first index of the batch that an index is in.
    """
    return index // BATCH * BATCH


def pack_terms(request: RandomnessRequest) -> int:
    """
    Return the terms in one word, as `contracts/types/Terms.sol` lays them out.
    """
    return (
        request.seed_index
        | request.callback_gas_limit << 64
        | request.num_words << 96
        | request.confirmations << 112
        | request.block_number << 120
        | request.fee << 160
    )


def request_id(domain: bytes, requester: str, terms: int, user_seed: bytes) -> bytes:
    """
    Return the id that the contract gives to a request.
    """
    return keccak(
        domain + bytes(12) + bytes.fromhex(requester[2:]) + terms.to_bytes(32, "big") + user_seed
    )


def words(seed: bytes, id_: bytes, block_hash: bytes, count: int) -> list[int]:
    """
    Return the random words of a request: what its callback gets.
    """
    output = keccak(seed + id_ + block_hash)
    return [int.from_bytes(keccak(output + i.to_bytes(32, "big")), "big") for i in range(count)]


class CoordinatorProtocol:
    """
    Translation for one coordinator on one chain.

    Guarantees: a request is returned only if its id is the hash of what its log says.
    """

    def __init__(self, chain_id: int, contract: str) -> None:
        self.chain_id = chain_id
        self.contract = contract
        self.domain = keccak(encode(["uint256", "address"], [chain_id, contract]))
        self._decoded: Recent[Log, Event] = Recent(DECODED)

    def decode(self, log: Log) -> Event | None:
        """
        Return what a log of the contract says; nothing for events that concern no request, no
        root and no seed.

        Raises `InconsistentChainError` when it is malformed, or when the id in a request's log is
        not the hash of its terms.
        """
        # Every pass reads those of the last blocks again.
        known = self._decoded.get(log)
        if known is not None:
            return known
        try:
            event = self._decode(log)
        except (DecodingError, IndexError, ValueError):
            raise InconsistentChainError(
                f"a log of block {log.block_number} is malformed: the endpoint garbles it, or the "
                "contract is another one"
            ) from None
        if event is not None:
            self._decoded.put(log, event)
        return event

    def _decode(self, log: Log) -> Event | None:
        if any(len(topic) != 32 for topic in log.topics):  # noqa: PLR2004 - a word
            raise ValueError("a topic is no word")
        topic = log.topics[0] if log.topics else b""
        if topic == REQUESTED:
            return self._decode_request(log)
        if topic == FULFILLED:
            _, success = decode(["bytes32", "bool"], log.data)
            return Outcome(
                request_id=log.topics[1],
                callback_succeeded=success,
                transaction_hash=log.transaction_hash,
                block_number=log.block_number,
                block_hash=log.block_hash,
            )
        if topic == CANCELLED:
            index, _, _ = decode(["uint256", "address", "uint256"], log.data)
            return Cancelled(log.topics[1], index)
        if topic == COMMITTED:
            (roots,) = decode(["bytes32[]"], log.data)
            return Committed(_index(int.from_bytes(log.topics[1], "big")), tuple(roots))
        if topic == DISCARDED:
            first, up_to = map(_index, decode(["uint256", "uint256"], log.data))
            if first >= up_to:
                raise ValueError("no index is discarded")
            return Discarded(
                first_index=first,
                up_to=up_to,
                block_number=log.block_number,
                block_hash=log.block_hash,
            )
        return None

    def _decode_request(self, log: Log) -> RandomnessRequest:
        terms, user_seed = decode(["uint256", "bytes32"], log.data)
        requester = checksum_address(log.topics[2][12:])
        request = RandomnessRequest(
            key=RequestKey(
                chain_id=self.chain_id, contract=self.contract, request_id=log.topics[1]
            ),
            seed_index=_index(terms & (1 << 64) - 1),
            callback_gas_limit=terms >> 64 & (1 << 32) - 1,
            num_words=terms >> 96 & (1 << 16) - 1,
            confirmations=terms >> 112 & (1 << 8) - 1,
            fee=terms >> 160,
            requester=requester,
            user_seed=user_seed,
            block_number=log.block_number,
            block_hash=log.block_hash,
            transaction_hash=log.transaction_hash,
            log_index=log.index,
        )
        if (
            terms >> 120 & (1 << 40) - 1 != log.block_number
            or request_id(self.domain, requester, terms, user_seed) != log.topics[1]
        ):
            raise InconsistentChainError(
                f"the log of request 0x{log.topics[1].hex()} contradicts itself: "
                "the endpoint lies, or the contract is another one"
            )
        return request

    @staticmethod
    def encode_fulfill(reveals: Sequence[Reveal], siblings: Sequence[bytes]) -> bytes:
        """
        Return the call that fulfills requests of one batch, given in the order of their indices.

        `siblings` are the leaves of the indices between them, then their proof.
        """
        items = [
            (
                (
                    reveal.request.requester,
                    pack_terms(reveal.request),
                    reveal.request.user_seed,
                ),
                reveal.seed,
            )
            for reveal in reveals
        ]
        return _call("fulfill", [f"{_FULFILLMENT}[]", "bytes32[]"], [items, list(siblings)])

    @staticmethod
    def fulfill_gas(requests: Sequence[RandomnessRequest], *, gaps: int, proof: int) -> int:
        """
        Return a gas limit that is always enough for requests in one run with so many gaps and
        proof elements: fulfillments are never simulated, and a formula cannot leak a seed.

        Every item is taken at its dearest: overflow entry, EIP-2935 look-up, a delegating
        requester and a callback that burns everything.
        """
        return (
            GAS_PER_TRANSACTION
            + GAS_PER_PROOF_ELEMENT * proof
            + GAS_PER_GAP * gaps
            + sum(map(CoordinatorProtocol.item_gas, requests))
        )

    @staticmethod
    def item_gas(request: RandomnessRequest) -> int:
        """
        Return what a request adds to the gas limit of its run: by this the run's cost is shared.
        """
        return (
            GAS_PER_ITEM
            + GAS_PER_FAILURE
            + GAS_PER_WORD * request.num_words
            + request.callback_gas_limit * 64 // 63
            + 1
        )

    @staticmethod
    def expected_gas(requests: Sequence[RandomnessRequest], *, gaps: int) -> int:
        """
        Return the gas that a run is reckoned to use: every callback all that it was promised, and
        none of them failing.
        """
        limit = CoordinatorProtocol.fulfill_gas(requests, gaps=gaps, proof=_DEPTH)
        return limit - GAS_PER_FAILURE * len(requests)

    @staticmethod
    def expected_size(requests: Sequence[RandomnessRequest], *, gaps: int) -> int:
        """
        Return the bytes of a run's transaction.
        """
        return CoordinatorProtocol.size_of(len(requests), 1) + 32 * gaps

    @staticmethod
    def size_of(requests: int, transactions: int) -> int:
        """
        Return the bytes of transactions that serve so many requests without gaps.
        """
        return (_BYTES_AROUND + 32 * _DEPTH) * transactions + 128 * requests

    @staticmethod
    def largest_gas(callback_gas_limit_max: int) -> int:
        """
        Return the gas limit of the largest single request that the contract accepts.
        """
        return CoordinatorProtocol.single_gas(callback_gas_limit_max, MAX_WORDS)

    @staticmethod
    def single_gas(callback_gas_limit: int, num_words: int) -> int:
        """
        Return the gas limit of a request that is fulfilled alone.
        """
        return (
            GAS_PER_TRANSACTION
            + GAS_PER_ITEM
            + GAS_PER_FAILURE
            + GAS_PER_WORD * num_words
            + GAS_PER_PROOF_ELEMENT * 2 * _DEPTH
            + callback_gas_limit * 64 // 63
            + 1
        )

    @staticmethod
    def encode_commit(first_index: int, roots: Sequence[bytes]) -> bytes:
        """
        Return the call that commits the roots of the next batches.
        """
        return _call("commit", ["uint64", "bytes32[]"], [first_index, list(roots)])

    @staticmethod
    def commit_gas(roots: int) -> int:
        """
        Return a gas limit that is always enough for a commit.
        """
        return _GAS_PER_COMMIT + _GAS_PER_ROOT * roots

    @staticmethod
    def encode_request(
        callback_gas_limit: int, num_words: int, confirmations: int, user_seed: bytes
    ) -> bytes:
        """
        Return the call that asks for random words.
        """
        return _call(
            "requestRandomness",
            ["uint32", "uint16", "uint8", "bytes32"],
            [callback_gas_limit, num_words, confirmations, user_seed],
        )

    @staticmethod
    def encode_fee_at(callback_gas_limit: int, num_words: int, base_fee: int) -> bytes:
        """
        Return the call that quotes a fee at a base fee.
        """
        return _call(
            "feeAt", ["uint32", "uint16", "uint256"], [callback_gas_limit, num_words, base_fee]
        )

    @staticmethod
    def encode_root_of(batch: int) -> bytes:
        """
        Return the call that asks for the root of a batch.
        """
        return _call("rootOf", ["uint256"], [batch])

    SEEDS = keccak(b"seeds()")[:4]
    WINDOW = keccak(b"window()")[:4]
    OPERATOR = keccak(b"operator()")[:4]
    CALLBACK_GAS_LIMIT_MAX = keccak(b"callbackGasLimitMax()")[:4]
    DEPLOYED_AT = keccak(b"deployedAt()")[:4]

    @staticmethod
    def decode_counters(answer: bytes) -> Counters:
        """
        Read the answer to `SEEDS`.
        """
        try:
            return Counters(*decode(["uint64", "uint64"], answer))
        except DecodingError:
            raise InconsistentChainError(
                "the endpoint garbled the coordinator's counters"
            ) from None

    @staticmethod
    def decode_uint(answer: bytes) -> int:
        """
        Read the answer of a view that returns one integer.
        """
        return int.from_bytes(answer, "big")


def _index(index: int) -> int:
    # The contract counts up from 0: what a database cannot hold was never reached.
    if index >> 63:
        raise ValueError("no such index")
    return index


def _call(name: str, types: Sequence[str], values: Sequence[object]) -> bytes:
    return keccak(f"{name}({','.join(types)})".encode())[:4] + encode(types, values)
