"""
The coordinator's events, read from the words that `contracts/interfaces/IQuantumCoordinator.sol`
gives them. Pure.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.errors import InconsistentChainError
from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.evm import Log

MADE = keccak(b"RandomnessRequested(bytes32,address,uint256,bytes32)")
FULFILLED = keccak(b"RandomnessFulfilled(bytes32,bytes32,bool)")
FAILED = keccak(b"CallbackFailed(bytes32,uint256)")
REDELIVERED = keccak(b"CallbackRedelivered(bytes32)")
CANCELLED = keccak(b"RequestCancelled(bytes32,uint256,address,uint256)")
COMMITTED = keccak(b"RootsCommitted(uint256,bytes32[])")
DISCARDED = keccak(b"SeedsDiscarded(uint256,uint256)")
WITHDRAWN = keccak(b"EarningsWithdrawn(address,uint256)")

BATCH = 256


@dataclass(frozen=True, slots=True)
class Terms:
    """
    The terms of a request, in the order of their bytes in the word; `fee` in wei.
    """

    fee: int
    block: int
    confirmations: int
    num_words: int
    callback_gas_limit: int
    index: int

    @classmethod
    def read(cls, word: bytes) -> Terms:
        """
        Read the 32-byte word of `contracts/types/Terms.sol`.
        """
        cuts = (0, 12, 17, 18, 20, 24, 32)
        pairs = itertools.pairwise(cuts)
        return cls(*(int.from_bytes(word[low:high], "big") for low, high in pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """
    A request was made; `terms_word` is what its id hashes.
    """

    log: Log
    request_id: bytes
    requester: str
    terms_word: bytes
    terms: Terms
    user_seed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilled:
    """
    A request was fulfilled with a 32-byte seed; `success` is its callback's.
    """

    log: Log
    request_id: bytes
    seed: bytes
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """
    A callback failed, and its 32-byte output was put on record.
    """

    log: Log
    request_id: bytes
    output: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivered:
    """
    A failed callback was repeated with success.
    """

    log: Log
    request_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """
    A request was cancelled and `amount` wei went back.
    """

    log: Log
    request_id: bytes
    index: int
    to: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """
    Roots of 256 seeds each were committed, from index `first` on.
    """

    log: Log
    first: int
    roots: tuple[bytes, ...]

    def root_of(self, index: int) -> bytes | None:
        """
        Return the root that covers an index, if one of these does.
        """
        place = (index - self.first) // BATCH
        return self.roots[place] if 0 <= place < len(self.roots) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """
    The seeds from `first` up to `up_to` were given up.
    """

    log: Log
    first: int
    up_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """
    Earnings were paid out, in wei.
    """

    log: Log
    amount: int


Event = Made | Fulfilled | Failed | Redelivered | Cancelled | Committed | Discarded | Withdrawn


def read_event(log: Log) -> Event | None:
    """
    Return what a log of the coordinator says; nothing for events that no check needs.

    Raises `InconsistentChainError` when it is malformed.
    """
    reader = _READERS.get(log.topics[0]) if log.topics else None
    if reader is None:
        return None
    try:
        return reader(log)
    except (DecodingError, IndexError, ValueError):
        raise InconsistentChainError(
            f"a log of block {log.block_number} is malformed: the endpoint garbles it, or the "
            "contract is another one"
        ) from None


def domain_of(chain_id: int, contract: str) -> bytes:
    """
    Return what binds ids and leaves to one coordinator on one chain.
    """
    return keccak(encode(["uint256", "address"], [chain_id, contract]))


def id_of(domain: bytes, requester: str, terms_word: bytes, user_seed: bytes) -> bytes:
    """
    Return the id that a request with these particulars must have.
    """
    return keccak(domain + encode(["address"], [requester]) + terms_word + user_seed)


def output_of(seed: bytes, request_id: bytes, beacon: bytes) -> bytes:
    """
    Return a request's value, from which its words follow.
    """
    return keccak(seed + request_id + beacon)


def words_of(output: bytes, count: int) -> tuple[bytes, ...]:
    """
    Return the words that follow from a value, 32 bytes each.
    """
    return tuple(keccak(output + encode(["uint256"], [place])) for place in range(count))


def _made(log: Log) -> Made:
    terms_word, user_seed = decode(["bytes32", "bytes32"], log.data)
    return Made(
        log=log,
        request_id=log.topics[1],
        requester=checksum_address(log.topics[2][12:]),
        terms_word=terms_word,
        terms=Terms.read(terms_word),
        user_seed=user_seed,
    )


def _fulfilled(log: Log) -> Fulfilled:
    seed, success = decode(["bytes32", "bool"], log.data)
    return Fulfilled(log=log, request_id=log.topics[1], seed=seed, success=success)


def _failed(log: Log) -> Failed:
    (output,) = decode(["bytes32"], log.data)
    return Failed(log=log, request_id=log.topics[1], output=output)


def _redelivered(log: Log) -> Redelivered:
    return Redelivered(log=log, request_id=log.topics[1])


def _cancelled(log: Log) -> Cancelled:
    index, to, amount = decode(["uint256", "address", "uint256"], log.data)
    return Cancelled(
        log=log, request_id=log.topics[1], index=index, to=checksum_address(to), amount=amount
    )


def _committed(log: Log) -> Committed:
    (roots,) = decode(["bytes32[]"], log.data)
    return Committed(log=log, first=int.from_bytes(log.topics[1], "big"), roots=tuple(roots))


def _discarded(log: Log) -> Discarded:
    first, up_to = decode(["uint256", "uint256"], log.data)
    return Discarded(log=log, first=first, up_to=up_to)


def _withdrawn(log: Log) -> Withdrawn:
    (amount,) = decode(["uint256"], log.data)
    return Withdrawn(log=log, amount=amount)


_READERS: dict[bytes, Callable[[Log], Event]] = {
    MADE: _made,
    FULFILLED: _fulfilled,
    FAILED: _failed,
    REDELIVERED: _redelivered,
    CANCELLED: _cancelled,
    COMMITTED: _committed,
    DISCARDED: _discarded,
    WITHDRAWN: _withdrawn,
}
