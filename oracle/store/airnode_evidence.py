"""
What the store knows of where the numbers of an Airnode's requests came from and went to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from oracle.store import retention
from oracle.store.airnode import airnode_purpose
from oracle.store.cursors import get_setting
from oracle.store.history import remark
from oracle.store.schema import airnode_requests, attempts, blocks, request_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest
    from oracle.request import RequestKey, Tracked

# The word in the history of a request that was answered with another store's number.
FOREIGN = "foreign_fulfillment"


async def note_foreign(tx: AsyncConnection, tracked: Tracked[AirnodeRequest]) -> None:
    """
    Write into a request's history that the chain has another store's number for it.
    """
    await remark(tx, tracked, FOREIGN)


async def foreign_among(connection: AsyncConnection, keys: Sequence[RequestKey]) -> set[bytes]:
    """
    Return the ids of those requests of one contract that were seen with another store's number.
    """
    if not keys:
        return set()
    rows = await connection.scalars(
        select(request_events.c.request_id)
        .where(
            request_events.c.chain_id == keys[0].chain_id,
            request_events.c.contract == keys[0].contract,
            request_events.c.request_id.in_([key.request_id for key in keys]),
            request_events.c.reason == FOREIGN,
        )
        .distinct()
    )
    return set(rows)


async def sent_among(connection: AsyncConnection, hashes: Iterable[bytes]) -> set[bytes]:
    """
    Return those of the transactions that may have left this store.
    """
    rows = await connection.scalars(
        select(attempts.c.transaction_hash).where(
            attempts.c.transaction_hash.in_(list(hashes)), attempts.c.sent_at.is_not(None)
        )
    )
    return set(rows)


async def bound_among(connection: AsyncConnection, keys: Sequence[RequestKey]) -> set[bytes]:
    """
    Return the ids of those requests that have a block of the pool, erased or not.
    """
    ids = {airnode_purpose(key): key.request_id for key in keys}
    rows = await connection.scalars(select(blocks.c.purpose).where(blocks.c.purpose.in_(ids)))
    return {ids[purpose] for purpose in rows}


async def draws_after(
    connection: AsyncConnection, chain_id: int, contract: str, after: str, limit: int
) -> list[tuple[str, bytes, int, bool]]:
    """
    Return the next purposes of blocks that are bound to requests of a contract, in their order:
    each with the request's id, how many blocks it has, and whether the request is known.
    """
    prefix = f"airnode:{chain_id}:{contract.lower()}:"
    rows = await connection.execute(
        select(blocks.c.purpose, func.count())
        .where(blocks.c.purpose > max(after, prefix), blocks.c.purpose < prefix + "g")
        .group_by(blocks.c.purpose)
        .order_by(blocks.c.purpose)
        .limit(limit)
    )
    found = [(purpose, _id(purpose, prefix), count) for purpose, count in rows]
    known = await connection.scalars(
        select(airnode_requests.c.request_id).where(
            airnode_requests.c.chain_id == chain_id,
            airnode_requests.c.contract == contract,
            airnode_requests.c.request_id.in_([id_ for _, id_, _ in found]),
        )
    )
    ids = set(known) | await retention.among(
        connection, chain_id, contract, [id_ for _, id_, _ in found]
    )
    return [(purpose, id_, count, id_ in ids) for purpose, id_, count in found]


async def restored_block(connection: AsyncConnection, chain_id: int, contract: str) -> int:
    """
    Return the head at which this store was last started as a restored backup; -1 if it never was.
    """
    known = await get_setting(connection, f"restored:{chain_id}:{contract}")
    return -1 if known is None else int(known.partition(":")[2])


def _id(purpose: str, prefix: str) -> bytes:
    return bytes.fromhex(purpose.removeprefix(prefix))
