"""
What the logs of a coordinator say, beside requests and their fulfillments.
"""

from __future__ import annotations

from dataclasses import dataclass

from oracle.request import Outcome, RandomnessRequest


@dataclass(frozen=True, slots=True)
class Cancelled:
    """
    A request was cancelled and refunded.
    """

    request_id: bytes
    seed_index: int


@dataclass(frozen=True, slots=True)
class Committed:
    """
    Roots were committed, the first for the batch that begins at `first_index`.
    """

    first_index: int
    roots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """
    The indices from `first_index` up to `up_to`, which is not among them, will be no request's.
    """

    first_index: int
    up_to: int
    block_number: int
    block_hash: bytes


Event = RandomnessRequest | Outcome | Cancelled | Committed | Discarded
