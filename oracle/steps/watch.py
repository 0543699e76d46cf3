"""
Watch: the chain's logs → OBSERVED → CONFIRMED, or ORPHANED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import InconsistentChainError
from oracle.faults import fault_point
from oracle.protocols.coordinator import BATCH, Cancelled, Committed
from oracle.request import TRANSITIONS, Outcome, RandomnessRequest, State, TrackedRequest
from oracle.store import batches, requests
from oracle.store.batches import BatchState
from oracle.store.cursors import get_cursor, move_cursor
from oracle.store.schema import requests as table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block
    from oracle.protocols.coordinator import Event
    from oracle.service import Service

# Blocks per query: what public endpoints allow.
RANGE = 1000
# Blocks below the confirmation depth that are read again with every new head.
TAIL = 16


async def watch(service: Service, head: Block) -> int:
    """
    Read what is new and the tail of what is not yet final; return how many requests moved.

    Guarantees: what a range of blocks says and the cursor behind it are stored together; a request
    that its block no longer holds is orphaned before another one can take its index.

    Does not: follow a head that is lower than the last one: it raises `InconsistentChainError`,
    which ends the pass, until the chain or the endpoint has caught up.
    """
    async with service.database.read() as connection:
        cursor = await get_cursor(connection, service.chain_id, service.contract)
    if cursor is None:
        first = service.start_block
    elif cursor[0] > head.number:
        raise InconsistentChainError(
            f"the head is block {head.number}, below block {cursor[0]} that was read before"
        )
    elif cursor == (head.number, head.hash):
        return await _confirm(service, head)
    else:
        first = max(service.start_block, cursor[0] + 1 - service.depth - TAIL)
    moved = 0
    while first <= head.number:
        last = min(first + RANGE - 1, head.number)
        moved += await _read_range(service, first, last, head)
        first = last + 1
    return moved + await _confirm(service, head)


async def _read_range(service: Service, first: int, last: int, head: Block) -> int:
    logs = await service.reader.logs(service.contract, first, last)
    end = await service.reader.block(last)
    if last == head.number and end.hash != head.hash:
        raise InconsistentChainError("the head was replaced while its logs were read")
    if any(item.block_number == last and item.block_hash != end.hash for item in logs):
        raise InconsistentChainError("the logs and the headers of the chain disagree")
    events = [event for item in logs if (event := service.protocol.decode(item)) is not None]
    async with service.database.write() as tx:
        moved = await _orphan_missing(tx, service, events, first, last)
        for event in events:
            moved += await _apply(tx, service, event)
        await move_cursor(tx, service.chain_id, service.contract, last, end.hash)
    if moved:
        fault_point("observed")
    return moved


async def _orphan_missing(
    tx: AsyncConnection, service: Service, events: Sequence[Event], first: int, last: int
) -> int:
    made = {event.key.request_id for event in events if isinstance(event, RandomnessRequest)}
    fulfilled = {
        (event.request_id, event.block_hash) for event in events if isinstance(event, Outcome)
    }
    moved = 0
    known = await requests.in_states(
        tx,
        service.chain_id,
        service.contract,
        set(State) - {State.DONE, State.ORPHANED},
        table.c.block_number.between(first, last),
        limit=-1,
    )
    for tracked in known:
        if tracked.request.key.request_id not in made:
            await _leave(tx, tracked, State.ORPHANED, "reorg")
            moved += 1
    settled = await requests.in_states(
        tx,
        service.chain_id,
        service.contract,
        [State.MINED],
        table.c.outcome_block.between(first, last),
        limit=-1,
    )
    for tracked in settled:
        assert tracked.outcome is not None
        key = (tracked.request.key.request_id, tracked.outcome.block_hash)
        if key not in fulfilled:
            # Its own bytes go out again if it has any; what somebody else sent is rebuilt.
            again = State.CONFIRMED if tracked.transaction_id is None else State.SENT
            await _leave(tx, tracked, again, "reorg")
            moved += 1
    return moved


async def _apply(tx: AsyncConnection, service: Service, event: Event) -> int:
    if isinstance(event, RandomnessRequest):
        return int(await requests.observe(tx, event))
    if isinstance(event, Committed):
        await _apply_commit(tx, service, event)
        return 0
    if not isinstance(event, Outcome | Cancelled):
        return 0
    found = await requests.find(tx, service.chain_id, service.contract, [event.request_id])
    tracked = found.get(event.request_id)
    if tracked is None:
        raise InconsistentChainError(
            f"request 0x{event.request_id.hex()} was settled, but no log made it: the endpoint "
            "lost logs"
        )
    after = State.CANCELLED if isinstance(event, Cancelled) else State.MINED
    if after not in TRANSITIONS[tracked.state]:
        return 0
    if isinstance(event, Cancelled):
        await requests.advance(
            tx, tracked.request.key, tracked.state, after, reason="by_requester"
        )
    else:
        await requests.fulfilled(tx, tracked, event)
    return 1


async def _apply_commit(tx: AsyncConnection, service: Service, event: Committed) -> None:
    for place, root in enumerate(event.roots):
        first_index = event.first_index + place * BATCH
        batch = await batches.get(tx, service.chain_id, service.contract, first_index)
        if batch is not None and batch.root == root:
            if batch.state is not BatchState.COMMITTED:
                await batches.set_state(tx, batch, BatchState.COMMITTED)
                log.get().info("batch_committed", first_index=first_index)
            continue
        log.get().error(
            "foreign_root",
            first_index=first_index,
            root="0x" + root.hex(),
            advice="another store has this operator's key: requests on these indices cannot be "
            "served from here",
        )
        if batch is not None and batch.state is not BatchState.LOST:
            await batches.set_state(tx, batch, BatchState.LOST)


async def _leave(tx: AsyncConnection, tracked: TrackedRequest, after: State, reason: str) -> None:
    await requests.advance(
        tx, tracked.request.key, tracked.state, after, reason=reason, **requests.NO_OUTCOME
    )
    log.get().warning("request_reorged", **tracked.log_context(), to=str(after))


async def _confirm(service: Service, head: Block) -> int:
    lead = 1 if service.devnet else 0
    async with service.database.write() as tx:
        ready = await requests.in_states(
            tx,
            service.chain_id,
            service.contract,
            [State.OBSERVED],
            table.c.block_number + table.c.confirmations - lead <= head.number,
            table.c.block_number + service.depth <= head.number,
        )
        for tracked in ready:
            await requests.advance(tx, tracked.request.key, State.OBSERVED, State.CONFIRMED)
            log.get().info("request_confirmed", **tracked.log_context())
    if ready:
        fault_point("confirmed")
    return len(ready)
