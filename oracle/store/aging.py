"""
Entropy that waited too long for a use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from oracle.store.engine import now
from oracle.store.schema import blocks

if TYPE_CHECKING:
    from oracle.store.engine import Database
    from oracle.store.pool import Pool

# A transaction holds the one writer: what is more goes with the next call.
_AT_ONCE = 4096


async def destroy_older(database: Database, pool: Pool, before: int) -> int:
    """
    Erase blocks without a purpose that were received before a time in milliseconds, the oldest
    first; return how many.

    Guarantees: what is bound stays, whatever its age: somebody was promised it.
    Does not: erase more than some thousands in one call.
    """
    old = (
        blocks.c.purpose.is_(None),
        blocks.c.ciphertext.is_not(None),
        blocks.c.received_at < before,
    )
    async with database.read() as connection:
        if await connection.scalar(select(blocks.c.id).where(*old).limit(1)) is None:
            return 0
    async with database.write() as tx:
        oldest = select(blocks.c.id).where(*old).order_by(blocks.c.received_at).limit(_AT_ONCE)
        result = await tx.execute(
            update(blocks)
            .where(blocks.c.id.in_(oldest.scalar_subquery()))
            .values(ciphertext=None, destroyed_at=now())
        )
    pool.note_erasure()
    await pool.wipe(database)
    return result.rowcount
