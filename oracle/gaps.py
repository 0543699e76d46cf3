"""
Requests whose logs an endpoint has left out.

A coordinator gives its indices out one after the other. The first one that the chain counts as
taken, and that no log took, is a log that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import InconsistentChainError
from oracle.store import indices

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.coordinator_service import Service
    from oracle.evm import Block

# So often, in blocks, the chain's counter is held against what was seen.
EVERY = 8
# A gap that stays is read again after so many blocks, and each time after twice as many.
LONGEST = 512


@dataclass(frozen=True, slots=True)
class Gap:
    """
    An index that nothing took, and the blocks in one of which it was taken.
    """

    index: int
    first_block: int
    last_block: int


async def fill_gaps(
    service: Service,
    head: Block,
    read_again: Callable[[int, int], Awaitable[int]],
    *,
    settled: int,
) -> int:
    """
    Have the blocks read again in which an index was taken without a log that says so; return how
    many requests moved.

    Guarantees: what was seen in blocks up to `settled` is not looked at again.

    Raises `InconsistentChainError` the first time that an endpoint leaves a log out, so that
    another one is read from. When all have, the alarm goes out, and it is tried again later.
    """
    search = service.search
    moved = 0
    while (gap := await _find(service, head, settled)) is not None:
        moved += await read_again(gap.first_block, gap.last_block)
        search.due = 0
        again = await _find(service, head, settled)
        if again is not None and again.index == gap.index:
            _missed(service, gap, head)
            return moved
        log.get().warning("lost_log_found", index=gap.index)
        search.due = 0
    return moved


def _missed(service: Service, gap: Gap, head: Block) -> None:
    search = service.search
    if search.index != gap.index:
        search.index, search.pause = gap.index, EVERY
        search.shown_by.clear()
    if service.reader not in search.shown_by:
        search.shown_by.add(service.reader)
        search.due = 0
        raise InconsistentChainError(
            f"the endpoint counts index {gap.index} as taken, and shows no log that took it in "
            f"blocks {gap.first_block} to {gap.last_block}"
        )
    search.due = head.number + search.pause
    search.pause = min(2 * search.pause, LONGEST)
    log.get().error(
        "log_lost",
        index=gap.index,
        first_block=gap.first_block,
        last_block=gap.last_block,
        endpoints=len(search.shown_by),
        advice="a request may wait that no endpoint shows: add an endpoint of somebody else",
    )


async def _find(service: Service, head: Block, settled: int) -> Gap | None:
    """
    Return the lowest index that the endpoint counts as taken, up to the head, and that the store
    knows nothing of; nothing before it is due again.
    """
    search = service.search
    if head.number < search.due and head.number >= search.due - LONGEST:
        return None
    search.due = head.number + EVERY
    place = (service.chain_id, service.contract)
    answer = await service.reader.call(service.contract, service.protocol.SEEDS, head.number)
    until = service.protocol.decode_counters(answer).next
    async with service.database.read() as connection:
        known = await indices.seen_below(connection, *place)
        missing = await indices.first_missing(connection, *place, known, until)
        young = await indices.lowest_taken_above(connection, *place, settled)
        below, above = await indices.blocks_around(connection, *place, missing)
    seen = missing if young is None else min(missing, young)
    if seen > known:
        async with service.database.write() as tx:
            await indices.mark_seen(tx, *place, seen)
    if missing >= until:
        return None
    first = service.start_block if below is None else below
    last = head.number if above is None else min(above, head.number)
    return Gap(missing, first, last)
