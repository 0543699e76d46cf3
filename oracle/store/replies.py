"""
Blocks for the gateway's replies: reserved in runs, each spent on one reply.

A reservation is what the pool's epoch guards: it is a binding, so a restored backup cannot hold
unspent blocks that the original has spent. Whatever is reserved and not spent when a process
starts is destroyed, because nobody knows whether it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, exists, select, update

from oracle.errors import InvariantError
from oracle.faults import fault_point
from oracle.store.engine import now
from oracle.store.schema import blocks
from oracle.store.seal import Sealed
from oracle.store.seed_blocks import SEED_BYTES, block_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.engine import Database
    from oracle.store.pool import Pool

_PREFIX = "gateway:"
_RESERVED = _PREFIX + "reserved:"
BLOCK_BYTES = SEED_BYTES
_FRESH = (blocks.c.purpose.is_(None), blocks.c.ciphertext.is_not(None))


@dataclass(frozen=True, slots=True)
class ReservedBlock:
    """
    A block that is the gateway's; its bytes stay encrypted until they are spent.
    """

    id: bytes
    context: bytes
    sealed: Sealed = field(repr=False)


class Replies:
    """
    The part of a pool that a gateway serves.

    Guarantees: a block is spent on one reply, ever, through crashes and restored backups; when
    the transaction that spends it has committed, its ciphertext is gone from the table.

    Does not: share a block between two replies; keep what a reply held.
    """

    def __init__(self, database: Database, pool: Pool) -> None:
        self._database = database
        self._pool = pool

    async def drop_reserved(self) -> int:
        """
        Destroy what an earlier process reserved and did not spend; return how many blocks.
        """
        self._pool.note_erasure()
        async with self._database.write() as tx:
            dropped = await tx.execute(
                update(blocks)
                # A range, not a pattern: it uses the index, and what is spent is not looked at.
                .where(
                    blocks.c.purpose >= _RESERVED,
                    blocks.c.purpose <= _RESERVED + "~",
                    blocks.c.ciphertext.is_not(None),
                )
                .values(ciphertext=None, destroyed_at=now())
            )
            return dropped.rowcount

    async def hold_simulated(self) -> bool:
        """
        Return whether the pool holds blocks of a simulator that nobody had yet.
        """
        async with self._database.read() as connection:
            return await self._pool.holds_simulated(connection)

    async def reserve(self, count: int) -> list[ReservedBlock]:
        """
        Take up to `count` fresh blocks out of the pool, the oldest first.

        Guarantees: those of `Pool.binding`.
        """
        async with self._database.read() as connection:
            if not await connection.scalar(select(exists().where(*_FRESH))):
                return []
        async with self._pool.binding(self._database) as tx:
            rows = (
                await tx.execute(
                    select(
                        blocks.c.id,
                        blocks.c.sources,
                        blocks.c.received_at,
                        blocks.c.nonce,
                        blocks.c.ciphertext,
                    )
                    .where(*_FRESH)
                    .order_by(blocks.c.received_at, blocks.c.id)
                    .limit(count)
                )
            ).all()
            if rows:
                await tx.execute(
                    update(blocks)
                    .where(blocks.c.id == bindparam("block_id"), blocks.c.purpose.is_(None))
                    .values(purpose=bindparam("reserved")),
                    [{"block_id": row.id, "reserved": _RESERVED + row.id.hex()} for row in rows],
                )
        return [
            ReservedBlock(
                row.id,
                block_context(row.id, row.sources, row.received_at),
                Sealed(row.nonce, row.ciphertext),
            )
            for row in rows
        ]

    async def spend(
        self, tx: AsyncConnection, spent: Sequence[tuple[str, Sequence[ReservedBlock]]]
    ) -> None:
        """
        Bind blocks to replies and erase them from the pool, all in one transaction.

        `spent` holds pairs of a reply's id, unique for ever, and its blocks. Raises
        `InvariantError` when a block is not there to be spent; the transaction must not commit.
        """
        at = now()
        values = [
            {"block_id": block.id, "reply": f"{_PREFIX}{reply}:{number}", "at": at}
            for reply, reserved in spent
            for number, block in enumerate(reserved)
        ]
        if not values:
            return
        self._pool.note_erasure()
        erased = await tx.execute(
            update(blocks)
            .where(blocks.c.id == bindparam("block_id"), blocks.c.ciphertext.is_not(None))
            .values(purpose=bindparam("reply"), ciphertext=None, destroyed_at=bindparam("at")),
            values,
        )
        if erased.rowcount != len(values):
            raise InvariantError("a reserved block was spent by somebody else: stop and inspect")
        fault_point("reply-bound")

    def open(self, spent: Sequence[ReservedBlock]) -> bytes:
        """
        Return the bytes of blocks that are spent: 32 of each.
        """
        return b"".join(self._pool.key.open(block.sealed, block.context) for block in spent)
