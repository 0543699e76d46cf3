"""
Merkle trees over batches of 256 seeds, as the coordinator verifies them.

A leaf is bound to chain, coordinator and index. One proof covers a run of consecutive leaves: it
holds the nodes beside the run, level by level from the leaves upwards, left before right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eth_hash.auto import keccak

if TYPE_CHECKING:
    from collections.abc import Sequence

DEPTH = 8
BATCH = 1 << DEPTH
_WORD = 32


def domain(chain_id: int, coordinator: str) -> bytes:
    """
    Return `keccak256(abi.encode(uint256 chainId, address coordinator))`.
    """
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", coordinator):
        raise ValueError("A coordinator's address is 0x and forty hexadecimal digits.")
    address = bytes.fromhex(coordinator[2:])
    return keccak(chain_id.to_bytes(_WORD, "big") + address.rjust(_WORD, b"\0"))


def leaf(domain: bytes, index: int, seed: bytes) -> bytes:
    """
    Return `keccak256(domain, uint256 index, seed)`, where the index counts over all batches.
    """
    if len(domain) != _WORD or len(seed) != _WORD:
        raise ValueError("Domain and seed have 32 bytes each.")
    return keccak(domain + index.to_bytes(_WORD, "big") + seed)


def root(leaves: Sequence[bytes]) -> bytes:
    """
    Return the root of exactly one batch of leaves.
    """
    level = _batch(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def proof(leaves: Sequence[bytes], first: int, count: int) -> list[bytes]:
    """
    Return the proof for the `count` leaves from position `first` of the batch on.
    """
    low, high = first, first + count
    if not 0 <= low < high <= BATCH:
        raise ValueError(f"A run has at least one leaf and lies inside a batch of {BATCH}.")
    level = _batch(leaves)
    nodes = []
    for _ in range(DEPTH):
        if low & 1:
            nodes.append(level[low - 1])
        if high & 1:
            nodes.append(level[high])
        level = _parents(level)
        low, high = low >> 1, (high + 1) >> 1
    return nodes


def verify(root: bytes, first: int, run_leaves: Sequence[bytes], proof: Sequence[bytes]) -> bool:
    """
    Say whether the run of leaves from position `first` on belongs to the root.

    This walks as the contract does and shares nothing with `proof`. The proof must be consumed
    to its last element.
    """
    if not 0 <= first < first + len(run_leaves) <= BATCH:
        return False
    if any(len(node) != _WORD for node in (*run_leaves, *proof)):
        return False
    nodes, beside, low = list(run_leaves), iter(proof), first
    try:
        for _ in range(DEPTH):
            source = target = low & 1
            if low & 1:
                nodes[0] = keccak(next(beside) + nodes[0])
            while source + 1 < len(nodes):
                nodes[target] = keccak(nodes[source] + nodes[source + 1])
                source, target = source + 2, target + 1
            if source < len(nodes):
                nodes[target] = keccak(nodes[source] + next(beside))
                target += 1
            del nodes[target:]
            low >>= 1
    except StopIteration:
        return False
    return next(beside, None) is None and nodes[0] == root


def _batch(leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) != BATCH or any(len(item) != _WORD for item in leaves):
        raise ValueError(f"A batch has exactly {BATCH} leaves of 32 bytes.")
    return list(leaves)


def _parents(level: Sequence[bytes]) -> list[bytes]:
    return [keccak(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
