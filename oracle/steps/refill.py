"""
Refill: entropy sources → the encrypted pool.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oracle import log
from oracle.entropy.mixing import mix_seed
from oracle.faults import fault_point
from oracle.store.aging import destroy_older
from oracle.store.engine import now
from oracle.store.seed_blocks import SeedBlock, SeedInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.supplies import Supplies
    from oracle.supply import Chunk

_HOUR = 3_600_000  # milliseconds


@dataclass(frozen=True, slots=True)
class Refilled:
    """
    How many blocks came in; and if fewer sources deliver than a seed needs, which and why, and the
    seconds until it is worth trying again.
    """

    blocks: int
    waiting: Mapping[str, str] = field(default_factory=dict)
    retry_in: float = 0.0


async def refill(
    database: Database,
    pool: Pool,
    supplies: Supplies,
    target: int,
    *,
    max_age_hours: float | None = None,
    at: int | None = None,
) -> Refilled:
    """
    Destroy what waited too long in the pool until `at`, in milliseconds since 1970 (now, unless
    told), then draw once if it is below its target.

    Guarantees: how many and which sources are mixed is decided, and written down, before any of
    them is drawn from; every block mixes its own bytes of each of them with the operating
    system's, and no byte is used twice; with fewer sources than decided no block is made; the
    unbound blocks are never more than the target.
    """
    if max_age_hours is not None:
        before = (now() if at is None else at) - round(max_age_hours * _HOUR)
        supplies.forget_older(before)
        if expired := await destroy_older(database, pool, before):
            log.get().info("blocks_expired", blocks=expired, max_age_hours=max_age_hours)
    async with database.read() as connection:
        missing = target - await pool.fresh(connection)
    if missing <= 0:
        return Refilled(0)
    await supplies.restore(database)
    chosen = supplies.choose()
    if len(chosen) < supplies.per_seed:
        return Refilled(0, supplies.missing(), supplies.wait())
    count = await supplies.draw(database, chosen, missing)
    if count == 0:
        return Refilled(0, supplies.missing(), supplies.wait())
    new = [_mixed([supply.take() for supply in chosen]) for _ in range(count)]
    async with database.write() as tx:
        await pool.add(tx, new)
    fault_point("refilled")
    log.get().info(
        "pool_refilled",
        sources=[supply.name for supply in chosen],
        blocks=len(new),
        simulated=any(block.simulated for block in new),
        age_ms=int(time.time() * 1000) - min(block.received_at for block in new),
    )
    return Refilled(len(new))


def _mixed(chunks: Sequence[Chunk]) -> SeedBlock:
    """
    Return the block that one chunk of each source makes.
    """
    block_id = os.urandom(16)
    seed = mix_seed(
        block_id=block_id,
        inputs=[(chunk.source, chunk.data) for chunk in chunks],
        os_entropy=os.urandom(32),
    )
    return SeedBlock(
        id=block_id,
        sources=tuple(chunk.source for chunk in chunks),
        simulated=any(chunk.simulated for chunk in chunks),
        received_at=min(chunk.received_at for chunk in chunks),
        seed=seed,
        inputs=tuple(
            SeedInput(
                source=chunk.source,
                draw_id=chunk.draw_id,
                n_bytes=len(chunk.data),
                digest=chunk.digest,
            )
            for chunk in chunks
        ),
    )
