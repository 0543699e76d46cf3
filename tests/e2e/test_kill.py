"""
A real node, killed at every point where a crash could hurt, on a real chain.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

import oracle
from oracle.devnet.audit import audit
from oracle.devnet.demo import Progress, follow, roll, roll_call
from oracle.devnet.network import Devnet, Ground
from oracle.errors import OracleError
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.steps.send import REPLACE_AFTER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.e2e

ROLLS = 4
PATIENCE = 30
FULFILL = "0x" + CoordinatorProtocol(1, "0x" + 40 * "0").encode_fulfill([], []).hex()[:8]
FAULT_POINTS = sorted(
    {
        name
        for path in Path(oracle.__file__).parent.rglob("*.py")
        # What an Airnode request alone passes: test_kill_airnode.py kills there.
        if not path.name.startswith("airnode_")
        for name in re.findall(r'fault_point\("([a-z-]+)"\)', path.read_text(encoding="utf-8"))
    }
)
# Only a transaction that nobody mines is replaced: a test of its own kills there.
FAULT_POINTS.remove("replaced")
# The gateway's own, where test_gateway.py kills, and those of changing the pool key.
FAULT_POINTS = [point for point in FAULT_POINTS if not point.startswith(("reply-", "rotation-"))]
# Above what a node bids that saw a base fee of one gwei, for longer than it waits.
SPIKE = 50 * 10**9


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with Ground(
        tmp_path_factory.mktemp("ground"), mining=("--block-time", "0.3")
    ) as running:
        yield running


def test_there_are_fault_points_between_all_steps() -> None:
    assert {"observed", "confirmed", "drawn", "signed", "sent-recorded", "broadcast", "mined"} <= {
        *FAULT_POINTS
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_node_killed_there_loses_nothing_and_repeats_nothing(
    point: str, ground: Ground, tmp_path: Path
) -> None:
    devnet = Devnet(tmp_path, ground)
    await devnet.prepare()
    try:
        node = await devnet.start_node({"ORACLE_FAULT_POINT": point})
        try:
            await devnet.until_committed()
        except OracleError:
            assert node.exit_code == -signal.SIGKILL
            await devnet.start_node()
            await devnet.until_committed()

        progress = Progress(total=ROLLS)
        await roll(devnet, progress, ROLLS)
        try:
            await follow(devnet, progress, ROLLS)
        except OracleError:
            assert node.exit_code == -signal.SIGKILL
            await devnet.start_node()
            await follow(devnet, progress, ROLLS)
        if devnet.node is node:
            # What comes after the chain has its values: the node's own book-keeping.
            assert await node.wait() == -signal.SIGKILL
            await devnet.start_node()
        assert node.exit_code == -signal.SIGKILL, "the fault point was never reached"

        report = await audit(devnet.reader, devnet.deployment.coordinator, devnet.deployment.dice)
        assert report.clean
        assert report.fulfilled == ROLLS
        await devnet.until_settled(ROLLS)
    finally:
        await devnet.__aexit__()
    check_books(tmp_path, ROLLS)


async def test_a_node_killed_between_a_replacement_and_its_broadcast_serves_once(
    tmp_path: Path,
) -> None:
    async with Ground(tmp_path, mining=("--block-time", "1")) as ground:
        devnet = Devnet(tmp_path, ground)
        await devnet.prepare()
        try:
            node = await devnet.start_node({"ORACLE_FAULT_POINT": "replaced"})
            await devnet.until_committed()
            await ground.reader.rpc("evm_setIntervalMining", 0)
            await roll_call(devnet)
            while not await fulfillment_waits(devnet):
                await ground.reader.rpc("evm_mine")
            await ground.reader.rpc("anvil_setNextBlockBaseFeePerGas", hex(SPIKE))
            for _ in range(REPLACE_AFTER + 2):
                await ground.reader.rpc("evm_mine")
            async with asyncio.timeout(PATIENCE):
                assert await node.wait() == -signal.SIGKILL

            await devnet.start_node()
            await ground.reader.rpc("evm_setIntervalMining", 1)
            await follow(devnet, Progress(total=1), 1)
            report = await audit(
                devnet.reader, devnet.deployment.coordinator, devnet.deployment.dice
            )
            assert report.clean
            await devnet.until_settled(1)
        finally:
            await devnet.__aexit__()
    check_books(tmp_path, 1)
    with sqlite3.connect(tmp_path / "oracle.db") as database:
        [tries] = database.execute(
            "SELECT count(*) FROM attempts GROUP BY transaction_id ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
        assert tries >= 2, "nothing was replaced"


async def fulfillment_waits(devnet: Devnet) -> bool:
    """
    Return whether the endpoint holds a fulfillment that no block has; the node gets time to send.
    """
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        pool = await devnet.reader.rpc("txpool_content")
        inputs = [tx["input"] for of in pool["pending"].values() for tx in of.values()]
        if any(data.startswith(FULFILL) for data in inputs):
            return True
        await asyncio.sleep(0.05)
    return False


def check_books(folder: Path, count: int) -> None:
    """
    Hold what the node has written down against its promises.
    """
    with sqlite3.connect(folder / "oracle.db") as database:
        states = database.execute("SELECT state, count(*) FROM requests GROUP BY state").fetchall()
        assert states == [("done", count)]
        reused = database.execute(
            "SELECT purpose FROM blocks WHERE purpose IS NOT NULL "
            "GROUP BY purpose HAVING count(*) > 1"
        ).fetchall()
        assert reused == []
        nonces = [n for (n,) in database.execute("SELECT nonce FROM transactions ORDER BY nonce")]
        assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
