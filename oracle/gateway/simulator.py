"""
A labelled simulator: the operating system's bytes instead of a quantum device's.
"""

from __future__ import annotations

import os


class Simulator:
    """
    A feed for devnets and tests; every reply made from it is marked as simulated.
    """

    simulated = True

    def accepts(self, key: str) -> bool:
        """
        Accept every key but the empty one.
        """
        return bool(key)

    async def draw(self, n_bytes: int) -> bytes:
        """
        Return fresh bytes of the operating system.
        """
        return os.urandom(n_bytes)
