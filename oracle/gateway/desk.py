"""
Between the dialects and the entropy: who may draw, and who gets which bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import date

    from fastapi import Request


class Scope(StrEnum):
    """
    What a key is good for: one dialect each.
    """

    ANU_LEGACY = "anu-legacy"
    ANU = "anu"
    QRNG_OPEN_API = "qrng-open-api"
    QRYPT = "qrypt"
    QCI = "qci"


class Visit(Protocol):
    """
    One request of a client that was let in.
    """

    @property
    def client_id(self) -> str:
        """
        Who it is, the same in every visit; no secret.
        """
        ...

    async def draw(self, n_bytes: int) -> bytes:
        """
        Return `n_bytes` bytes that nobody else gets, and count them against the client.

        Raises:
            RateLimitedError: the client has to wait, for its rate or its quota.
            OracleError: there is no supply; the client is told to come back later.

        """
        ...

    async def usage(self, first: date, last: date) -> int:
        """
        Return how many bits the client drew on the days from `first` to `last`, UTC, both
        included.
        """
        ...


class Desk(Protocol):
    """
    Who hands out the entropy.
    """

    @property
    def simulated(self) -> bool:
        """
        Whether the bytes are no quantum entropy; every reply then says so.
        """
        ...

    @property
    def largest(self) -> int:
        """
        The bytes that one reply can hold at most, however many a dialect would allow.
        """
        ...

    async def admit(self, request: Request, scope: Scope, key: str | None) -> Visit:
        """
        Let a client in by the key that it shows; nothing is drawn and nothing counted.

        Raises `KeyRefusedError`.
        """
        ...

    async def readmit(self, request: Request, scope: Scope, client_id: str) -> Visit:
        """
        Let a client in that proved who it is in an earlier visit.

        Raises `KeyRefusedError` when its key was revoked since.
        """
        ...

    async def level(self) -> float:
        """
        Return how full the supply is, from 0 to 1.
        """
        ...
