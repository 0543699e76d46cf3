"""
The history of requests: an event for every transition, and words that are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, insert, select

from oracle.store.engine import now
from oracle.store.schema import request_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.request import RequestKey, State, Tracked


async def record(
    tx: AsyncConnection,
    keys: Sequence[RequestKey],
    before: State | None,
    after: State,
    reason: str | None,
) -> None:
    """
    Write down that requests moved, or that they were moved to another block.
    """
    at = now()
    await tx.execute(
        insert(request_events),
        [
            {
                "chain_id": key.chain_id,
                "contract": key.contract,
                "request_id": key.request_id,
                "before": before,
                "after": after,
                "reason": reason,
                "at": at,
            }
            for key in keys
        ],
    )


async def remark(tx: AsyncConnection, tracked: Tracked[Any], reason: str) -> None:
    """
    Write a word into a request's history that is no transition.
    """
    await record(tx, [tracked.request.key], tracked.state, tracked.state, reason)


async def history(connection: AsyncConnection, key: RequestKey) -> Sequence[Row[Any]]:
    """
    Return the events of a request, oldest first: `before`, `after`, `reason`, `at` (milliseconds).
    """
    rows = await connection.execute(
        select(request_events)
        .where(
            request_events.c.chain_id == key.chain_id,
            request_events.c.contract == key.contract,
            request_events.c.request_id == key.request_id,
        )
        .order_by(request_events.c.id)
    )
    return rows.all()
