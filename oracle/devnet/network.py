"""
Bringing a devnet up: anvil, gateway, contracts, and a node that serves them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from eth_abi.abi import encode

from oracle import artifacts
from oracle.chain import transact
from oracle.chain.reader import Web3Reader
from oracle.chain.wallets import from_private_key
from oracle.devnet.processes import Process, find_anvil, free_port
from oracle.errors import EndpointError, OracleError
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.store.seal import PoolKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from oracle.chain.wallets import LocalSigner

CHAIN_ID = 31337
# The first and the last account of anvil's well-known mnemonic: one plays, one operates.
PLAYER_KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
OPERATOR_KEY = "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
RUNWAY = 512
_READY_SECONDS = 60.0
_BLOCK_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """
    Where things are on a devnet.
    """

    rpc_url: str
    gateway_url: str
    coordinator: str
    dice: str

    def document(self) -> dict[str, object]:
        """
        Return what `oracle devnet` writes for others to read.
        """
        return {
            "chainId": CHAIN_ID,
            "rpcUrl": self.rpc_url,
            "gatewayUrl": self.gateway_url,
            "coordinator": self.coordinator,
            "dice": self.dice,
        }


class Devnet:
    """
    Processes that live as long as the context.

    Guarantees: when the context is left, however, no process of it is alive and its folder may be
    removed.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self.folder = folder
        self._port = port
        self._say = say or (lambda _: None)
        self._stack = AsyncExitStack()
        self.anvil: Process
        self.gateway: Process
        self.node: Process | None = None
        self.reader: Web3Reader
        self.deployment: Deployment

    async def __aenter__(self) -> Self:
        try:
            await self._bring_up()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.node is not None:
            await self.node.stop()
        await self._stack.aclose()

    async def _bring_up(self) -> None:
        port = self._port or free_port()
        gateway_port = free_port()
        rpc_url = f"http://127.0.0.1:{port}"
        gateway_url = f"http://127.0.0.1:{gateway_port}"
        self._say("anvil: a chain with one block per second")
        self.anvil = await self._start(
            "anvil",
            [
                find_anvil(),
                *("--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID)),
                *("--block-time", str(_BLOCK_SECONDS), "--silent"),
            ],
        )
        self._say("gateway: the API of ANU Quantum Numbers, with simulated entropy")
        self.gateway = await self._start(
            "gateway",
            [sys.executable, "-m", "oracle", "gateway", "--simulate", "--port", str(gateway_port)],
        )
        self.reader = Web3Reader(rpc_url)
        self._stack.push_async_callback(self.reader.close)
        await self._until(self._chain_answers, self.anvil)
        coordinator, dice = await self._deploy()
        self.deployment = Deployment(
            rpc_url=rpc_url, gateway_url=gateway_url, coordinator=coordinator, dice=dice
        )
        self._configure()
        await self._until(self._gateway_answers, self.gateway)
        self._say("node: draws entropy and commits the first seeds")
        await self.start_node()
        await self._until(self._seeds_are_committed, self.anvil)

    async def start_node(self, env: dict[str, str] | None = None) -> None:
        """
        Start the node, or start it again on what it left behind.
        """
        self.node = await Process.start(
            "node",
            [sys.executable, "-m", "oracle", "run", "--config", "oracle.toml", "--log-json"],
            self.folder,
            env,
        )

    async def _start(self, name: str, argv: list[str]) -> Process:
        process = await Process.start(name, argv, self.folder)
        self._stack.push_async_callback(process.stop)
        return process

    async def _deploy(self) -> tuple[str, str]:
        player, operator = self.player(), from_private_key(OPERATOR_KEY)
        window = await transact.longest_window(self.reader)
        self._say(f"contracts: QuantumCoordinator (window of {window} blocks) and DiceRoller")
        config = transact.CoordinatorConfig(
            owner=player.address, operator=operator.address, window=window
        )
        coordinator, _ = await transact.deploy(
            self.reader, player, artifacts.load("QuantumCoordinator"), config.encode()
        )
        dice, _ = await transact.deploy(
            self.reader, player, artifacts.load("DiceRoller"), encode(["address"], [coordinator])
        )
        return coordinator, dice

    def _configure(self) -> None:
        for name, secret in (
            ("pool.key", PoolKey.generate()),
            ("operator.key", OPERATOR_KEY),
            ("anu.key", "simulated"),
        ):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(secret + "\n", encoding="ascii")
        (self.folder / "oracle.toml").write_text(
            f"""\
database = "oracle.db"
poll_seconds = 0.1

[pool]
key_file = "pool.key"

[sources.anu]
kind = "anu-quantum-numbers"
url = "{self.deployment.gateway_url}/anu"
key_file = "anu.key"

[chains.devnet]
chain_id = {CHAIN_ID}
endpoints = ["{self.deployment.rpc_url}"]
coordinator = "{self.deployment.coordinator}"
devnet = true
runway = {RUNWAY}
wallet.key_file = "operator.key"
""",
            encoding="utf-8",
        )

    @staticmethod
    def player() -> LocalSigner:
        """
        Return the account that deploys, owns and plays.
        """
        return from_private_key(PLAYER_KEY)

    async def _chain_answers(self) -> bool:
        try:
            return (await self.reader.block()).number > 0
        except EndpointError:
            return False

    async def _gateway_answers(self) -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                reply = await client.get(f"{self.deployment.gateway_url}/healthz")
            except httpx.HTTPError:
                return False
            return reply.is_success

    async def _seeds_are_committed(self) -> bool:
        assert self.node is not None
        self.node.check()
        answer = await self.reader.call(self.deployment.coordinator, CoordinatorProtocol.SEEDS)
        return CoordinatorProtocol.decode_counters(answer).committed > 0

    @staticmethod
    async def _until(condition: Callable[[], Awaitable[bool]], process: Process) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not await condition():
            process.check()
            if time.monotonic() > deadline:
                raise OracleError(
                    f"{process.name} is not ready after {_READY_SECONDS:.0f} s: see {process.log}"
                )
            await asyncio.sleep(0.1)
