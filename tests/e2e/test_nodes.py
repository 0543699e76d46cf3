"""
Real nodes that share a database: work that changes hands, whatever happens to who had it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from click.testing import CliRunner
from sqlalchemy import func, select

from oracle.cli.nodes import nodes as cli_nodes
from oracle.devnet.audit import audit
from oracle.devnet.demo import Progress, follow, roll
from oracle.devnet.network import Devnet, Ground
from oracle.devnet.processes import Process
from oracle.request import State
from oracle.store.engine import Access, Database
from oracle.store.leases import POOL
from oracle.store.requests import count_by_state
from oracle.store.schema import leases, nodes, transactions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from oracle.database_url import DatabaseUrl
    from tests.postgres import Postgres

pytestmark = pytest.mark.e2e

PATIENCE = 60


class Service:
    """
    Nodes on one database, each with a folder of its own.
    """

    def __init__(self, folder: Path, ground: Ground, url: DatabaseUrl) -> None:
        self.folder = folder
        self.url = url
        self.devnet = Devnet(folder, ground)
        self.nodes: dict[str, Process] = {}

    async def prepare(self) -> None:
        await self.devnet.prepare()
        path = self.folder / "oracle.toml"
        text = path.read_text(encoding="utf-8")
        assert 'database = "oracle.db"' in text
        text = text.replace('database = "oracle.db"', f'database = "{self.url.text}"')
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    async def start(self, name: str) -> Process:
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            for path in self.folder.glob("*.*"):
                if path.is_file():
                    shutil.copy(path, folder)
        argv = [sys.executable, "-m", "oracle", "run", "--config", "oracle.toml", "--log-json"]
        self.nodes[name] = await Process.start(f"node-{name}", argv, folder)
        self.devnet.node = self.nodes[name]
        return self.nodes[name]

    async def close(self) -> None:
        for node in self.nodes.values():
            if node.running:
                os.kill(node.pid, signal.SIGCONT)
            await node.stop()

    async def holders(self) -> dict[str, str]:
        """
        Return which node holds what.
        """
        database = await Database.open(self.url, Access.READ)
        try:
            async with database.read() as connection:
                clock = await database.clock(connection)
                rows = await connection.execute(
                    select(leases.c.name, nodes.c.place)
                    .join(nodes, nodes.c.id == leases.c.holder)
                    .where(leases.c.expires_at > clock)
                )
                places = {row.name: row.place for row in rows}
        finally:
            await database.close()
        pids = {str(node.pid): name for name, node in self.nodes.items()}
        return {
            what.partition(":")[0]: pids[place.rpartition(":")[2]]
            for what, place in places.items()
            if place.rpartition(":")[2] in pids
        }

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not await condition():
            for node in self.nodes.values():
                if node.exit_code not in (-signal.SIGKILL, 0, None):
                    node.check()
            assert time.monotonic() < deadline, "\n".join(
                node.last_lines(20) for node in self.nodes.values()
            )
            await asyncio.sleep(0.1)

    async def until_held(self, **who: str) -> None:
        async def held() -> bool:
            holders = await self.holders()
            return all(holders.get(what) == name for what, name in who.items())

        await self.until(held)

    async def until_done(self, count: int) -> None:
        async def done() -> bool:
            database = await Database.open(self.url, Access.READ)
            try:
                async with database.read() as connection:
                    return (await count_by_state(connection)).get(State.DONE, 0) >= count
            finally:
                await database.close()

        await self.until(done)

    async def check(self, count: int) -> None:
        """
        Every request once, with the right value, and no nonce skipped or used twice.
        """
        report = await audit(
            self.devnet.reader, self.devnet.deployment.coordinator, self.devnet.deployment.dice
        )
        assert report.clean
        assert report.fulfilled == count
        database = await Database.open(self.url, Access.READ)
        try:
            async with database.read() as connection:
                found = list(
                    await connection.scalars(
                        select(transactions.c.nonce).order_by(transactions.c.nonce)
                    )
                )
                [highest] = await connection.scalars(select(func.max(transactions.c.nonce)))
        finally:
            await database.close()
        assert found == list(range(found[0], highest + 1))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with Ground(
        tmp_path_factory.mktemp("ground"), mining=("--block-time", "0.3")
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def service(ground: Ground, postgres: Postgres, tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(tmp_path, ground, postgres.create())
    await service.prepare()
    try:
        yield service
    finally:
        await service.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_work_is_shared_paused_killed_and_handed_over_and_every_request_served_once(
    service: Service, postgres: Postgres
) -> None:
    a = await service.start("a")
    await service.devnet.until_committed()
    b = await service.start("b")

    async def is_shared() -> bool:
        return set((await service.holders()).values()) == {"a", "b"}

    await service.until(is_shared)
    await service.until_held(native="b", pool="a")
    progress = Progress(total=9)

    # Paused in the middle of its work, and woken when another one has done it.
    await roll(service.devnet, progress, 3)
    os.kill(b.pid, signal.SIGSTOP)
    await service.until_held(native="a")
    await follow(service.devnet, progress, 3)
    os.kill(b.pid, signal.SIGCONT)

    # Killed, and everything that it did is done by the other one.
    await roll(service.devnet, progress, 3)
    await a.kill()
    await service.until_held(native="b", pool="b")
    await follow(service.devnet, progress, 3)

    # The database is restarted under it; then it is asked to end and gives its work back at once.
    await asyncio.to_thread(postgres.control, "restart", "-m", "immediate")
    await roll(service.devnet, progress, 3)
    await follow(service.devnet, progress, 3)
    await service.start("a")
    await service.until(is_shared)
    assert await b.stop() == 0
    await service.until_held(native="a", pool="a")
    arguments = ["--config", str(service.folder / "oracle.toml")]
    shown = await asyncio.to_thread(CliRunner().invoke, cli_nodes, arguments)
    assert f":{service.nodes['a'].pid}" in shown.output
    assert POOL in shown.output
    assert "nobody does" not in shown.output
    await service.until_done(9)
    await service.check(9)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_node_with_the_epoch_file_of_another_is_refused(service: Service) -> None:
    await service.start("a")
    await service.devnet.until_committed()
    path = service.folder / "oracle.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace(
            "[pool]", f'[pool]\nepoch_file = "{service.folder / "a" / "pool.key.epoch"}"'
        ),
        encoding="utf-8",
    )
    twin = await service.start("b")
    assert await twin.wait() == 2
    assert "give every node one of its own" in twin.last_lines()
