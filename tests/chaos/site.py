"""
What a run stands on: a chain, QRNG services, contracts, and configured nodes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx

from oracle import artifacts
from oracle.chain import transact
from oracle.chain.reader import Web3Reader
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import CHAIN_ID, OPERATOR_KEY, PLAYER_KEY, until
from oracle.devnet.processes import Process, find_anvil, free_port
from oracle.devnet.qrng import deploy_qrng, write_secrets
from oracle.errors import ConfigError, EndpointError, OracleError
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.store.seal import PoolKey
from oracle.verify.events import domain_of
from tests.chaos.chain import Chain
from tests.chaos.nodes import Node
from tests.chaos.proxy import Proxy
from tests.chaos.reading import Tally
from tests.chaos.requesters import Requesters
from tests.chaos.schedule import ENDPOINTS
from tests.chaos.witness import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from oracle.devnet.qrng import Qrng
    from tests.chaos.postgres import Server
    from tests.chaos.schedule import Fault, Plan
    from tests.chaos.witness import Place

# Blocks on top of a block before a node counts it as settled.
DEPTH = 2
RUNWAY = 1024
# Below the deepest reorg nothing of the set-up may lie.
GROUND_BLOCKS = 80
_SETTING_UP = 0.2
_STATES = 256


class Site:
    """
    All processes of a run.

    Guarantees: when the context is left, however, none of them is alive.
    """

    def __init__(
        self, plan: Plan, folder: Path, server: Server | None, say: Callable[[str], None]
    ) -> None:
        """
        Without a server the one node has a SQLite file.
        """
        self.plan = plan
        self.folder = folder
        self.server = server
        self.say = say
        self.stack = AsyncExitStack()
        self.nodes: list[Node] = []
        self.reader: Web3Reader
        self.chain: Chain
        self.proxy: Proxy
        self.watcher: Watcher
        self.requesters: Requesters
        self.coordinator = ""
        self.window = 0
        self.tally: Tally
        self.qrng: Qrng
        self._anvil: Process
        self._gateway: Process
        self._gateway_port = free_port()
        self._gateway_down_until: int | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await self.stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    @property
    def wallets(self) -> list[str]:
        """
        The wallets that nodes send from.
        """
        return [from_private_key(OPERATOR_KEY).address, *self.requesters.sponsor_wallets]

    async def _build(self) -> None:
        self.say("anvil, the gateway and the proxy between them and the nodes")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self._anvil = await Process.start(
            "anvil",
            [
                *(find_anvil(), "--host", "127.0.0.1", "--port", str(port)),
                *("--chain-id", str(CHAIN_ID), "--no-mining", "--silent"),
                # What it keeps on disk it does not find again after a rollback: its state is then
                # empty, coordinator and all. In memory there is enough for the deepest reorg.
                *("--prune-history", str(_STATES)),
            ],
            self.folder,
        )
        self.stack.push_async_callback(self._anvil.stop)
        # A loaded machine is no fault of the schedule's.
        self.reader = Web3Reader(url, timeout=120)
        self.stack.push_async_callback(self.reader.close)
        self.stack.push_async_callback(self._stop_gateway)
        await self.start_gateway()
        await until(self._chain_answers, self._anvil)
        await until(self._gateway_answers, self._gateway)
        mining = asyncio.create_task(self._mine_for_now())
        try:
            await self._deploy()
        finally:
            mining.cancel()
        await self._make_nodes(url)
        self.tally = Tally(self.reader, self.coordinator, self.qrng.rrp, GROUND_BLOCKS)

    async def _mine_for_now(self) -> None:
        while True:
            await self.reader.rpc("evm_mine")
            await asyncio.sleep(_SETTING_UP)

    async def _deploy(self) -> None:
        player, operator = from_private_key(PLAYER_KEY), from_private_key(OPERATOR_KEY)
        self.window = await transact.longest_window(self.reader)
        self.say(f"contracts: a coordinator with a window of {self.window} blocks, AirnodeRrpV0")
        config = transact.CoordinatorConfig(
            owner=player.address, operator=operator.address, window=self.window
        )
        self.coordinator, _ = await transact.deploy(
            self.reader, player, artifacts.load("QuantumCoordinator"), config.encode()
        )
        qrng = await deploy_qrng(self.reader, player, CHAIN_ID)
        if qrng is None:
            raise ConfigError(
                "AirnodeRrpV0 is not here: run scripts/install.sh dev, which brings API3's package"
            )
        self.qrng = qrng
        self.requesters = Requesters(self.reader, self.plan.seed)
        await self.requesters.settle_in(player, self.coordinator, qrng.rrp)

    async def _make_nodes(self, url: str) -> None:
        self.watcher = Watcher(domain_of(CHAIN_ID, self.coordinator), self._still_open)
        self.chain = Chain(self.reader, self._raw, self.plan.seed, DEPTH)
        self.proxy = Proxy(url, self.gateway_url, self.watcher, self.plan.seed)
        await self.stack.enter_async_context(self.proxy)
        key = PoolKey.generate()
        for number in range(self.plan.nodes):
            folder = self.folder / f"node-{number}"
            folder.mkdir()
            node = Node(folder.name, folder)
            self._configure(node, key)
            self.nodes.append(node)
            self.stack.push_async_callback(node.stop)

    async def _still_open(self, place: Place) -> bool:
        return await self.chain.still_open(place)

    def _raw(self, hash_: bytes) -> bytes | None:
        return self.watcher.raw.get(hash_) or self.requesters.raw.get(hash_)

    def _configure(self, node: Node, key: str) -> None:
        write_secrets(node.folder)
        for name, secret in (("operator.key", OPERATOR_KEY), ("pool.key", key), ("anu.key", "x")):
            path = node.folder / name
            path.touch(mode=0o600)
            path.write_text(secret + "\n", encoding="ascii")
        database = "oracle.db" if self.server is None else self.server.url
        # Two names of one host are two opinions to a node, and have faults of their own.
        here = (self.proxy.url, self.proxy.url.replace("127.0.0.1", "localhost"))
        urls = [f"{url}/{node.name}/{name}" for url, name in zip(here, ENDPOINTS, strict=True)]
        endpoints = json.dumps(urls)
        (node.folder / "oracle.toml").write_text(
            f"""\
