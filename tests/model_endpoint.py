"""
Endpoints of a chain in memory, which can be silent, late, mistaken, or lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from oracle.chain.sender import Verdict, classify
from oracle.errors import EndpointError, InconsistentChainError
from oracle.evm import Block, Log, Receipt, Transaction, keccak
from tests.model_chain import Mined, ModelChain, Tx, read_signed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

# Blocks whose logs an endpoint does not have yet, though it has them.
HIDDEN = 3
#: What an endpoint can do wrong: not answer, be behind, hide the newest logs or all of them, tell
#: them twice, or show its own block hashes in them.
Fault = Literal["down", "behind", "hides", "empty", "repeats", "garbles"]


@dataclass(eq=False)
class Endpoint:
    """
    A `ChainReader` and `Broadcaster`: what one endpoint says of a chain.
    """

    chain: ModelChain
    fault: Fault | None = None
    lag: int = 4
    #: What to do before every answer, and what to do with bytes before anything else.
    before: Callable[[str], Awaitable[None]] | None = None
    receive: Callable[[Tx, bytes], Awaitable[None]] | None = None
    #: Broadcasts whose answer is lost, and whether the bytes are, too.
    mute: list[bool] = field(default_factory=list)

    @property
    def shown(self) -> list[Mined]:
        """
        The blocks that it knows of.
        """
        blocks = self.chain.blocks
        return blocks[: -self.lag] or blocks[:1] if self.fault == "behind" else blocks

    async def _answer(self, method: str) -> list[Mined]:
        if self.before is not None:
            await self.before(method)
        if self.fault == "down":
            raise EndpointError("the endpoint is down")
        return self.shown

    async def _at(self, method: str, number: int | None) -> Mined:
        blocks = await self._answer(method)
        if number is None:
            return blocks[-1]
        if not 0 <= number < len(blocks):
            raise InconsistentChainError(f"no block {number}")
        return blocks[number]

    async def block(self, number: int | None = None) -> Block:
        return (await self._at("block", number)).header

    async def logs(
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        blocks = await self._answer("logs")
        return [
            log
            for log in self.told(blocks[first : last + 1])
            if log.address == address
            and all(
                wanted in (None, found) for wanted, found in zip(topics, log.topics, strict=False)
            )
        ]

    def told(self, blocks: Iterable[Mined]) -> list[Log]:
        """
        Return the logs of blocks as it tells them.
        """
        logs = [log for block in blocks for receipt in block.receipts for log in receipt.logs]
        match self.fault:
            case "empty":
                return []
            case "hides":
                newest = self.shown[-1].header.number
                return [log for log in logs if log.block_number <= newest - HIDDEN]
            case "repeats":
                return [log for log in logs for _ in range(2)]
            case "garbles":
                return [replace(log, block_hash=keccak(log.block_hash)) for log in logs]
        return logs

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        for block in reversed(await self._answer("receipt")):
            for receipt in block.receipts:
                if receipt.transaction_hash == transaction_hash:
                    return receipt
        return None

    async def nonce(self, address: str, block: int | None = None) -> int:
        return (await self._at("nonce", block)).world.nonces.get(address, 0)

    async def transaction(self, transaction_hash: bytes) -> Transaction | None:
        for block in await self._answer("transaction"):
            for tx in block.txs:
                if tx.hash == transaction_hash:
                    return Transaction(
                        hash=tx.hash,
                        sender=tx.sender,
                        to=tx.to,
                        data=tx.data,
                        block_number=block.header.number,
                    )
        return None

    async def balance(self, address: str, block: int | None = None) -> int:
        return (await self._at("balance", block)).world.balances.get(address, 0)

    async def code(self, address: str) -> bytes:
        known = (await self._at("code", None)).world.contracts
        return b"\x60" if address in known else b""

    async def storage(self, address: str, slot: int, block: int | None = None) -> bytes:
        raise NotImplementedError(f"storage {slot} of {address} at {block}")

    async def call(
        self, to: str, data: bytes, block: int | None = None, *, sender: str | None = None
    ) -> bytes:
        del sender
        return (await self._at("call", block)).world.contracts[to].view(data)

    async def broadcast(self, signed: bytes) -> tuple[Verdict, str]:
        tx = read_signed(signed)
        if self.receive is not None:
            await self.receive(tx, signed)
        if self.fault == "down":
            return Verdict.UNANSWERED, "the endpoint is down"
        if self.mute:
            if self.mute.pop(0):
                self.chain.accept(tx)
            return Verdict.UNANSWERED, "the endpoint does not answer"
        words = self.chain.accept(tx)
        return (classify(words) if words else Verdict.ACCEPTED), words
