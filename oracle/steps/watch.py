"""
Watch: the chain's logs → OBSERVED, or ORPHANED; and confirm: OBSERVED → CONFIRMED.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.chain.ranges import span_of
from oracle.coordinator_service import Service
from oracle.errors import EndpointError, InconsistentChainError
from oracle.events import store_events
from oracle.faults import fault_point
from oracle.gaps import fill_gaps
from oracle.replaced import check_pruned, drop_replaced, made_or_served, missing_from, move
from oracle.request import State
from oracle.store import indices, retention
from oracle.store.cursors import Cursor, get_cursor, move_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block, Log
    from oracle.request import Tracked
    from oracle.service import ChainService

# Blocks per query at most; an endpoint that refuses is asked for fewer.
RANGE = 1000
# Logs that are stored at a time, unless one block has more: of others as many as fit are kept, and
# the rest is read again.
MANY_LOGS = 4000
# Blocks below the confirmation depth that are read again with every new head.
TAIL = 16
# Blocks without a word that go by before it is written down how far was read: up to so many are
# read once more instead.
QUIET = 8
# Blocks whose requests are looked up before the blocks are read, rather than after.
FEW = 256
# How often it is said how far a long reading has come.
_SAY_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class _Reading:
    """
    One reading of blocks under a head.
    """

    head: Block
    #: How far was read before.
    cursor: Cursor | None
    #: What the store has of the first blocks that are read, if that was looked up.
    held: Sequence[Tracked[Any]] | None = None
    #: Whether it is written down how far was read.
    advance: bool = True


async def watch(service: ChainService[Any], head: Block) -> int:
    """
    Read what is new and the tail of what is not yet final; return how many requests moved.

    Guarantees: what a range of blocks says and the cursor behind it are stored together; a request
    is orphaned only when its block was replaced, and before another one takes its index; after a
    reorg of any depth everything that it touched is read again; a log that an endpoint leaves out
    is missed by its index, and looked for until it is there.

    Does not: follow a head that is lower than the last one: it raises `InconsistentChainError`,
    which ends the pass, until the chain or the endpoint has caught up. On a devnet, where chains
    are rolled back on purpose, it reads everything again instead.
    """
    place, moved = (service.chain_id, service.contract), 0
    async with service.database.read() as connection:
        cursor = await get_cursor(connection, *place)
    if cursor is None or (cursor.number, cursor.hash) != (head.number, head.hash):
        first, suspect = await _first_block(service, cursor, head)
        async with service.database.read() as connection:
            mark = await retention.get_mark(connection, *place)
            # That is all there is to know of a few blocks at once, and too much of many.
            few = head.number - first < FEW
            since = min(first, suspect) if few else suspect
            held = await made_or_served(connection, service, since)
        await check_pruned(service, mark, suspect, head)
        moved = await drop_replaced(service, held, suspect, head)
        # A cursor on a branch that is gone moves with whatever is read.
        kept = cursor if cursor is not None and suspect > cursor.number else None
        reading = _Reading(head=head, cursor=kept, held=held if few and not moved else None)
        moved += await _read_blocks(service, first, head.number, reading)
        service.trail.head, service.trail.cursor = head, reading.cursor
    if isinstance(service, Service):

        async def again(lower: int, upper: int) -> int:
            reading = _Reading(head=head, cursor=cursor, advance=False)
            return await _read_blocks(service, lower, upper, reading)

        settled = head.number - service.depth - TAIL
        moved += await fill_gaps(service, head, again, settled=settled)
    return moved


async def _read_blocks(service: ChainService[Any], first: int, end: int, reading: _Reading) -> int:
    span = span_of(service.reader)
    moved, said = 0, time.monotonic()
    while first <= end:
        last = min(first + min(span.width, RANGE) - 1, end)
        try:
            read, found = await _read_range(service, first, last, reading)
        except EndpointError as error:
            span.refused(last - first + 1, error)
            continue
        reading.held = None
        moved += found
        if read < last:
            span.overflows(last - first + 1, read - first + 1)
        else:
            span.works(last - first + 1)
        first, last = read + 1, read
        if time.monotonic() - said > _SAY_SECONDS:
            said = time.monotonic()
            log.get().info("catching_up", block=last, head=reading.head.number, left=end - last)
    return moved


async def _first_block(
    service: ChainService[Any], cursor: Cursor | None, head: Block
) -> tuple[int, int]:
    """
    Return where to read from, and from where on stored blocks may have been replaced.
    """
    start = service.start_block
    if cursor is None:
        return start, start
    if head.number < cursor.number:
        if service.devnet:
            await _forget_seen(service)
            return start, start
        raise InconsistentChainError(
            f"the head is block {head.number}, below block {cursor.number} that was read before"
        )
    shown = service.trail.shows(cursor, head)
    if shown or (await service.reader.block(cursor.number)).hash == cursor.hash:
        return max(start, cursor.number + 1 - service.depth - TAIL), cursor.number + 1
    if (await service.reader.block(cursor.anchor_number)).hash == cursor.anchor_hash:
        first = max(start, cursor.anchor_number + 1)
        return first, first
    await _forget_seen(service)
    log.get().error(
        "deep_reorg",
        below=cursor.anchor_number,
        advice="blocks that counted as settled were replaced: everything is read again",
    )
    return start, start


async def _forget_seen(service: ChainService[Any]) -> None:
    async with service.database.write() as tx:
        await indices.forget_seen(tx, service.chain_id, service.contract)


def _fitting(logs: Sequence[Log], last: int) -> tuple[list[Log], int]:
    """
    Return those of the logs up to `last` that are stored at a time, and the last of their blocks:
    whole blocks, and one at least.
    """
    if len(logs) <= MANY_LOGS:
        return list(logs), last
    numbers = sorted(item.block_number for item in logs)
    end = max(numbers[0], numbers[MANY_LOGS] - 1)
    return [item for item in logs if item.block_number <= end], min(end, last)


async def _read_range(
    service: ChainService[Any], first: int, last: int, reading: _Reading
) -> tuple[int, int]:
    """
    Store what a range of blocks says, as far as it is not too much at a time, and with it, unless
    it was read before, how far that is; return the last block, and how many requests moved.
    """
    head, known, held = reading.head, reading.cursor, reading.held
    # Some endpoints tell a log twice.
    told = await service.reader.logs(service.contract, first, last, service.topics)
    logs, last = _fitting(list(dict.fromkeys(told)), last)
    end = await service.reader.block(last)
    if last == head.number and end.hash != head.hash:
        raise InconsistentChainError("the head was replaced while its logs were read")
    if any(item.block_number == last and item.block_hash != end.hash for item in logs):
        raise InconsistentChainError("the logs and the headers of the chain disagree")
    events = [event for item in logs if (event := service.decode(item)) is not None]
    if held is None:
        async with service.database.read() as connection:
            held = await made_or_served(connection, service, first, last)
    missing = await missing_from(service, events, logs, held, first, last)
    if not (events or missing) and known is not None and 0 <= last - known.number < QUIET:
        return last, 0
    anchor = await service.reader.block(max(0, last - service.depth - TAIL))
    cursor = Cursor(
        number=last, hash=end.hash, anchor_number=anchor.number, anchor_hash=anchor.hash
    )
    async with service.database.write() as tx:
        await move(tx, service.book, missing)
        moved = len(missing) + await store_events(tx, service, events)
        ready = await _confirm(tx, service, head) if moved and last == head.number else []
        if reading.advance:
            await move_cursor(tx, service.chain_id, service.contract, cursor)
    if reading.advance:
        reading.cursor = cursor
    if moved:
        fault_point("observed")
    _tell_confirmed(ready)
    return last, moved + len(ready)


async def confirm(service: ChainService[Any], head: Block) -> int:
    """
    Move the observed requests that are deep enough to CONFIRMED; return how many.
    """
    async with service.database.write() as tx:
        ready = await _confirm(tx, service, head)
    _tell_confirmed(ready)
    return len(ready)


async def _confirm(
    tx: AsyncConnection, service: ChainService[Any], head: Block
) -> list[Tracked[Any]]:
    where, values = service.confirmable(head)
    ready = await service.book.in_states(
        tx, service.chain_id, service.contract, [State.OBSERVED], *where, **values
    )
    keys = [tracked.request.key for tracked in ready]
    await service.book.advance_all(tx, keys, State.OBSERVED, State.CONFIRMED)
    return ready


def _tell_confirmed(ready: Sequence[Tracked[Any]]) -> None:
    for tracked in ready:
        log.get().info("request_confirmed", **tracked.log_context())
    if ready:
        fault_point("confirmed")
