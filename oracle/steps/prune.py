"""
Prune: what was finished long ago → its tombstone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.clock import agreed_time
from oracle.store import retention
from oracle.store.cursors import get_cursor
from oracle.store.retention import Mark

if TYPE_CHECKING:
    from oracle.coordinator_service import Service
    from oracle.evm import Block

# Requests per pass: far more than a block can bring, and few enough that nothing waits for it.
SLICE = 500

_DAY = 86_400_000  # milliseconds


async def prune(service: Service, head: Block) -> None:
    """
    Prune a slice of what was finished long ago.

    Guarantees: pruned is only what was finished longer ago than `keep_days`, and whose window, and
    so whatever could settle it, lies below all that is read again with every head; read again all
    the same, it is known and changes nothing.

    Does not: prune what its requester can still cancel, or what tells where a seed came from.
    """
    if not service.keep_days:
        return
    place = (service.chain_id, service.contract)
    async with service.database.read() as connection:
        cursor = await get_cursor(connection, *place)
        if cursor is None:
            return
        doomed = await retention.finished(
            connection,
            *place,
            up_to_block=cursor.anchor_number - service.window,
            before=agreed_time(service, head) - round(service.keep_days * _DAY),
            limit=SLICE,
        )
    if not doomed:
        return
    last = max(one.block_number for one in doomed) + service.window
    mark = Mark(last, (await service.reader.block(last)).hash)
    async with service.database.write() as tx:
        await retention.prune(tx, service.pool, doomed, mark)
    log.get().info("requests_pruned", requests=len(doomed), up_to_block=last - service.window)
