"""
A coordinator whose node does not run, and its operator and owner, who act by verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from oracle.chain import transact
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import OPERATOR_KEY, PLAYER_KEY, Devnet
from oracle.protocols.coordinator import CoordinatorProtocol
from tests import verbs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from oracle.chain.reader import Web3Reader
    from oracle.devnet.network import Ground
    from tests.verbs import Said

ETHER = 10**18
COLD = "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF"
COLD_KEY = "00" * 31 + "02"
OPERATOR = from_private_key(OPERATOR_KEY).address
OWNER = from_private_key(PLAYER_KEY).address
_RING_SLOT = 5


async def oracle(*arguments: object) -> Said:
    """
    Run a verb; it repeats no key.
    """
    said = await verbs.oracle(*arguments)
    for secret in (OPERATOR_KEY, PLAYER_KEY, COLD_KEY):
        assert secret not in said.out + said.err
    return said


@dataclass
class Desk:
    """
    A coordinator with 512 seeds, the configuration of a node that does not run, and its chain.
    """

    devnet: Devnet
    config: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def reader(self) -> Web3Reader:
        return self.devnet.reader

    @property
    def contract(self) -> str:
        return self.devnet.deployment.coordinator

    async def owner(self, *arguments: object) -> Said:
        return await self.by(PLAYER_KEY, *arguments)

    async def operator(self, *arguments: object) -> Said:
        return await self.by(None, *arguments)

    async def by(self, key: str | None, *arguments: object) -> Said:
        """
        Run a verb of the group with a key of the environment, or with the configured wallet.
        """
        with self.monkeypatch.context() as patch:
            if key is not None:
                patch.setenv("ORACLE_WALLET_KEY", key)
            return await oracle("coordinator", *arguments, "--config", self.config)

    async def shown(self) -> Any:
        said = await oracle("coordinator", "show", "--config", self.config, "--json")
        assert said.code == 0, said.err
        return said.document


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    snapshot = await ground.reader.rpc("evm_snapshot")
    await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    await ground.reader.rpc("anvil_mine", "0x2")
    devnet = Devnet(tmp_path, ground, window=256)
    await devnet.prepare()
    roots = [bytes([1]) * 32, bytes([2]) * 32]
    data = CoordinatorProtocol.encode_commit(0, roots)
    sent = await transact.send_transaction(
        ground.reader, from_private_key(OPERATOR_KEY), to=devnet.deployment.coordinator, data=data
    )
    await transact.wait_for(ground.reader, sent)
    yield Desk(devnet, tmp_path / "oracle.toml", monkeypatch)
    await ground.reader.rpc("evm_revert", snapshot)


async def earn(reader: Web3Reader, contract: str, amounts: dict[int, int]) -> None:
    """
    Leave earnings in slots of the ring, as settled requests do.
    """
    for slot, amount in amounts.items():
        await reader.rpc(
            "anvil_setStorageAt", contract, hex(_RING_SLOT + slot), f"0x{1 + amount:064x}"
        )
    held = await reader.balance(contract)
    await reader.rpc("anvil_setBalance", contract, hex(held + sum(amounts.values())))
