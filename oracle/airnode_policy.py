"""
What the operator of an Airnode serves, to whom, and how.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


# How a message begins that is sent instead of a number, because the operator wants it so.
FAILED_BY_POLICY = "Callback fails; drawn: "


def by_policy_message(data: bytes) -> str:
    """
    Return what a request is failed with whose callback failed until its hold was over, as the
    operator wants it: the number that was drawn is put on record.
    """
    return f"{FAILED_BY_POLICY}0x{data[-32:].hex()}"


class Choice(StrEnum):
    """
    What the operator wants done with a request that cannot simply be served.
    """

    DELIVER = "deliver"  #: its number goes out all the same
    FAIL = "fail"  #: it is failed, with the reason on chain


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodePolicy:
    """
    What the operator serves, to whom, and how; times in milliseconds.
    """

    #: Endpoint ids; true for those that answer with an array.
    endpoints: Mapping[bytes, bool]
    #: Contracts one of which has to let a request through; none: everybody may ask.
    authorizers: tuple[str, ...] = ()
    #: The only requesters or sponsors that are served; empty: all.
    allowed: frozenset[str] = frozenset()
    #: Whether `_minConfirmations` may lower the depth.
    lower_confirmations: bool = False
    #: Numbers per sponsor in a day; none: as many as it wants.
    draws_per_day: int | None = None
    #: Requests that wait longer are ended.
    max_age: int | None = None
    #: How long a number is kept back from a callback that fails, and what is done then.
    hold: int = 3_600_000
    held: Choice = Choice.DELIVER
    #: What becomes of a request whose number was public before a reorg included it again.
    exposed: Choice = Choice.DELIVER
    #: Gas that a fulfillment gets at least.
    gas_floor: int = 300_000
    #: How long a withdrawal waits for what was broadcast.
    withdrawal_wait: int = 3_600_000
