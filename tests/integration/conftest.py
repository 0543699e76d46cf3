"""
A chain that mines when told to, and a node whose passes are made by hand.
"""

from __future__ import annotations

import os
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from oracle.chain import transact
from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.audit import Report, audit
from oracle.devnet.demo import roll_call
from oracle.devnet.network import Deployment, Devnet, Ground
from oracle.entropy import merkle
from oracle.protocols.coordinator import CoordinatorProtocol, Reveal
from oracle.request import RandomnessRequest, State
from oracle.runner import walk
from oracle.steps.refill import refill
from oracle.store import batches, requests
from tests.migrated import lay_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    import pytest

    from oracle.coordinator_service import Service
    from oracle.database_url import DatabaseUrl
    from oracle.evm import Receipt
    from oracle.protocols.coordinator import Counters
    from oracle.request import TrackedRequest
    from oracle.runner import Runner

# All of a session's blocks stay in memory: what anvil has moved to disk, as it does after some
# hundreds, it rolls back to without the contracts' code.
STATES = ("--prune-history", "100000")
# The window of a node that is not told another one.
WINDOW = 256


@dataclass
class Bench:
    """
    A devnet without a process for the node: `walk` is one pass of it.
    """

    devnet: Devnet
    service: Service
    stack: AsyncExitStack

    async def rpc(self, method: str, *params: object) -> Any:
        return await self.devnet.reader.rpc(method, *params)

    async def mine(self, blocks: int = 1) -> None:
        await self.rpc("anvil_mine", hex(blocks))

    async def walk(self, times: int = 1) -> None:
        """
        Make so many passes; as the runner, no other one under a head where nothing moved.
        """
        for _ in range(times):
            if not await walk(self.service, await self.service.reader.block()):
                return

    async def roll(self) -> RandomnessRequest:
        """
        Roll dice and mine the block that holds the roll.
        """
        return self.made(await self.mined(await self.send_roll()))

    async def send_roll(self) -> bytes:
        return await roll_call(self.devnet)

    async def mined(self, transaction_hash: bytes) -> Receipt:
        await self.mine()
        return await transact.wait_for(self.devnet.reader, transaction_hash)

    def made(self, receipt: Receipt) -> RandomnessRequest:
        events = [
            self.service.protocol.decode(item)
            for item in receipt.logs
            if item.address == self.service.contract
        ]
        [request] = [event for event in events if isinstance(event, RandomnessRequest)]
        return request

    async def tracked(self, request: RandomnessRequest) -> TrackedRequest:
        async with self.service.database.read() as connection:
            found = await requests.get(connection, request.key)
        assert found is not None
        return found

    async def state(self, request: RandomnessRequest) -> State:
        return (await self.tracked(request)).state

    async def state_or_none(self, request: RandomnessRequest) -> State | None:
        async with self.service.database.read() as connection:
            found = await requests.get(connection, request.key)
        return found.state if found else None

    async def counters(self) -> Counters:
        answer = await self.service.reader.call(self.service.contract, CoordinatorProtocol.SEEDS)
        return CoordinatorProtocol.decode_counters(answer)

    async def fulfill_as_stranger(self, request: RandomnessRequest) -> None:
        """
        Serve a request of the first batch as whoever knows its seed could.
        """
        service = self.service
        place = (service.chain_id, service.contract)
        async with service.database.read() as connection:
            seed = await service.pool.seed(connection, *place, request.seed_index)
            batch = await batches.get(connection, *place, 0)
        assert batch is not None
        proof = merkle.proof(batch.leaves, request.seed_index, 1)
        data = service.protocol.encode_fulfill([Reveal(request=request, seed=seed)], proof)
        player = self.devnet.player()
        await self.mined(
            await transact.send_transaction(
                self.devnet.reader, player, to=service.contract, data=data
            )
        )

    async def audit(self) -> Report:
        deployment = self.devnet.deployment
        return await audit(self.devnet.reader, deployment.coordinator, deployment.dice)

    async def fork(self, depth: int) -> None:
        """
        Take blocks away, and make whatever replaces them differ.
        """
        await self.rpc("anvil_rollback", depth)
        await self.rpc("anvil_setCoinbase", "0x" + os.urandom(20).hex())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with Ground(tmp_path_factory.mktemp("ground"), mining=STATES) as running:
        yield running