database = "{database}"
poll_seconds = 0.1

[pool]
key_file = "pool.key"
sources_per_seed = 1

[sources.anu]
kind = "anu-quantum-numbers"
url = "{self.proxy.url}/gateway/anu"
key_file = "anu.key"
requests_per_minute = 6000

[sources.open]
kind = "qrng-open-api"
url = "{self.proxy.url}/gateway/qrng-open-api/v1"
key_file = "anu.key"

[chains.devnet]
chain_id = {CHAIN_ID}
endpoints = {endpoints}
trusted = false
coordinator = "{self.coordinator}"
devnet = true
confirmations = {DEPTH}
runway = {RUNWAY}
wallet.key_file = "operator.key"

[airnode]
mnemonic_file = "mnemonic.json"
password_file = "mnemonic.password"

[airnode.chains.devnet]
chain_id = {CHAIN_ID}
endpoints = {endpoints}
trusted = false
rrp = "{self.qrng.rrp}"
devnet = true
confirmations = {DEPTH}
start_block = 0
""",
            encoding="utf-8",
        )

    async def until_ready(self) -> None:
        """
        Start the nodes and wait until all seeds of the runway are committed.
        """
        self.say(f"{len(self.nodes)} node(s): drawing entropy and committing seeds")
        for node in self.nodes:
            await node.start()
        for _ in range(600):
            await self.reader.rpc("evm_mine")
            for node in self.nodes:
                if not node.running:
                    raise OracleError(f"{node.name} does not start: {node.last_words()}")
            if await self._committed() >= RUNWAY:
                break
            await asyncio.sleep(_SETTING_UP)
        else:
            raise OracleError(f"no seeds were committed: {self.nodes[0].last_words()}")
        await self.reader.rpc("anvil_mine", hex(GROUND_BLOCKS))
        self.chain.height = (await self.reader.block()).number
        self.chain.floor = self.chain.height - GROUND_BLOCKS

    async def _committed(self) -> int:
        answer = await self.reader.call(self.coordinator, CoordinatorProtocol.SEEDS)
        return CoordinatorProtocol.decode_counters(answer).committed

    @property
    def gateway_url(self) -> str:
        """
        Where the QRNG services are, without the proxy.
        """
        return f"http://127.0.0.1:{self._gateway_port}"

    async def start_gateway(self) -> None:
        """
        Start the QRNG services.
        """
        argv = [sys.executable, "-m", "oracle", "gateway", "--simulate"]
        argv += ["--port", str(self._gateway_port)]
        self._gateway = await Process.start("gateway", argv, self.folder)
        self._gateway_down_until = None

    async def end_gateway(self, fault: Fault) -> None:
        """
        Kill the QRNG services for a while.
        """
        await self._gateway.kill()
        self._gateway_down_until = fault.end

    async def keep_gateway(self, tick: int) -> None:
        """
        Start the QRNG services again when it is time.
        """
        if self._gateway_down_until is not None and self._gateway_down_until <= tick:
            await self.start_gateway()

    async def calm(self) -> None:
        """
        Have everything up, and nothing in the way.
        """
        await self.proxy.calm()
        if self.server is not None:
            await self.server.calm()
        if self._gateway_down_until is not None:
            await self.start_gateway()
        for node in self.nodes:
            await node.calm()

    async def _stop_gateway(self) -> None:
        await self._gateway.stop()

    async def _chain_answers(self) -> bool:
        try:
            return await self.reader.chain_id() == CHAIN_ID
        except EndpointError:
            return False

    async def _gateway_answers(self) -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{self.gateway_url}/healthz")).is_success
            except httpx.HTTPError:
                return False
