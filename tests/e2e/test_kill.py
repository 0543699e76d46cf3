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

import oracle
from oracle.devnet.audit import audit
from oracle.devnet.demo import Progress, follow, roll, roll_call
from oracle.devnet.network import Devnet, Ground
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.steps.send import REPLACE_AFTER
from tests.model_faults import tear_log

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.e2e

PATIENCE = 60
FULFILL = "0x" + CoordinatorProtocol(1, "0x" + 40 * "0").encode_fulfill([], []).hex()[:8]
# In the order in which a new node passes them on the way to its first root.
COMMIT_POINTS = [
    *("refilled", "epoch-intended", "epoch-advanced", "epoch-bound", "batch-bound", "batch-built"),
    *("commit-signed", "sent-recorded", "broadcast", "mined"),
]
REQUEST_POINTS = [
    *("observed", "confirmed", "drawn", "signed", "sent-recorded", "broadcast", "mined", "done"),
]
# Only a transaction that nobody mines is replaced.
SPECIAL = {"replaced"}
# Above what a node bids that saw a base fee of one gwei, for longer than it waits.
SPIKE = 50 * 10**9


def test_every_point_that_a_request_or_a_root_passes_is_one_where_it_is_killed() -> None:
    found = {
        name
        for path in Path(oracle.__file__).parent.rglob("*.py")
        # What an Airnode request alone passes: test_kill_airnode.py kills there.
        if not path.name.startswith("airnode_")
        for name in re.findall(r'fault_point\("([a-z-]+)"\)', path.read_text(encoding="utf-8"))
    }
    # The gateway's own, where test_gateway.py kills, and those of changing the pool key.
    found = {name for name in found if not name.startswith(("reply-", "rotation-"))}
    assert found == {*COMMIT_POINTS, *REQUEST_POINTS, *SPECIAL}


async def dies(devnet: Devnet, point: str) -> None:
    """
    Wait for the node's death at a fault point.
    """
    assert devnet.node is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert await devnet.node.wait() == -signal.SIGKILL, devnet.node.last_lines()
    except TimeoutError:
        pytest.fail(f"the fault point {point} was never reached")


def cut_power(folder: Path) -> None:
    """
    Leave of a dead node's files what a power cut leaves: no shared memory, which is on no disk,
    and half a frame behind the write-ahead log.
    """
    (folder / "oracle.db-shm").unlink(missing_ok=True)
    tear_log(folder)


def killed_at(point: str) -> Mapping[str, str]:
    return {"ORACLE_FAULT_POINT": point}


async def committed(devnet: Devnet) -> bool:
    answer = await devnet.reader.call(devnet.deployment.coordinator, CoordinatorProtocol.SEEDS)
    return CoordinatorProtocol.decode_counters(answer).committed > 0


async def test_a_node_killed_anywhere_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    progress = Progress(total=2 * len(REQUEST_POINTS) + 1, node_alive=False)
    async with Ground(tmp_path, mining=("--block-time", "0.3")) as ground:
        devnet = Devnet(tmp_path, ground)
        await devnet.prepare()
        try:
            for point in COMMIT_POINTS:
                await devnet.start_node(killed_at(point))
                await dies(devnet, point)
                cut_power(tmp_path)
            assert await committed(devnet)

            for point in REQUEST_POINTS:
                await devnet.start_node(killed_at(point))
                await roll(devnet, progress, 2)
                await dies(devnet, point)
                cut_power(tmp_path)
            assert progress.requested == 2 * len(REQUEST_POINTS)

            await devnet.start_node(killed_at("replaced"))
            await follow(devnet, progress, progress.requested)
            await until_replaced(devnet)
            progress.requested += 1
            await dies(devnet, "replaced")

            await devnet.start_node()
            await ground.reader.rpc("evm_setIntervalMining", 1)
            progress.node_alive = True
            await follow(devnet, progress, progress.total)
            report = await audit(
                devnet.reader, devnet.deployment.coordinator, devnet.deployment.dice
            )
            assert report.clean
            assert report.fulfilled == progress.total
            await devnet.until_settled(progress.total)
        finally:
            await devnet.__aexit__()
    check_books(tmp_path, progress.total)


async def until_replaced(devnet: Devnet) -> None:
    """
    Leave a fulfillment unmined for so long, and so cheap, that it is replaced.
    """
    rpc = devnet.reader.rpc
    await rpc("evm_setIntervalMining", 0)
    await roll_call(devnet)
    while not await fulfillment_waits(devnet):
        await rpc("evm_mine")
    await rpc("anvil_setNextBlockBaseFeePerGas", hex(SPIKE))
    for _ in range(REPLACE_AFTER + 2):
        await rpc("evm_mine")


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
        restored = database.execute("SELECT name FROM settings WHERE name = 'restored_epoch'")
        assert restored.fetchall() == [], "a crash was taken for a restored backup"
        [lost] = database.execute(
            "SELECT count(*) FROM blocks WHERE purpose IS NULL AND ciphertext IS NULL"
        ).fetchone()
        assert lost == 0, "a crash cost blocks"
        [tries] = database.execute(
            "SELECT count(*) FROM attempts GROUP BY transaction_id ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
        assert tries >= 2, "nothing was replaced"
