"""
A chain that mines when told to, and a node whose passes are made by hand.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from oracle.chain import transact
from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.audit import Report, audit
from oracle.devnet.demo import roll_call
from oracle.devnet.network import Devnet, Ground
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

    from oracle.database_url import DatabaseUrl
    from oracle.evm import Receipt
    from oracle.protocols.coordinator import Counters
    from oracle.request import TrackedRequest
    from oracle.service import Service

# All of a session's blocks stay in memory: what anvil has moved to disk, as it does after some
# hundreds, it rolls back to without the contracts' code.
STATES = ("--prune-history", "100000")


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
        for _ in range(times):
            await walk(self.service, await self.service.reader.block())

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


@pytest_asyncio.fixture(loop_scope="session")
async def new_bench(
    ground: Ground, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    """
    Make a node on contracts of its own, with its first seeds committed.
    """
    snapshot = await ground.reader.rpc("evm_snapshot")
    async with AsyncExitStack() as stack:

        async def make(
            *, window: int = 256, database: DatabaseUrl | None = None, **chain: object
        ) -> Bench:
            await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
            await ground.reader.rpc("anvil_mine", "0x2")
            devnet = Devnet(tmp_path, ground, window=window, database=database)
            await devnet.prepare()
            await ground.reader.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
            path = tmp_path / "oracle.toml"
            lines = [
                line
                for line in path.read_text(encoding="utf-8").splitlines()
                if line.split(" = ")[0] not in chain
            ]
            lines += [f"{name} = {value}" for name, value in chain.items()]
            path.write_text("\n".join(lines), encoding="utf-8")
            lay_database(tmp_path / "oracle.db")
            runner = await compose(Settings.load(path), stack)
            [link] = runner.links
            service = await link.connect(runner.database, runner.pool)
            await refill(service.database, service.pool, runner.supplies, 512)
            await refill(service.database, service.pool, runner.supplies, 512)
            bench = Bench(devnet=devnet, service=service, stack=stack)
            await bench.walk(2)
            await bench.mine()
            await bench.walk()
            counters = await bench.counters()
            assert counters.committed >= 256
            await bench.mine(service.depth)
            await bench.walk()
            return bench

        yield make
    await ground.reader.rpc("evm_revert", snapshot)


@pytest_asyncio.fixture(loop_scope="session")
async def bench(new_bench: Callable[..., Awaitable[Bench]]) -> Bench:
    return await new_bench()
