"""
From one 32-byte seed to the words of a response. Pure.
"""

from __future__ import annotations

from oracle.evm import keccak

_DOMAIN = b"airnode-words-v1"


def expand(seed: bytes, request_id: bytes, count: int) -> list[int]:
    """
    Return `count` words of 256 bits: word i is keccak256(domain ‖ seed ‖ request id ‖ i).

    Nobody without the seed can tell them from random ones, and each of them tells nothing of the
    others; all together they hold the 256 bits of entropy of their seed.
    """
    if len(seed) != 32 or len(request_id) != 32:  # noqa: PLR2004 - both are words
        raise ValueError("a seed and a request id have 32 bytes each")
    return [
        int.from_bytes(keccak(_DOMAIN + seed + request_id + i.to_bytes(32, "big")), "big")
        for i in range(count)
    ]
