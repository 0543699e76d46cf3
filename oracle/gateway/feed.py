"""
Where a gateway's bytes come from.
"""

from __future__ import annotations

from typing import Protocol


class EntropyFeed(Protocol):
    """
    A supply of entropy that a gateway hands out, each byte to one reply.
    """

    @property
    def simulated(self) -> bool:
        """
        Whether the bytes are no quantum entropy; every reply then says so.
        """
        ...

    def accepts(self, key: str) -> bool:
        """
        Say whether a client that shows this key, never empty, may draw.
        """
        ...

    async def draw(self, n_bytes: int) -> bytes:
        """
        Return exactly `n_bytes` bytes that nobody else gets.

        Raises:
            OracleError: the feed cannot deliver; the client is told to come back later.

        """
        ...
