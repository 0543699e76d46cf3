"""
Prune, for Airnode requests: what was finished long ago → its tombstone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.clock import agreed_time
from oracle.store import airnode_retention
from oracle.store.cursors import get_cursor

if TYPE_CHECKING:
    from oracle.airnode_service import AirnodeService
    from oracle.evm import Block

# Requests per pass: more than a block can bring, and few enough that nothing waits for it.
SLICE = 500

_DAY = 86_400_000  # milliseconds


async def prune_airnode(service: AirnodeService, head: Block) -> None:
    """
    Prune a slice of what was finished long ago.

    Guarantees: pruned is only what was finished longer ago than `keep_days`, and lies below all
    that is read again with every head; read again all the same, it is known, and is neither
    observed nor given a number.

    Does not: prune what ended without an answer that its requester may still ask about, or what
    proves that another store has the same mnemonic.
    """
    if not service.keep_days:
        return
    place, at = (service.chain_id, service.contract), agreed_time(service, head)
    async with service.database.read() as connection:
        cursor = await get_cursor(connection, *place)
        if cursor is None:
            return
        doomed = await airnode_retention.finished(
            connection,
            *place,
            up_to_block=cursor.anchor_number,
            before=at - round(service.keep_days * _DAY),
            drawn_before=at - _DAY,
            limit=SLICE,
        )
    if not doomed:
        return
    async with service.database.write() as tx:
        await airnode_retention.prune(tx, service.pool, doomed)
    log.get().info("requests_pruned", requests=len(doomed), up_to_block=cursor.anchor_number)
