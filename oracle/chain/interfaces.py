"""
What the node asks of a chain, whoever answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.evm import Block, Log, Receipt, Transaction


class ChainReader(Protocol):
    """
    What the node asks of a chain. Every method raises `EndpointError` when the endpoint fails.
    """

    async def block(self, number: int | None = None) -> Block:
        """
        Return a block of the canonical chain; the head without a number.
        """
        ...

    async def logs(
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        """
        Return the contract's logs in the closed range of blocks, in the chain's order.

        Each of `topics` that is not nothing must stand at its place in the log.
        """
        ...

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """
        Return the receipt of a mined transaction.
        """
        ...

    async def nonce(self, address: str, block: int | None = None) -> int:
        """
        Return how many transactions the account has mined, at the head or at a block.
        """
        ...

    async def transaction(self, transaction_hash: bytes) -> Transaction | None:
        """
        Return a mined transaction.
        """
        ...

    async def balance(self, address: str, block: int | None = None) -> int:
        """
        Return the account's balance in wei, at the head or at a block.
        """
        ...

    async def code(self, address: str) -> bytes:
        """
        Return the code at an address; empty if there is none.
        """
        ...

    async def call(
        self, to: str, data: bytes, block: int | None = None, *, sender: str | None = None
    ) -> bytes:
        """
        Return what a function answers to a call that changes nothing.

        Raises `RevertedError` when it reverts.
        """
        ...

    async def storage(self, address: str, slot: int, block: int | None = None) -> bytes:
        """
        Return a word of a contract's storage.
        """
        ...


class GasEstimator(Protocol):
    """
    Whoever can try a call without sending it.
    """

    async def estimate_gas(self, *, sender: str, to: str, data: bytes, value: int = 0) -> int:
        """
        Return the gas that a call from `sender` would need, as a transaction of its own.

        Raises `RevertedError` when the call would fail, and `EndpointError` when nobody can tell.
        """
        ...
