"""
Indices that the operator gave up before any request took them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from oracle.request import State
from oracle.store.engine import now
from oracle.store.schema import batches, discards, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """
    The indices from `first_index` up to `up_to`, which is not among them, as a block gave them up.
    """

    chain_id: int
    contract: str
    first_index: int
    up_to: int
    block_number: int
    block_hash: bytes


async def observe(tx: AsyncConnection, discard: Discard) -> bool:
    """
    Record that a block holds this discard; true if that is news.
    """
    if await tx.scalar(select(discards.c.up_to).where(*_is(discard))) is not None:
        return False
    await tx.execute(
        insert(discards).values(
            chain_id=discard.chain_id,
            contract=discard.contract,
            block_hash=discard.block_hash,
            first_index=discard.first_index,
            up_to=discard.up_to,
            block_number=discard.block_number,
        )
    )
    return True


async def pending(
    connection: AsyncConnection, chain_id: int, contract: str, up_to_block: int
) -> list[Discard]:
    """
    Return the discards up to a block whose seeds are not erased yet.
    """
    rows = await connection.execute(
        select(discards)
        .where(
            discards.c.chain_id == chain_id,
            discards.c.contract == contract,
            discards.c.erased_at.is_(None),
            discards.c.block_number <= up_to_block,
        )
        .order_by(discards.c.first_index)
    )
    return [
        Discard(
            chain_id=row.chain_id,
            contract=row.contract,
            first_index=row.first_index,
            up_to=row.up_to,
            block_number=row.block_number,
            block_hash=row.block_hash,
        )
        for row in rows
    ]


async def forget(tx: AsyncConnection, discard: Discard) -> None:
    """
    Drop a discard whose block was replaced. If it is in another one, that is another row.
    """
    await tx.execute(delete(discards).where(*_is(discard)))


async def slices(connection: AsyncConnection, discard: Discard, size: int) -> list[Sequence[int]]:
    """
    Return those of the discarded indices that this store bound seeds to, batch by batch; `size` is
    a batch's.
    """
    firsts = await connection.scalars(
        select(batches.c.first_index)
        .where(
            batches.c.chain_id == discard.chain_id,
            batches.c.contract == discard.contract,
            batches.c.first_index.between(discard.first_index - size + 1, discard.up_to - 1),
        )
        .order_by(batches.c.first_index)
    )
    return [
        range(max(first, discard.first_index), min(first + size, discard.up_to))
        for first in firsts
    ]


async def erase(
    tx: AsyncConnection, pool: Pool, chain_id: int, contract: str, indices: Sequence[int]
) -> int:
    """
    Erase the seeds of discarded indices, revealed already or not; return how many were there.

    An index that a request holds is left alone, whatever was said of it.
    """
    held = set(
        await tx.scalars(
            select(requests.c.seed_index).where(
                requests.c.chain_id == chain_id,
                requests.c.contract == contract,
                requests.c.seed_index.in_(indices),
                requests.c.state != State.ORPHANED,
            )
        )
    )
    free = [index for index in indices if index not in held]
    erased = await pool.erase_unrevealed(tx, chain_id, contract, free)
    return erased + await pool.erase_revealed(tx, chain_id, contract, free)


async def mark_erased(tx: AsyncConnection, discard: Discard) -> None:
    """
    Record that nothing is left to erase.
    """
    await tx.execute(update(discards).where(*_is(discard)).values(erased_at=now()))


def _is(discard: Discard) -> tuple[ColumnElement[Any], ...]:
    return (
        discards.c.chain_id == discard.chain_id,
        discards.c.contract == discard.contract,
        discards.c.block_hash == discard.block_hash,
        discards.c.first_index == discard.first_index,
    )
