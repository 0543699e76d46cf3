"""
How often something has happened to requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from oracle.store.schema import request_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.request import RequestKey

_COUNT = (
    select(request_events.c.request_id, func.count())
    .where(
        request_events.c.chain_id == bindparam("chain"),
        request_events.c.contract == bindparam("at"),
        request_events.c.request_id.in_(bindparam("ids", expanding=True)),
        request_events.c.reason == bindparam("why"),
    )
    .group_by(request_events.c.request_id)
)


async def count_of_reason(
    connection: AsyncConnection, keys: Sequence[RequestKey], reason: str
) -> dict[RequestKey, int]:
    """
    Return how many events of requests of one contract have a reason, where any has.
    """
    if not keys:
        return {}
    key_of = {key.request_id: key for key in keys}
    place = {"chain": keys[0].chain_id, "at": keys[0].contract}
    rows = await connection.execute(_COUNT, {**place, "ids": list(key_of), "why": reason})
    return {key_of[request_id]: count for request_id, count in rows}
