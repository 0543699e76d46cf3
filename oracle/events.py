"""
What the logs of a contract say, written down: requests, what became of them, roots and discards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.coordinator_service import Service
from oracle.errors import InconsistentChainError
from oracle.protocols.coordinator import BATCH
from oracle.protocols.coordinator_events import Cancelled, Committed, Discarded
from oracle.request import TRANSITIONS, Outcome, State
from oracle.store import batches, discards, retention
from oracle.store.batches import BatchState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.request import Tracked
    from oracle.service import ChainService


async def store_events(
    tx: AsyncConnection, service: ChainService[Any], events: Sequence[object]
) -> int:
    """
    Store what a range of blocks says; return how many requests moved.

    On one chain a request comes before whatever settles it, so all of them can go first.
    """
    moved = await service.book.observe_all(tx, requests_in(service, events))
    for event in events:
        if isinstance(event, Committed) and isinstance(service, Service):
            await _apply_commit(tx, service, event)
        elif isinstance(event, Discarded):
            await _apply_discard(tx, service, event)
    outcomes: list[tuple[Tracked[Any], Outcome]] = []
    for tracked, event in await _settled(tx, service, events):
        after = State.CANCELLED if isinstance(event, Cancelled) else State.MINED
        if after not in TRANSITIONS[tracked.state]:
            continue
        moved += 1
        if isinstance(event, Outcome):
            outcomes.append((tracked, event))
        else:
            key = tracked.request.key
            await service.book.advance(tx, key, tracked.state, after, reason="by_requester")
    await service.book.fulfilled_all(tx, outcomes)
    await service.settles(tx, outcomes)
    return moved + await service.notes(tx, events)


async def _settled(
    tx: AsyncConnection, service: ChainService[Any], events: Sequence[object]
) -> list[tuple[Tracked[Any], Outcome | Cancelled]]:
    """
    Return the requests that the events settle, but for those that were pruned, each with its end.

    Raises `InconsistentChainError` when one is settled twice, or was never made.
    """
    settled = {
        event.request_id: event for event in events if isinstance(event, Outcome | Cancelled)
    }
    if len(settled) < sum(isinstance(event, Outcome | Cancelled) for event in events):
        raise InconsistentChainError(
            "a request was settled twice: the endpoint shows two branches at once"
        )
    found = await service.book.find(tx, service.chain_id, service.contract, settled)
    unknown = settled.keys() - found.keys()
    if unknown and service.whole_history:
        pruned = await retention.among(tx, service.chain_id, service.contract, unknown)
        if lost := unknown - pruned:
            raise InconsistentChainError(
                f"request 0x{min(lost).hex()} was settled, but no log made it: "
                "the endpoint lost logs"
            )
    return [(found[id_], event) for id_, event in settled.items() if id_ in found]


async def _apply_commit(tx: AsyncConnection, service: Service, event: Committed) -> None:
    foreign = []
    for place, root in enumerate(event.roots):
        first_index = event.first_index + place * BATCH
        batch = await batches.get(tx, service.chain_id, service.contract, first_index)
        if batch is not None and batch.root == root and batch.state is not BatchState.ERASED:
            if batch.state is not BatchState.COMMITTED:
                await batches.set_state(tx, batch, BatchState.COMMITTED)
                log.get().info("batch_committed", first_index=first_index)
            service.foreign_told.discard(first_index)
            continue
        if batch is not None and batch.state in (BatchState.BUILT, BatchState.COMMITTED):
            await batches.set_state(tx, batch, BatchState.LOST)
        if first_index not in service.foreign_told:
            service.foreign_told.add(first_index)
            foreign.append(first_index)
    if foreign:
        log.get().error(
            "foreign_root",
            first_index=foreign[0],
            up_to=foreign[-1] + BATCH,
            advice="these seeds are not in this database: requests that take them cannot be "
            "served from here; `oracle coordinator discard` puts an end to them",
        )


async def _apply_discard(
    tx: AsyncConnection, service: ChainService[Any], event: Discarded
) -> None:
    # Nothing is erased before that is final: see `settle`.
    discard = discards.Discard(
        chain_id=service.chain_id,
        contract=service.contract,
        first_index=event.first_index,
        up_to=event.up_to,
        block_number=event.block_number,
        block_hash=event.block_hash,
    )
    if await discards.observe(tx, discard):
        log.get().info("seeds_discarded", first_index=event.first_index, up_to=event.up_to)


def requests_in(service: ChainService[Any], events: Sequence[object]) -> list[Any]:
    """
    Return the requests of a service's protocol among events.
    """
    return [event for event in events if isinstance(event, service.request_type)]
