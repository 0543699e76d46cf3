"""
What is looked up again and again, and can be made again if it was dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

#: Logs of a contract that need not be decoded twice: what the last blocks may hold.
DECODED = 2000


class Recent(Generic[K, V]):
    """
    A mapping that keeps `most` entries: the one that was used longest ago goes first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        """
        Return the value of a key; nothing if there is none any more.
        """
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: K, value: V) -> None:
        """
        Keep a value.
        """
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > self._most:
            self._held.popitem(last=False)

    def drop(self, key: K) -> None:
        """
        Keep no value for a key.
        """
        self._held.pop(key, None)

    def clear(self) -> None:
        """
        Keep nothing.
        """
        self._held.clear()
