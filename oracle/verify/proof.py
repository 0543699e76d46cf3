"""
From the calldata of a fulfillment to the root that it leads to. Pure.

The order of the siblings is told at `fulfill` in `contracts/interfaces/IQuantumCoordinator.sol`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.evm import checksum_address, keccak
from oracle.verify.events import BATCH, Terms, id_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEPTH = 8
_ITEMS = "((address,uint256,bytes32),bytes32)[]"
_FULFILL = keccak(f"fulfill({_ITEMS},bytes32[])".encode())[:4]


@dataclass(frozen=True, slots=True)
class Item:
    """
    One request of a fulfillment, with its id on this coordinator and its 32-byte seed.
    """

    request_id: bytes
    index: int
    seed: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """
    A call of `fulfill`: requests in the order of their indices, and the hashes beside them.
    """

    items: tuple[Item, ...]
    siblings: tuple[bytes, ...]

    def is_beside(self, index: int) -> bool:
        """
        Say whether this run serves other indices of an index's batch, and not the index itself.
        """
        indices = {item.index for item in self.items}
        return index not in indices and {i // BATCH for i in indices} == {index // BATCH}

    def root(self, domain: bytes) -> bytes | None:
        """
        Return the root that seeds and siblings lead to; nothing when they do not fit together.
        """
        first, last = self.items[0].index, self.items[-1].index
        if first // BATCH != last // BATCH:
            return None
        seeds = {item.index: item.seed for item in self.items}
        beside = iter(self.siblings)
        try:
            leaves = {
                index % BATCH: leaf_of(domain, index, seeds[index])
                if index in seeds
                else next(beside)
                for index in range(first, last + 1)
            }
            root = climb(leaves, tuple(beside))
        except StopIteration:
            return None
        return root


def read_run(domain: bytes, data: bytes) -> Run | None:
    """
    Return the run that a transaction's calldata fulfills; nothing when it is no such call.
    """
    if data[:4] != _FULFILL:
        return None
    try:
        items, siblings = decode([_ITEMS, "bytes32[]"], data[4:])
    except DecodingError:
        return None
    if not items:
        return None
    read = []
    for (requester, terms, user_seed), seed in items:
        word = encode(["uint256"], [terms])
        request_id = id_of(domain, checksum_address(requester), word, user_seed)
        read.append(Item(request_id, Terms.read(word).index, seed))
    return Run(tuple(read), tuple(siblings))


def leaf_of(domain: bytes, index: int, seed: bytes) -> bytes:
    """
    Return the leaf of an index and its seed.
    """
    return keccak(domain + encode(["uint256"], [index]) + seed)


def climb(leaves: Mapping[int, bytes], siblings: Sequence[bytes]) -> bytes | None:
    """
    Return the root over neighboring leaves, by their places in the batch, and what stands beside.

    Nothing when there are no leaves, or siblings are missing or left over.
    """
    if not leaves:
        return None
    level, beside = dict(leaves), list(reversed(siblings))
    for _ in range(_DEPTH):
        low, high = min(level), max(level)
        missing = [low - 1] * (low % 2) + [high + 1] * (1 - high % 2)
        if len(missing) > len(beside):
            return None
        for place in missing:
            level[place] = beside.pop()
        level = {
            place // 2: keccak(level[place] + level[place + 1])
            for place in range(min(level), max(level), 2)
        }
    return None if beside else level[0]
