#!/usr/bin/env python3
"""
Measure what pruning does to a node that has served many requests: docs/operating.md has figures.

    .venv/bin/python scripts/_retention.py [--requests 1000000]

It makes a chain of its own, a node on it, and as many finished requests as told in the node's
store.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.network import Devnet, Ground
from oracle.runner import walk
from oracle.steps.prune import SLICE, prune
from oracle.store import requests
from oracle.store.cursors import put_setting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.coordinator_service import Service

_BLOCKS, _PER_TRANSACTION = 1000, 10
_PASSES = 20

# What a node leaves of requests that it fulfilled.
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"
_ROWS = [
    (
        (
            "INSERT INTO transactions (id, chain_id, contract, wallet, nonce, purpose, gas_limit,"
            " state, mined_hash, mined_block, mined_block_hash, gas_used, gas_price, created_at,"
            " updated_at)"
        ),
        (
            "SELECT 1000 + i, :chain, :contract, randomblob(20), i, 'fulfill', 100000, 'final',"
            " randomblob(32), 1, randomblob(32), 90000, randomblob(32), 1, 1 FROM n"
            " WHERE i < :count / :together"
        ),
    ),
    (
        "INSERT INTO attempts",
        (
            "SELECT 1000 + i, randomblob(32), 1000 + i, randomblob(32), randomblob(32),"
            " randomblob(12), NULL, 1, 1, 1, 1, 'accepted' FROM n WHERE i < :count / :together"
        ),
    ),
    (
        "INSERT INTO requests",
        (
            "SELECT :chain, :contract, randomblob(32), 1000000 + i, randomblob(20), 100000, 1, 1,"
            " randomblob(32), randomblob(32), 1 + i * :blocks / :count, randomblob(32),"
            " randomblob(32), 0, 'done', NULL, 1000 + i / :together, randomblob(32),"
            " 3 + i * :blocks / :count, randomblob(32), 1, i, i FROM n"
        ),
    ),
    *(
        (
            "INSERT INTO request_events (chain_id, contract, request_id, before, after, at)",
            f"SELECT chain_id, contract, request_id, '{before}', '{after}', 1 FROM requests",  # noqa: S608
        )
        for before, after in pairwise(
            ["", "observed", "confirmed", "drawn", "signed", "sent", "mined", "done"]
        )
    ),
    (
        "INSERT INTO blocks",
        (
            "SELECT randomblob(16), 'anu,qrypt', 0, 1, randomblob(32), randomblob(12), NULL,"
            " 'native:' || :chain || ':0x' || lower(hex(:contract)) || ':' || (1000000 + i), 1"
            " FROM n"
        ),
    ),
    (
        "INSERT INTO reveals",
        "SELECT :chain, :contract, 1000000 + i, randomblob(12), NULL, 1, 1 FROM n",
    ),
]


def fill(path: Path, count: int, chain_id: int, contract: str) -> None:
    """
    Store finished requests, and what belongs to them.
    """
    values = {
        "count": count,
        "chain": chain_id,
        "contract": bytes.fromhex(contract[2:]),
        "blocks": _BLOCKS,
        "together": _PER_TRANSACTION,
    }
    with closing(sqlite3.connect(path)) as database:
        for into, rows in _ROWS:
            numbers = _NUMBERS if "FROM n" in rows else ""
            database.execute(f"{into} {numbers} {rows}", values)
        database.commit()


async def timed(act: Callable[[], Awaitable[object]], times: int = 1) -> tuple[float, float]:
    """
    Return the medians of how many milliseconds an act takes, and of processor time.
    """
    took, worked = [], []
    for _ in range(times):
        started, idle = time.perf_counter(), time.process_time()
        await act()
        took.append(1000 * (time.perf_counter() - started))
        worked.append(1000 * (time.process_time() - idle))
    return statistics.median(took), statistics.median(worked)


async def say(when: str, service: Service) -> None:
    """
    Print what a pass and a listing take, and what the file weighs.
    """
    database = service.database
    rpc = service.reader.rpc  # type: ignore[attr-defined]

    async def one_pass() -> None:
        await rpc("anvil_mine", "0x1")
        await walk(service, await service.reader.block())

    async def listing() -> None:
        async with database.read() as connection:
            await requests.newest(connection, limit=25)
            await requests.count_by_state(connection)

    size = Path(database.name).stat().st_size / 2**20
    passes, lists = await timed(one_pass, _PASSES), await timed(listing, _PASSES)
    print(
        f"{when}: file {size:.0f} MiB, pass {passes[0]:.0f} ms ({passes[1]:.0f} of the processor),"
        f" list {lists[0]:.0f} ms ({lists[1]:.0f})",
        flush=True,
    )


async def measure(count: int, folder: Path) -> None:
    """
    Fill a store, prune it, and print every figure.
    """
    async with Ground(folder / "ground") as ground, AsyncExitStack() as stack:
        devnet = Devnet(folder / "node", ground, window=64)
        await devnet.prepare()
        runner = await compose(Settings.load(folder / "node" / "oracle.toml"), stack)
        [link] = runner.links
        service = replace(await link.connect(runner.database, runner.pool), keep_days=0)
        for _ in range(_BLOCKS // 50 + 4):
            await ground.reader.rpc("anvil_mine", hex(50))
        head = await service.reader.block()
        await walk(service, head)
        await say("empty", service)
        path = Path(service.database.name)
        await asyncio.to_thread(fill, path, count, service.chain_id, service.contract)
        async with service.database.write() as tx:
            # That nothing is left to erase of them is known.
            await put_setting(
                tx, f"closed:{service.chain_id}:{service.contract}", str(head.number - 64)
            )
        await service.database.wipe()
        await say(f"{count} requests", service)

        pruning = replace(service, keep_days=1e-9)
        head = await service.reader.block()
        slices = [await timed(lambda: prune(pruning, head)) for _ in range(count // SLICE)]
        await service.database.wipe()
        took, worked = zip(*slices, strict=True)
        print(
            f"pruned {SLICE} at a time: {statistics.median(took):.0f} ms "
            f"({statistics.median(worked):.0f} of the processor), {max(took):.0f} ms at most, "
            f"{1000 * count / sum(took):.0f} requests a second",
            flush=True,
        )
        await say("pruned", service)
        with closing(sqlite3.connect(path)) as database:
            free = database.execute("PRAGMA freelist_count").fetchone()[0]
            print(f"free inside the file: {free * 4096 / 2**20:.0f} MiB")
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await say("after VACUUM", service)


def main() -> None:
    """
    Read the arguments.
    """
    parser = argparse.ArgumentParser(description="Measure pruning.")
    parser.add_argument("--requests", type=int, default=1_000_000)
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ground", "node"):
            Path(folder, name).mkdir()
        asyncio.run(measure(count, Path(folder)))


if __name__ == "__main__":
    main()
