"""
Watch: the chain's logs → OBSERVED, or ORPHANED; and confirm: OBSERVED → CONFIRMED.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.chain.ranges import span_of
from oracle.coordinator_service import Service
from oracle.errors import EndpointError, InconsistentChainError
from oracle.events import requests_in, store_events
from oracle.faults import fault_point
from oracle.gaps import fill_gaps
from oracle.request import Outcome, State
from oracle.store import indices, retention, transactions
from oracle.store.attempts import attempts_of
from oracle.store.book import NO_OUTCOME
from oracle.store.cursors import Cursor, get_cursor, move_cursor
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block, Log
    from oracle.request import RequestKey, Tracked
    from oracle.service import ChainService
    from oracle.store.book import Book

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
# States in which the chain holds a request.
_HELD = tuple(state for state in State if state is not State.ORPHANED)
# How often it is said how far a long reading has come.
_SAY_SECONDS = 5.0


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
            suspects = await _made_or_served_from(connection, service, suspect)
        await _check_pruned(service, mark, suspect, head)
        moved = await _drop_replaced(service, suspects, suspect, head)
        moved += await _read_blocks(service, first, head.number, head, cursor)
    if isinstance(service, Service):

        async def again(lower: int, upper: int) -> int:
            return await _read_blocks(service, lower, upper, head, cursor, advance=False)

        settled = head.number - service.depth - TAIL
        moved += await fill_gaps(service, head, again, settled=settled)
    return moved


async def _read_blocks(
    service: ChainService[Any],
    first: int,
    end: int,
    head: Block,
    cursor: Cursor | None,
    *,
    advance: bool = True,
) -> int:
    span = span_of(service.reader)
    moved, said = 0, time.monotonic()
    while first <= end:
        last = min(first + min(span.width, RANGE) - 1, end)
        try:
            read, found = await _read_range(service, first, last, head, cursor, advance=advance)
        except EndpointError as error:
            span.refused(last - first + 1, error)
            continue
        moved += found
        if read < last:
            span.overflows(last - first + 1, read - first + 1)
        else:
            span.works(last - first + 1)
        first, last = read + 1, read
        if time.monotonic() - said > _SAY_SECONDS:
            said = time.monotonic()
            log.get().info("catching_up", block=last, head=head.number, left=end - last)
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
    if (await service.reader.block(cursor.number)).hash == cursor.hash:
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


async def _made_or_served_from(
    connection: AsyncConnection, service: ChainService[Any], suspect: int
) -> list[Tracked[Any]]:
    """
    Return the requests that were made or served in a block from one on.
    """
    found: dict[RequestKey, Tracked[Any]] = {}
    # One query each: for both at once the database would read all that was ever done.
    for condition in (service.book.made_from, service.book.served_from):
        for tracked in await service.book.in_states(
            connection,
            service.chain_id,
            service.contract,
            _HELD,
            condition,
            limit=None,
            since=suspect,
        ):
            found[tracked.request.key] = tracked
    return list(found.values())


async def _check_pruned(
    service: ChainService[Any], mark: retention.Mark | None, suspect: int, head: Block
) -> None:
    """
    Forget what was pruned if the blocks that finished it were replaced: it is read again.
    """
    if mark is None or mark.number < suspect:
        return
    if mark.number <= head.number and (await service.reader.block(mark.number)).hash == mark.hash:
        return
    async with service.database.write() as tx:
        forgotten = await retention.forget(tx, service.chain_id, service.contract)
    log.get().error("pruned_requests_replaced", up_to_block=mark.number, requests=forgotten)


async def _drop_replaced(
    service: ChainService[Any], suspects: Sequence[Tracked[Any]], suspect: int, head: Block
) -> int:
    """
    Move those of the requests whose block, or whose fulfillment's block, is no longer canonical.

    This comes before any log is read, because what a reorg moved can lie in another range, or
    above the head.
    """
    hashes: dict[int, bytes | None] = {}

    async def replaced(number: int, block_hash: bytes) -> bool:
        if number not in hashes:
            above = number > head.number
            hashes[number] = None if above else (await service.reader.block(number)).hash
        return hashes[number] != block_hash

    found: list[tuple[Tracked[Any], State]] = []
    for tracked in suspects:
        made, outcome = tracked.request, tracked.outcome
        if made.block_number >= suspect and await replaced(made.block_number, made.block_hash):
            found.append((tracked, State.ORPHANED))
        elif (
            outcome is not None
            and outcome.block_number >= suspect
            and tracked.state in (State.MINED, State.DONE)
            and await replaced(outcome.block_number, outcome.block_hash)
        ):
            async with service.database.read() as connection:
                found.append((tracked, await _again(connection, tracked)))
    if found:
        async with service.database.write() as tx:
            await _move(tx, service.book, found)
    return len(found) + await service.drops(suspect, replaced)


async def _move(
    tx: AsyncConnection, book: Book[Any], found: Sequence[tuple[Tracked[Any], State]]
) -> None:
    for tracked, after in found:
        await book.advance(
            tx,
            tracked.request.key,
            tracked.state,
            after,
            reason="reorg",
            **NO_OUTCOME,
        )
        log.get().warning("request_reorged", **tracked.log_context(), to=str(after))


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
    service: ChainService[Any],
    first: int,
    last: int,
    head: Block,
    known: Cursor | None,
    *,
    advance: bool,
) -> tuple[int, int]:
    """
    Store what a range of blocks says, as far as it is not too much at a time, and with it, unless
    it was read before, how far that is; return the last block, and how many requests moved.
    """
    # Some endpoints tell a log twice.
    told = await service.reader.logs(service.contract, first, last, service.topics)
    logs, last = _fitting(list(dict.fromkeys(told)), last)
    end = await service.reader.block(last)
    if last == head.number and end.hash != head.hash:
        raise InconsistentChainError("the head was replaced while its logs were read")
    if any(item.block_number == last and item.block_hash != end.hash for item in logs):
        raise InconsistentChainError("the logs and the headers of the chain disagree")
    events = [event for item in logs if (event := service.decode(item)) is not None]
    missing = await _missing(service, events, logs, first, last)
    if not (events or missing) and known is not None and last - known.number < QUIET:
        return last, 0
    anchor = await service.reader.block(max(0, last - service.depth - TAIL))
    cursor = Cursor(
        number=last, hash=end.hash, anchor_number=anchor.number, anchor_hash=anchor.hash
    )
    async with service.database.write() as tx:
        await _move(tx, service.book, missing)
        moved = len(missing) + await store_events(tx, service, events)
        ready = await _confirm(tx, service, head) if moved and last == head.number else []
        if advance:
            await move_cursor(tx, service.chain_id, service.contract, cursor)
    if moved:
        fault_point("observed")
    _tell_confirmed(ready)
    return last, moved + len(ready)


async def _missing(
    service: ChainService[Any],
    events: Sequence[object],
    logs: Sequence[Log],
    first: int,
    last: int,
) -> list[tuple[Tracked[Any], State]]:
    """
    Return the requests that a reorg moved, and where to.

    Raises `InconsistentChainError` when a block is still there and only its logs are missing: an
    endpoint that loses logs must not make the node drop what it has promised.
    """
    made = {request.key.request_id for request in requests_in(service, events)}
    fulfilled = {
        (event.request_id, event.block_hash) for event in events if isinstance(event, Outcome)
    }
    blocks = {item.block_number: item.block_hash for item in logs}
    book = service.book
    found: list[tuple[Tracked[Any], State]] = []
    async with service.database.read() as connection:
        known = await service.book.in_states(
            connection,
            service.chain_id,
            service.contract,
            _HELD,
            *(book.made_from, book.made_by),
            limit=None,
            since=first,
            up_to=last,
        )
        settled = await service.book.in_states(
            connection,
            service.chain_id,
            service.contract,
            [State.MINED, State.DONE],
            *(book.served_from, book.served_by),
            limit=None,
            since=first,
            up_to=last,
        )
        for tracked in known:
            if tracked.request.key.request_id not in made:
                place = (tracked.request.block_number, tracked.request.block_hash)
                await _check_replaced(service, place, blocks)
                found.append((tracked, State.ORPHANED))
        gone = {tracked.request.key for tracked, _ in found}
        for tracked in settled:
            assert tracked.outcome is not None
            outcome = (tracked.request.key.request_id, tracked.outcome.block_hash)
            if outcome in fulfilled or tracked.request.key in gone:
                continue
            place = (tracked.outcome.block_number, tracked.outcome.block_hash)
            await _check_replaced(service, place, blocks)
            found.append((tracked, await _again(connection, tracked)))
    return found


async def _check_replaced(
    service: ChainService[Any], place: tuple[int, bytes], blocks: dict[int, bytes]
) -> None:
    number, block_hash = place
    if number not in blocks:
        blocks[number] = (await service.reader.block(number)).hash
    if blocks[number] == block_hash:
        raise InconsistentChainError(f"the endpoint lost logs of block {number}")


async def _again(connection: AsyncConnection, tracked: Tracked[Any]) -> State:
    """
    Return where a request goes whose fulfillment vanished: to its own bytes, or to new ones.
    """
    if tracked.state is State.DONE or tracked.transaction_id is None:
        return State.CONFIRMED
    assert tracked.outcome is not None
    slot = await transactions.get_slot(connection, tracked.transaction_id)
    attempts = await attempts_of(connection, slot.id)
    ours = tracked.outcome.transaction_hash in {one.transaction_hash for one in attempts}
    open_ = slot.state is SlotState.SENT or (slot.state is SlotState.MINED and ours)
    return State.SENT if open_ and slot.purpose is Purpose.FULFILL else State.CONFIRMED


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
