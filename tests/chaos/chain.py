"""
The chain of a run: it mines when it is told to, forgets blocks, drops transactions and gets dear.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from oracle.chain.fees import GWEI
from oracle.errors import AnsweredError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oracle.chain.reader import Web3Reader
    from tests.chaos.witness import Place

# What the base fee is when nothing drives it up.
CALM_FEE = GWEI


class Chain:
    """
    An anvil that mines nothing by itself.

    Guarantees: after a reorg its pool holds what a real one would: the transactions that came
    back, and those that had waited, in the order of their nonces.
    """

    def __init__(
        self, reader: Web3Reader, raw: Callable[[bytes], bytes | None], seed: int, depth: int
    ) -> None:
        """
        `raw` finds the signed bytes of a transaction by its hash; at `depth` a block is final for
        the nodes.
        """
        self.reader = reader
        self.height = 0
        #: Neither this block nor any below is ever replaced.
        self.floor = 0
        self._raw = raw
        self._rng = random.Random(seed)
        self._depth = depth
        self._final: dict[str, int] = defaultdict(int)
        self._fee_until = 0
        self._fee = CALM_FEE
        self._owed = 0
        self._returning: tuple[int, list[bytes]] = (0, [])

    async def mine(self, tick: int) -> None:
        """
        Mine this tick's block, with those that a longer branch still owes.
        """
        fee = self._fee if tick < self._fee_until else CALM_FEE
        await self.reader.rpc("anvil_setNextBlockBaseFeePerGas", hex(fee))
        at, waiting = self._returning
        if waiting and at <= tick:
            self._returning = (0, [])
            await self._send(waiting)
        for _ in range(2 if self._owed else 1):
            await self.reader.rpc("evm_mine")
        self._owed = max(0, self._owed - 1)
        self.height = (await self.reader.block()).number

    def spike(self, until: int, gwei: int) -> None:
        """
        Keep the base fee up until a tick.
        """
        self._fee, self._fee_until = gwei * GWEI, until

    async def note_final(self, wallets: Sequence[str]) -> None:
        """
        Write down which nonces of wallets are used at the depth where nothing is expected to move.
        """
        settled = max(0, self.height - self._depth)
        for wallet in wallets:
            used = await self.reader.nonce(wallet, settled)
            self._final[wallet] = max(self._final[wallet], used)

    async def still_open(self, place: Place) -> bool:
        """
        Return whether something can still land at a place that was never final.

        What a deeper reorg frees was final for the nodes, and theirs is no fault.
        """
        if place.nonce < self._final[place.wallet]:
            return False
        return await self.reader.nonce(place.wallet) <= place.nonce

    async def reorg(self, tick: int, arguments: dict[str, Any]) -> int:
        """
        Replace the last blocks; return how many.
        """
        depth = min(int(arguments["depth"]), self.height - self.floor)
        removed: list[bytes] = []
        for number in range(self.height - depth + 1, self.height + 1):
            block = await self.reader.rpc("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 - JSON-RPC
            removed += [bytes.fromhex(hash_[2:]) for hash_ in block["transactions"]]
        waiting = await self._waiting()
        returning = self._returning_of(removed, arguments["returns"])
        await self.reader.rpc("anvil_dropAllTransactions")
        await self.reader.rpc("anvil_rollback", depth)
        await self.reader.rpc("anvil_setCoinbase", "0x" + self._rng.randbytes(20).hex())
        self._returning = (tick + int(arguments["later"]), [*self._returning[1], *returning])
        if not arguments["later"]:
            waiting = [*self._returning[1], *waiting]
            self._returning = (0, [])
        await self._send(waiting)
        if arguments["at_once"]:
            for _ in range(depth):
                await self.reader.rpc("evm_mine")
        else:
            self._owed = depth
        self.height = (await self.reader.block()).number
        return depth

    def _returning_of(self, removed: Sequence[bytes], which: str) -> list[bytes]:
        if which == "none":
            return []
        known = [raw for hash_ in removed if (raw := self._raw(hash_)) is not None]
        if which == "some":
            return [raw for raw in known if self._rng.random() < 0.5]
        return known

    async def _waiting(self) -> list[bytes]:
        pool = await self.reader.rpc("txpool_content")
        hashes = [
            bytes.fromhex(tx["hash"][2:])
            for part in ("pending", "queued")
            for of in pool[part].values()
            for tx in of.values()
        ]
        return [raw for hash_ in hashes if (raw := self._raw(hash_)) is not None]

    async def _send(self, waiting: Sequence[bytes]) -> None:
        # In any order: what comes before its turn is queued.
        shuffled = list(dict.fromkeys(waiting))
        self._rng.shuffle(shuffled)
        for raw in shuffled:
            try:
                await self.reader.rpc("eth_sendRawTransaction", "0x" + raw.hex())
            except AnsweredError:
                # Its nonce is used, or somebody else's bytes hold it and pay more.
                continue

    async def drop(self, wallets: Sequence[str], most: int) -> int:
        """
        Take transactions of wallets out of the pool; return how many.
        """
        pool = await self.reader.rpc("txpool_content")
        wanted = {wallet.lower() for wallet in wallets}
        hashes = [
            tx["hash"]
            for sender, of in pool["pending"].items()
            if sender.lower() in wanted
            for tx in of.values()
        ][:most]
        for hash_ in hashes:
            await self.reader.rpc("anvil_dropTransaction", hash_)
        return len(hashes)
