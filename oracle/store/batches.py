"""
Batches of 256 seeds that are bound to consecutive indices of one coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, insert, select, update

from oracle.store.engine import now
from oracle.store.schema import batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

LEAF_BYTES = 32


class BatchState(StrEnum):
    """
    What is durably known about a batch.
    """

    BUILT = "built"  #: its seeds are bound, its root is not on chain yet
    COMMITTED = "committed"  #: the chain holds its root
    LOST = "lost"  #: the chain holds another root at its place
    ERASED = "erased"  #: and does so for good: its seeds are gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    A batch: `leaves` are 256 hashes of 32 bytes each.
    """

    chain_id: int
    contract: str
    first_index: int
    root: bytes
    leaves: Sequence[bytes]
    state: BatchState = BatchState.BUILT


async def add(tx: AsyncConnection, batch: Batch) -> None:
    """
    Store a batch before its root is sent.
    """
    await tx.execute(
        insert(batches).values(
            chain_id=batch.chain_id,
            contract=batch.contract,
            first_index=batch.first_index,
            root=batch.root,
            leaves=b"".join(batch.leaves),
            state=batch.state,
            created_at=now(),
        )
    )


async def get(
    connection: AsyncConnection, chain_id: int, contract: str, first_index: int
) -> Batch | None:
    """
    Return the batch that begins at an index.
    """
    row = (
        await connection.execute(select(batches).where(*_is(chain_id, contract, first_index)))
    ).one_or_none()
    return None if row is None else _batch(row)


async def ours_among(
    connection: AsyncConnection, chain_id: int, contract: str, first_indices: Iterable[int]
) -> set[int]:
    """
    Return those of the indices at which a batch of this store begins, its place not lost.
    """
    rows = await connection.scalars(
        select(batches.c.first_index).where(
            batches.c.chain_id == chain_id,
            batches.c.contract == contract,
            batches.c.first_index.in_(set(first_indices)),
            batches.c.state.in_((BatchState.BUILT, BatchState.COMMITTED)),
        )
    )
    return set(rows)


async def roots(
    connection: AsyncConnection, chain_id: int, contract: str, first_indices: Iterable[int]
) -> dict[int, bytes]:
    """
    Return the roots of the batches that begin at these indices, but for those whose seeds are
    gone.
    """
    rows = await connection.execute(
        select(batches.c.first_index, batches.c.root).where(
            batches.c.chain_id == chain_id,
            batches.c.contract == contract,
            batches.c.first_index.in_(set(first_indices)),
            batches.c.state != BatchState.ERASED,
        )
    )
    return {row.first_index: row.root for row in rows}


async def state_at(
    connection: AsyncConnection, chain_id: int, contract: str, first_index: int
) -> BatchState | None:
    """
    Return the state of the batch that begins at an index, without its leaves.
    """
    state = await connection.scalar(
        select(batches.c.state).where(*_is(chain_id, contract, first_index))
    )
    return None if state is None else BatchState(state)


async def in_states(
    connection: AsyncConnection, chain_id: int, contract: str, states: Iterable[BatchState]
) -> list[Batch]:
    """
    Return the coordinator's batches in any of the states, in the order of their indices.
    """
    rows = await connection.execute(
        select(batches)
        .where(
            batches.c.chain_id == chain_id,
            batches.c.contract == contract,
            batches.c.state.in_(list(states)),
        )
        .order_by(batches.c.first_index)
    )
    return [_batch(row) for row in rows]


async def places(
    connection: AsyncConnection, chain_id: int, contract: str
) -> list[tuple[int, BatchState]]:
    """
    Return where the coordinator's batches begin, and their states, without their leaves.
    """
    rows = await connection.execute(
        select(batches.c.first_index, batches.c.state)
        .where(batches.c.chain_id == chain_id, batches.c.contract == contract)
        .order_by(batches.c.first_index)
    )
    return [(first_index, BatchState(state)) for first_index, state in rows]


async def set_state(tx: AsyncConnection, batch: Batch, state: BatchState) -> None:
    """
    Record what the chain says about a batch.
    """
    await tx.execute(
        update(batches)
        .where(*_is(batch.chain_id, batch.contract, batch.first_index))
        .values(state=state)
    )


def _is(chain_id: int, contract: str, first_index: int) -> tuple[ColumnElement[bool], ...]:
    return (
        batches.c.chain_id == chain_id,
        batches.c.contract == contract,
        batches.c.first_index == first_index,
    )


def _batch(row: Row[Any]) -> Batch:
    leaves = [row.leaves[at : at + LEAF_BYTES] for at in range(0, len(row.leaves), LEAF_BYTES)]
    return Batch(
        chain_id=row.chain_id,
        contract=row.contract,
        first_index=row.first_index,
        root=row.root,
        leaves=leaves,
        state=BatchState(row.state),
    )
