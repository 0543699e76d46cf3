"""
The coordinator as a plain object: what `contracts/QuantumCoordinator.sol` does with the calls that
a life of requests is made of. Money and the ring of slots are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode

from oracle.entropy import merkle
from oracle.evm import checksum_address, keccak
from oracle.protocols.coordinator import (
    BATCH,
    CANCELLED,
    COMMITTED,
    FULFILLED,
    REQUESTED,
    CoordinatorProtocol,
    pack_terms,
    request_id,
)
from oracle.request import RandomnessRequest, RequestKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WINDOW = 64
# Whose callbacks fail.
CLUMSY = checksum_address(b"\xfa" * 20)

_REQUEST = "(address,uint256,bytes32)"
_FULFILLMENT = f"({_REQUEST},bytes32)"
DISCARDED = keccak(b"SeedsDiscarded(uint256,uint256)")
CALLBACK_FAILED = keccak(b"CallbackFailed(bytes32,uint256)")

#: Topics and data of an event.
Emitted = tuple[tuple[bytes, ...], bytes]


class RevertError(Exception):
    """
    The call reverted.
    """


@dataclass(frozen=True, slots=True)
class Item:
    """
    What a fulfillment says of one request: its id follows from the rest.
    """

    request_id: bytes
    index: int
    requester: str
    block: int
    confirmations: int
    callback_gas_limit: int
    seed: bytes


@dataclass
class Coordinator:
    """
    The state of one contract after one block.
    """

    chain_id: int
    address: str
    operator: str
    next: int = 0
    committed: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)
    pending: dict[bytes, int] = field(default_factory=dict)
    fulfilled: dict[bytes, bytes] = field(default_factory=dict)
    cancelled: set[bytes] = field(default_factory=set)

    def copy(self) -> Coordinator:
        """
        Return a state that changes by itself.
        """
        return replace(
            self,
            roots=dict(self.roots),
            pending=dict(self.pending),
            fulfilled=dict(self.fulfilled),
            cancelled=set(self.cancelled),
        )

    @property
    def domain(self) -> bytes:
        return merkle.domain(self.chain_id, self.address)

    def call(
        self,
        sender: str,
        data: bytes,
        *,
        value: int,
        gas: int,
        transaction: bytes,
        block: int,
        hash_of: Callable[[int], bytes],
    ) -> list[Emitted]:
        """
        Do what a transaction asks for and return its events; `RevertError` leaves a state that
        the caller throws away.
        """
        match data[:4]:
            case _Selectors.REQUEST:
                return self._request(sender, data[4:], value, block)
            case _Selectors.FULFILL:
                return self._fulfill(data, gas, transaction, block, hash_of)
            case _Selectors.COMMIT:
                return self._commit(sender, data[4:])
            case _Selectors.DISCARD:
                return self._discard(sender, data[4:])
            case _Selectors.CANCEL:
                return self._cancel(sender, data[4:], block)
        raise RevertError("no such function")

    def view(self, data: bytes) -> bytes:
        """
        Answer a view function.
        """
        if data == CoordinatorProtocol.SEEDS:
            return encode(["uint64", "uint64"], [self.next, self.committed])
        if data == CoordinatorProtocol.OPERATOR:
            return encode(["address"], [self.operator])
        if data[:4] == CoordinatorProtocol.encode_root_of(0)[:4]:
            return self.roots.get(int.from_bytes(data[4:], "big"), bytes(32))
        raise RevertError("no such view")

    def _request(self, sender: str, data: bytes, value: int, block: int) -> list[Emitted]:
        gas, num_words, confirmations, user_seed = decode(
            ["uint32", "uint16", "uint8", "bytes32"], data
        )
        if self.next == self.committed or not 1 <= confirmations <= WINDOW // 2:
            raise RevertError("NoSeed or InvalidConfirmations")
        made = RandomnessRequest(
            key=RequestKey(chain_id=self.chain_id, contract=self.address, request_id=bytes(32)),
            seed_index=self.next,
            requester=sender,
            callback_gas_limit=gas,
            num_words=num_words,
            confirmations=confirmations,
            fee=value,
            user_seed=user_seed,
            block_number=block,
            block_hash=bytes(32),
            transaction_hash=bytes(32),
            log_index=0,
        )
        terms = pack_terms(made)
        id_ = request_id(self.domain, sender, terms, user_seed)
        self.pending[id_] = self.next
        self.next += 1
        topics = (REQUESTED, id_, bytes(12) + bytes.fromhex(sender[2:]))
        return [(topics, encode(["uint256", "bytes32"], [terms, user_seed]))]

    def _fulfill(
        self,
        data: bytes,
        gas: int,
        transaction: bytes,
        block: int,
        hash_of: Callable[[int], bytes],
    ) -> list[Emitted]:
        items, siblings = self.read_fulfillment(data)
        self._verify(items, siblings)
        promised = sum(item.callback_gas_limit * 64 // 63 for item in items)
        if gas < promised + 30_000 * (1 + len(items)):
            raise RevertError("InsufficientGas")
        events: list[Emitted] = []
        for item in items:
            age = block - item.block
            if not item.confirmations <= age <= WINDOW or item.request_id not in self.pending:
                continue
            del self.pending[item.request_id]
            self.fulfilled[item.request_id] = transaction
            success = item.requester != CLUMSY
            if not success:
                output = keccak(item.seed + item.request_id + hash_of(item.block))
                events.append(((CALLBACK_FAILED, item.request_id), output))
            events.append(
                ((FULFILLED, item.request_id), encode(["bytes32", "bool"], [item.seed, success]))
            )
        return events

    def read_fulfillment(self, data: bytes) -> tuple[list[Item], Sequence[bytes]]:
        """
        Return what a call to `fulfill` would reveal, and its siblings.
        """
        found, siblings = decode([f"{_FULFILLMENT}[]", "bytes32[]"], data[4:])
        items = []
        for (requester, terms, user_seed), seed in found:
            who = checksum_address(requester)
            items.append(
                Item(
                    request_id=request_id(self.domain, who, terms, user_seed),
                    index=terms & (1 << 64) - 1,
                    requester=who,
                    callback_gas_limit=terms >> 64 & (1 << 32) - 1,
                    confirmations=terms >> 112 & (1 << 8) - 1,
                    block=terms >> 120 & (1 << 40) - 1,
                    seed=seed,
                )
            )
        return items, siblings

    def _verify(self, items: Sequence[Item], siblings: Sequence[bytes]) -> None:
        seeds = {item.index: item.seed for item in items}
        first, last = items[0].index, items[-1].index
        if list(seeds) != sorted(seeds) or len(seeds) != len(items):
            raise RevertError("UnexpectedIndex")
        if first // BATCH != last // BATCH:
            raise RevertError("InvalidRun")
        rest = iter(siblings)
        run = [
            merkle.leaf(self.domain, index, seeds[index]) if index in seeds else next(rest)
            for index in range(first, last + 1)
        ]
        root = self.roots.get(first // BATCH, b"")
        if not merkle.verify(root, first % BATCH, run, list(rest)):
            raise RevertError("InvalidProof")

    def _commit(self, sender: str, data: bytes) -> list[Emitted]:
        first, roots = decode(["uint64", "bytes32[]"], data)
        if sender != self.operator or first != self.committed or not roots:
            raise RevertError("NotOperator or UnexpectedFirstIndex")
        for place, root in enumerate(roots):
            self.roots[first // BATCH + place] = root
        self.committed += BATCH * len(roots)
        return [((COMMITTED, encode(["uint256"], [first])), encode(["bytes32[]"], [roots]))]

    def _discard(self, sender: str, data: bytes) -> list[Emitted]:
        (up_to,) = decode(["uint64"], data)
        if sender != self.operator or not self.next < up_to <= self.committed:
            raise RevertError("NotOperator or InvalidDiscard")
        first, self.next = self.next, up_to
        topics = (DISCARDED,)
        return [(topics, encode(["uint256", "uint256"], [first, up_to]))]

    def _cancel(self, sender: str, data: bytes, block: int) -> list[Emitted]:
        (requester, terms, user_seed), to = decode([_REQUEST, "address"], data)
        id_ = request_id(self.domain, checksum_address(requester), terms, user_seed)
        made = terms >> 120 & (1 << 40) - 1
        if checksum_address(requester) != sender or block <= made + WINDOW:
            raise RevertError("NotRequester or WindowOpen")
        if id_ not in self.pending:
            raise RevertError("NotPending")
        index = self.pending.pop(id_)
        self.cancelled.add(id_)
        amount = terms >> 160
        return [((CANCELLED, id_), encode(["uint256", "address", "uint256"], [index, to, amount]))]


class _Selectors:
    REQUEST = keccak(b"requestRandomness(uint32,uint16,uint8,bytes32)")[:4]
    FULFILL = keccak(f"fulfill({_FULFILLMENT}[],bytes32[])".encode())[:4]
    COMMIT = keccak(b"commit(uint64,bytes32[])")[:4]
    DISCARD = keccak(b"discard(uint64)")[:4]
    CANCEL = keccak(f"cancel({_REQUEST},address)".encode())[:4]


def is_fulfillment(data: bytes) -> bool:
    """
    Say whether a call reveals seeds.
    """
    return data[:4] == _Selectors.FULFILL


def encode_discard(up_to: int) -> bytes:
    return _Selectors.DISCARD + encode(["uint64"], [up_to])


def encode_cancel(request: RandomnessRequest) -> bytes:
    terms = (request.requester, pack_terms(request), request.user_seed)
    return _Selectors.CANCEL + encode([_REQUEST, "address"], [terms, request.requester])
