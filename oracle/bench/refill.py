"""
How fast seeds come from warm sources into an encrypted pool.

The sources are a simulator in a process of its own, so no vendor's speed or rate is in a figure:
what is left is asking, testing, mixing, encrypting and writing.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from oracle.bench.gateway import until_ready
from oracle.bench.process import start_gateway
from oracle.devnet.processes import free_port
from oracle.entropy.anu import AnuQuantumNumbers
from oracle.entropy.qrypt import Qrypt
from oracle.entropy.source import http_client
from oracle.errors import OracleError
from oracle.steps.refill import refill
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey
from oracle.supplies import Supplies
from oracle.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_KEY = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefillFigures:
    """
    Seeds that came into a pool, each mixed from so many sources.

    Processor time is this process's, in milliseconds: the simulator's is not in it.
    """

    sources_per_seed: int
    seeds: int
    seconds: float
    seeds_per_second: float
    cpu_ms_per_seed: float

    def document(self) -> dict[str, object]:
        """
        Return the figures for `--json`.
        """
        return asdict(self)


async def measure(
    folder: Path, *, seeds: int, say: Callable[[str], None] = lambda _: None
) -> list[RefillFigures]:
    """
    Fill a pool in an empty folder from one source, and another from two.

    Raises `OracleError` when a source does not deliver.
    """
    async with AsyncExitStack() as stack:
        port = free_port()
        process = await start_gateway(stack, "simulator", folder, "--simulate", port=port)
        client = await stack.enter_async_context(http_client())
        url = f"http://127.0.0.1:{port}"
        await until_ready(url, process)
        figures = []
        for per_seed in (1, 2):
            say(f"filling a pool with {seeds} seeds of {per_seed} source(s)")
            key = PoolKey.from_text(PoolKey.generate())
            sources = (
                AnuQuantumNumbers(
                    client=client, base_url=f"{url}/anu", api_key=_KEY, allow_simulated=True
                ),
                Qrypt(
                    client=client,
                    base_url=f"{url}/qrypt/api/v1",
                    token=_KEY,
                    allow_simulated=True,
                ),
            )[:per_seed]
            supplies = Supplies(
                [Supply(source, vendor=source.name, digest=key.digest) for source in sources],
                per_seed=per_seed,
            )
            database = await Database.open(folder / f"{per_seed}.db", Access.NODE)
            try:
                pool = Pool(key, EpochFile(folder / f"{per_seed}.epoch"))
                await pool.unlock(database)
                figures.append(await _fill(database, pool, supplies, seeds))
            finally:
                await database.close()
        return figures


async def _fill(database: Database, pool: Pool, supplies: Supplies, seeds: int) -> RefillFigures:
    # The start-up tests, and the first connection.
    done = await refill(database, pool, supplies, 1)
    filled = done.blocks
    started, cpu = time.perf_counter(), time.process_time()
    target = filled + seeds
    while filled < target:
        done = await refill(database, pool, supplies, target)
        if done.waiting:
            raise OracleError(f"a source does not deliver: {dict(done.waiting)}")
        filled += done.blocks
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return RefillFigures(
        sources_per_seed=supplies.per_seed,
        seeds=seeds,
        seconds=round(seconds, 2),
        seeds_per_second=round(seeds / seconds, 1),
        cpu_ms_per_seed=round(1000 * cpu / seeds, 3),
    )
