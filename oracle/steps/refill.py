"""
Refill: entropy sources → the encrypted pool.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from oracle import log
from oracle.entropy.mixing import mix_seed
from oracle.faults import fault_point
from oracle.store.pool import SeedBlock

if TYPE_CHECKING:
    from oracle.entropy.source import EntropySource
    from oracle.store.engine import Database
    from oracle.store.pool import Pool

# Input bytes per source and seed: twice what a full-entropy output needs (SP 800-90C).
INPUT_BYTES = 64


async def refill(database: Database, pool: Pool, source: EntropySource, target: int) -> int:
    """
    Draw once from the source if the pool is below its target; return how many blocks came in.

    Guarantees: every block mixes its own quantum bytes with the operating system's; bytes that
    fill no whole block are thrown away, none is used twice.
    """
    async with database.read() as connection:
        missing = target - await pool.fresh(connection)
    if missing <= 0:
        return 0
    sample = await source.fetch(min(missing * INPUT_BYTES, source.max_bytes))
    received_at = int(sample.received_at.timestamp() * 1000)
    new = []
    for start in range(0, len(sample.data) - INPUT_BYTES + 1, INPUT_BYTES):
        block_id = os.urandom(16)
        seed = mix_seed(
            block_id=block_id,
            inputs=[(sample.source, sample.data[start : start + INPUT_BYTES])],
            os_entropy=os.urandom(32),
        )
        new.append(
            SeedBlock(
                id=block_id,
                sources=(sample.source,),
                simulated=sample.simulated,
                received_at=received_at,
                seed=seed,
            )
        )
    async with database.write() as tx:
        await pool.add(tx, new)
    fault_point("refilled")
    log.get().info(
        "pool_refilled",
        source=sample.source,
        blocks=len(new),
        simulated=sample.simulated,
        age_ms=int(time.time() * 1000) - received_at,
    )
    return len(new)
