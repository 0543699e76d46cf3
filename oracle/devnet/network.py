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
from oracle.devnet.qrng import deploy_qrng, write_secrets
from oracle.errors import EndpointError, OracleError
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.request import State
from oracle.store.engine import Access, Database
from oracle.store.requests import count_by_state
from oracle.store.seal import PoolKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from oracle.chain.wallets import LocalSigner
    from oracle.database_url import DatabaseUrl
    from oracle.devnet.qrng import Qrng

CHAIN_ID = 31337
# The first and the last account of anvil's well-known mnemonic: one plays, one operates.
PLAYER_KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
OPERATOR_KEY = "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
RUNWAY = 512
# One block per second: on automine every transaction is a block, and a window passes in a burst.
MINING = ("--block-time", "1")
_READY_SECONDS = 60.0


def _silence(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """
    Where things are on a devnet.
    """

    rpc_url: str
    gateway_url: str
    coordinator: str
    dice: str
    #: Where API3's package is not installed, there is none.
    qrng: Qrng | None

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
            **({} if self.qrng is None else self.qrng.document()),
        }


class Ground:
    """
    What a service stands on: a chain (anvil) and a simulated QRNG service (the gateway).

    Guarantees: when the context is left, however, neither process is alive.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        mining: Sequence[str] = MINING,
        say: Callable[[str], None] = _silence,
    ) -> None:
        self.folder = folder
        self.say = say
        self._port = port
        self._mining = mining
        self._stack = AsyncExitStack()
        self.anvil: Process
        self.gateway: Process
        self.reader: Web3Reader
        self.rpc_url = ""
        self.websocket_url = ""
        self.gateway_url = ""

    async def __aenter__(self) -> Self:
        try:
            await self._bring_up()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _bring_up(self) -> None:
        port, gateway_port = self._port or free_port(), free_port()
        self.rpc_url = f"http://127.0.0.1:{port}"
        self.websocket_url = f"ws://127.0.0.1:{port}"
        self.gateway_url = f"http://127.0.0.1:{gateway_port}"
        self.say(f"anvil: a chain at {self.rpc_url}")
        self.anvil = await self._start(
            "anvil",
            [
                find_anvil(),
                *("--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID)),
                *self._mining,
                "--silent",
            ],
        )
        self.say("gateway: the API of ANU Quantum Numbers, with simulated entropy")
        self.gateway = await self._start(
            "gateway",
            [sys.executable, "-m", "oracle", "gateway", "--simulate", "--port", str(gateway_port)],
        )
        self.reader = Web3Reader(self.rpc_url)
        self._stack.push_async_callback(self.reader.close)
        await until(self._chain_answers, self.anvil)
        await until(self._gateway_answers, self.gateway)

    async def _start(self, name: str, argv: list[str]) -> Process:
        process = await Process.start(name, argv, self.folder)
        self._stack.push_async_callback(process.stop)
        return process

    async def _chain_answers(self) -> bool:
        try:
            return await self.reader.chain_id() == CHAIN_ID
        except EndpointError:
            return False

    async def _gateway_answers(self) -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                reply = await client.get(f"{self.gateway_url}/healthz")
            except httpx.HTTPError:
                return False
            return reply.is_success


class Devnet:
    """
    A coordinator on a ground, an example consumer, and a node that serves them.

    Guarantees: when the context is left, however, the node is not alive.
    """

    def __init__(  # noqa: PLR0913
        self,
        folder: Path,
        ground: Ground,
        *,
        window: int | None = None,
        runway: int = RUNWAY,
        endpoint: str | None = None,
        airnode: bool = False,
        database: DatabaseUrl | None = None,
    ) -> None:
        self.folder = folder
        #: Where the node has its store, if not in a file.
        self._database = database
        self._window = window
        self._runway = runway
        #: Where the node finds the chain, if not where everybody does.
        self._endpoint = endpoint or ground.rpc_url
        self._airnode = airnode
        self.ground = ground
        self.reader = ground.reader
        self.node: Process | None = None
        self.deployment: Deployment

    async def __aenter__(self) -> Self:
        try:
            await self.prepare()
            self.ground.say("node: draws entropy and commits the first seeds")
            await self.start_node()
            await self.until_committed()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.node is not None:
            await self.node.stop()

    async def prepare(self) -> None:
        """
        Deploy the contracts and write the node's configuration, keys and all.
        """
        coordinator, dice = await self._deploy()
        qrng = await self._deploy_qrng() if self._airnode else None
        self.deployment = Deployment(
            rpc_url=self.ground.rpc_url,
            gateway_url=self.ground.gateway_url,
            coordinator=coordinator,
            dice=dice,
            qrng=qrng,
        )
        self._configure()

    async def start_node(self, env: Mapping[str, str] | None = None) -> Process:
        """
        Start the node, or start it again on what it left behind.
        """
        self.node = await Process.start(
            "node",
            [sys.executable, "-m", "oracle", "run", "--config", "oracle.toml", "--log-json"],
            self.folder,
            env,
        )
        return self.node

    async def until_committed(self) -> None:
        """
        Wait for the first root on chain.
        """
        assert self.node is not None
        await until(self._has_seeds, self.node)

    async def _deploy(self) -> tuple[str, str]:
        player, operator = self.player(), from_private_key(OPERATOR_KEY)
        window = self._window or await transact.longest_window(self.reader)
        self.ground.say(
            f"contracts: QuantumCoordinator (window of {window} blocks) and DiceRoller"
        )
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

    async def _deploy_qrng(self) -> Qrng | None:
        qrng = await deploy_qrng(self.reader, self.player(), CHAIN_ID)
        if qrng is None:
            self.ground.say(
                "no AirnodeRrpV0: it comes with the development packages of a checkout"
            )
        else:
            self.ground.say("contracts: API3's AirnodeRrpV0, and a consumer of API3 QRNG")
            write_secrets(self.folder)
        return qrng

    def _configure(self) -> None:
        qrng, websocket = self.deployment.qrng, self.ground.websocket_url
        qrng_section = "" if qrng is None else qrng.configuration(self._endpoint, websocket)
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
database = "{"oracle.db" if self._database is None else self._database.text}"
poll_seconds = 0.1

[pool]
key_file = "pool.key"

[sources.anu]
kind = "anu-quantum-numbers"
url = "{self.deployment.gateway_url}/anu"
key_file = "anu.key"
requests_per_minute = 6000

[chains.devnet]
chain_id = {CHAIN_ID}
endpoints = ["{self._endpoint}"]
websocket = "{self.ground.websocket_url}"
coordinator = "{self.deployment.coordinator}"
devnet = true
runway = {self._runway}
wallet.key_file = "operator.key"
"""
            + qrng_section,
            encoding="utf-8",
        )

    @staticmethod
    def player() -> LocalSigner:
        """
        Return the account that deploys, owns and plays.
        """
        return from_private_key(PLAYER_KEY)

    async def until_settled(self, count: int) -> None:
        """
        Wait until the node has so many requests behind it.
        """
        assert self.node is not None

        async def settled() -> bool:
            place = self._database or self.folder / "oracle.db"
            database = await Database.open(place, Access.VISIT)
            try:
                async with database.read() as connection:
                    return (await count_by_state(connection)).get(State.DONE, 0) >= count
            finally:
                await database.close()

        await until(settled, self.node)

    async def _has_seeds(self) -> bool:
        answer = await self.reader.call(self.deployment.coordinator, CoordinatorProtocol.SEEDS)
        return CoordinatorProtocol.decode_counters(answer).committed > 0


async def until(condition: Callable[[], Awaitable[bool]], process: Process) -> None:
    """
    Wait for a condition that a process brings about.

    Raises `OracleError` when the process ends first, or a minute passes.
    """
    deadline = time.monotonic() + _READY_SECONDS
    while not await condition():
        process.check()
        if time.monotonic() > deadline:
            raise OracleError(
                f"{process.name} is not ready after {_READY_SECONDS:.0f} s; its last words:\n"
                f"{process.last_lines()}"
            )
        await asyncio.sleep(0.1)
