"""
A throw-away chain, on which the same measurement gives the same gas every time.
"""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.chain import transact
from oracle.chain.reader import Web3Reader
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import CHAIN_ID, PLAYER_KEY, until
from oracle.devnet.processes import Process, find_anvil, free_port
from oracle.errors import EndpointError
from oracle.evm import TRANSACTION_GAS_CAP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.artifacts import Artifact
    from oracle.chain.wallets import LocalSigner
    from oracle.evm import Receipt

HARDFORK = "osaka"
# Block numbers and times as a live chain has them, so that their zero bytes are, too; the
# clock's steps are fixed, because block hashes follow from it.
_GENESIS_NUMBER, _GENESIS_TIME, _BLOCK_SECONDS = 20_000_000, 1_800_000_000, 12


@dataclass(frozen=True, slots=True)
class Sent:
    """
    A mined transaction and the data that it was called with.
    """

    receipt: Receipt
    data: bytes


class Chain:
    """
    An anvil of its own that mines every transaction at once.
    """

    def __init__(self, reader: Web3Reader, accounts: list[str]) -> None:
        self.reader = reader
        self.deployer: LocalSigner = from_private_key(PLAYER_KEY)
        self.user, self.operator, self.sponsor_wallet = accounts[:3]

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Chain]:
        """
        Start the chain on a free port.

        Guarantees: when the context is left, however, its process is not alive.
        """
        port = free_port()
        argv = [find_anvil(), "--host", "127.0.0.1", "--port", str(port)]
        argv += ["--chain-id", str(CHAIN_ID), "--hardfork", HARDFORK, "--silent"]
        # Nobody asks for old states, and to write them to the disk takes most of the time.
        argv += ["--prune-history"]
        argv += ["--number", str(_GENESIS_NUMBER), "--timestamp", str(_GENESIS_TIME)]
        with tempfile.TemporaryDirectory(prefix="oracle-bench-") as folder:
            process = await Process.start("anvil", argv, Path(folder))
            reader = Web3Reader(f"http://127.0.0.1:{port}")

            async def answers() -> bool:
                try:
                    return await reader.chain_id() == CHAIN_ID
                except EndpointError:
                    return False

            try:
                await until(answers, process)
                await reader.rpc("anvil_setBlockTimestampInterval", _BLOCK_SECONDS)
                yield cls(reader, await reader.rpc("eth_accounts"))
            finally:
                await reader.close()
                await process.stop()

    async def deploy(self, artifact: Artifact, arguments: bytes = b"") -> str:
        """
        Create a contract; return its address.
        """
        address, _ = await transact.deploy(self.reader, self.deployer, artifact, arguments)
        return address

    async def send(self, sender: str, to: str, data: bytes, value: int = 0) -> Sent:
        """
        Send from one of anvil's own accounts with all the gas that a transaction may have.

        Raises `ChainError` when it reverts.
        """
        # EIP-7966: answered once it is mined.
        mined = await self.reader.rpc(
            "eth_sendTransactionSync",
            {
                "from": sender,
                "to": to,
                "data": "0x" + data.hex(),
                "value": hex(value),
                "gas": hex(TRANSACTION_GAS_CAP),
            },
        )
        receipt = await transact.wait_for(self.reader, bytes.fromhex(mined["transactionHash"][2:]))
        return Sent(receipt, data)

    async def mine(self, blocks: int) -> None:
        """
        Mine empty blocks.
        """
        await self.reader.rpc("anvil_mine", hex(blocks), hex(_BLOCK_SECONDS))
