"""
Which of a coordinator's indices the store has seen taken: by a request, or by a discard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal_column, select

from oracle.request import State
from oracle.store.cursors import drop_setting, get_setting, put_setting
from oracle.store.schema import discards, pruned_requests, requests

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

# Indices that are looked at in one query.
_SLICE = 4096


async def seen_below(connection: AsyncConnection, chain_id: int, contract: str) -> int:
    """
    Return the index below which every one is known to have been seen, in blocks that are settled.
    """
    return int(await get_setting(connection, _setting(chain_id, contract)) or 0)


async def mark_seen(tx: AsyncConnection, chain_id: int, contract: str, index: int) -> None:
    """
    Record that every index below this one was seen.
    """
    await put_setting(tx, _setting(chain_id, contract), str(index))


async def forget_seen(tx: AsyncConnection, chain_id: int, contract: str) -> None:
    """
    Look at every index again: blocks that counted as settled were replaced.
    """
    await drop_setting(tx, _setting(chain_id, contract))


async def first_missing(
    connection: AsyncConnection, chain_id: int, contract: str, first: int, until: int
) -> int:
    """
    Return the first index from `first` on that nothing took as far as the store knows; `until` if
    everything before that was taken.
    """
    while first < until:
        end = min(first + _SLICE, until)
        taken: set[int] = set()
        for table in (requests, pruned_requests):
            taken |= set(
                await connection.scalars(
                    select(table.c.seed_index).where(
                        *_of(table, chain_id, contract),
                        table.c.seed_index >= first,
                        table.c.seed_index < end,
                    )
                )
            )
        rows = await connection.execute(
            select(discards.c.first_index, discards.c.up_to).where(
                *_of(discards, chain_id, contract),
                discards.c.first_index < end,
                discards.c.up_to > first,
            )
        )
        for start, up_to in rows:
            taken |= set(range(max(start, first), min(up_to, end)))
        for index in range(first, end):
            if index not in taken:
                return index
        first = end
    return first


async def blocks_around(
    connection: AsyncConnection, chain_id: int, contract: str, index: int
) -> tuple[int | None, int | None]:
    """
    Return the blocks of the requests with the next lower and the next higher index.
    """
    below: list[int] = []
    above: list[int] = []
    for table in (requests, pruned_requests):
        for found, place, order in (
            (below, table.c.seed_index < index, table.c.seed_index.desc()),
            (above, table.c.seed_index > index, table.c.seed_index),
        ):
            block = await connection.scalar(
                select(table.c.block_number)
                .where(*_of(table, chain_id, contract), place)
                .order_by(order)
                .limit(1)
            )
            if block is not None:
                found.append(block)
    return max(below, default=None), min(above, default=None)


async def lowest_taken_above(
    connection: AsyncConnection, chain_id: int, contract: str, block: int
) -> int | None:
    """
    Return the lowest index that was taken in a block above this one.
    """
    states = list(set(State) - {State.ORPHANED})
    of_requests = await connection.scalar(
        select(func.min(requests.c.seed_index)).where(
            requests.c.chain_id == chain_id,
            requests.c.contract == contract,
            # One by one, each has an index by block.
            requests.c.state.in_(states),
            requests.c.block_number > block,
        )
    )
    of_discards = await connection.scalar(
        select(func.min(discards.c.first_index)).where(
            *_of(discards, chain_id, contract), discards.c.block_number > block
        )
    )
    return min((one for one in (of_requests, of_discards) if one is not None), default=None)


def _of(table: Table, chain_id: int, contract: str) -> list[ColumnElement[Any]]:
    place = [table.c.chain_id == chain_id, table.c.contract == contract]
    # As the index by seed says it, or SQLite does not use it.
    orphaned: ColumnElement[str] = literal_column(f"'{State.ORPHANED}'")
    return [*place, table.c.state != orphaned] if table is requests else place


def _setting(chain_id: int, contract: str) -> str:
    return f"seen:{chain_id}:{contract}"