@dataclass
class Beginning:
    """
    A node that has committed its first seeds, and stopped: its files, and its chain's head.
    """

    folder: Path
    deployment: Deployment
    head: bytes


class Beginnings:
    """
    The ground's last beginning, for as long as the chain has nothing after it.
    """

    def __init__(self, ground: Ground, folders: pytest.TempPathFactory) -> None:
        self._ground = ground
        self._folders = folders
        self._last: Beginning | None = None

    async def get(self) -> Beginning:
        head = await self._ground.reader.block()
        if self._last is None or self._last.head != head.hash:
            self._last = await self._make(self._folders.mktemp("beginning"))
        return self._last

    async def _make(self, folder: Path) -> Beginning:
        async with AsyncExitStack() as stack:
            bench = await begin(self._ground, folder, WINDOW, {}, stack)
        head = await self._ground.reader.block()
        return Beginning(folder, bench.devnet.deployment, head.hash)


async def begin(
    ground: Ground,
    folder: Path,
    window: int,
    chain: dict[str, object],
    stack: AsyncExitStack,
    database: DatabaseUrl | None = None,
) -> Bench:
    """
    Deploy contracts, and have a new node commit its first seeds.
    """
    await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    await ground.reader.rpc("anvil_mine", "0x2")
    devnet = Devnet(folder, ground, window=window, database=database)
    await devnet.prepare()
    lay_database(folder / "oracle.db")
    bench, runner = await start(devnet, chain, stack)
    await refill(bench.service.database, bench.service.pool, runner.supplies, 512)
    await refill(bench.service.database, bench.service.pool, runner.supplies, 512)
    await bench.walk(2)
    await bench.mine()
    await bench.walk()
    counters = await bench.counters()
    assert counters.committed >= 256
    await bench.mine(bench.service.depth)
    await bench.walk()
    return bench


async def start(
    devnet: Devnet, chain: dict[str, object], stack: AsyncExitStack
) -> tuple[Bench, Runner]:
    """
    Start a node in this process, with some of its chain's settings changed.
    """
    await devnet.reader.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    path = devnet.folder / "oracle.toml"
    lines = [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.split(" = ")[0] not in chain
    ]
    lines += [f"{name} = {value}" for name, value in chain.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    runner = await compose(Settings.load(path), stack)
    [link] = runner.links
    service = await link.connect(runner.database, runner.pool)
    return Bench(devnet=devnet, service=service, stack=stack), runner


async def forget(ground: Ground) -> None:
    """
    Take from the chain what going back to a snapshot leaves there.
    """
    await ground.reader.rpc("anvil_dropAllTransactions")
    head = await ground.reader.block()
    await ground.reader.rpc("anvil_setNextBlockBaseFeePerGas", hex(head.base_fee))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def beginnings(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Beginnings:
    return Beginnings(ground, tmp_path_factory)


@pytest_asyncio.fixture(loop_scope="session")
async def new_bench(
    ground: Ground, beginnings: Beginnings, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    """
    Make a node on contracts of its own, with its first seeds committed.
    """
    beginning = await beginnings.get()
    snapshot = await ground.reader.rpc("evm_snapshot")
    async with AsyncExitStack() as stack:

        async def make(
            *, window: int = WINDOW, database: DatabaseUrl | None = None, **chain: object
        ) -> Bench:
            if window != WINDOW or database is not None or "runway" in chain:
                return await begin(ground, tmp_path, window, chain, stack, database)
            await forget(ground)
            shutil.copytree(beginning.folder, tmp_path, dirs_exist_ok=True)
            devnet = Devnet(tmp_path, ground, window=window)
            devnet.deployment = beginning.deployment
            bench, _ = await start(devnet, chain, stack)
            await bench.mine(1 + bench.service.depth)
            await bench.walk()
            return bench

        yield make
    await ground.reader.rpc("evm_revert", snapshot)


@pytest_asyncio.fixture(loop_scope="session")
async def bench(new_bench: Callable[..., Awaitable[Bench]]) -> Bench:
    return await new_bench()
