"""
A real node, killed at every point where a crash could hurt, on a real chain.
"""

from __future__ import annotations

import re
import signal
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

import oracle
from oracle.devnet.audit import audit
from oracle.devnet.demo import Progress, follow, roll
from oracle.devnet.network import Devnet, Ground
from oracle.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.e2e

ROLLS = 4
FAULT_POINTS = sorted(
    {
        name
        for path in Path(oracle.__file__).parent.rglob("*.py")
        for name in re.findall(r'fault_point\("([a-z-]+)"\)', path.read_text(encoding="utf-8"))
    }
)
# Only a transaction that nobody mines is replaced: the stuck-transaction tests kill there.
FAULT_POINTS.remove("replaced")
# The gateway's own: test_gateway.py kills there.
FAULT_POINTS = [point for point in FAULT_POINTS if not point.startswith("reply-")]


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
    with sqlite3.connect(tmp_path / "oracle.db") as database:
        states = database.execute("SELECT state, count(*) FROM requests GROUP BY state").fetchall()
        assert states == [("done", ROLLS)]
        reused = database.execute(
            "SELECT purpose FROM blocks WHERE purpose IS NOT NULL "
            "GROUP BY purpose HAVING count(*) > 1"
        ).fetchall()
        assert reused == []
        nonces = [n for (n,) in database.execute("SELECT nonce FROM transactions ORDER BY nonce")]
        assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
