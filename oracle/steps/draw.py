"""
Draw: CONFIRMED → DRAWN, once the seed of the request's index is known to be ours and at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import SeedGoneError
from oracle.faults import fault_point
from oracle.protocols.coordinator import BATCH
from oracle.request import State
from oracle.store import batches, requests, transactions
from oracle.store.transactions import SlotState

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block
    from oracle.request import RandomnessRequest, TrackedRequest
    from oracle.service import Service


async def draw(service: Service, head: Block) -> int:
    """
    Bind every confirmed request to its committed seed; return how many requests moved.

    Guarantees: the contract chose the index, so there is nothing to choose here; nothing is
    revealed for the first time in the last blocks of a window, or under a root that this store did
    not build.
    """
    async with service.database.write() as tx:
        confirmed = [
            tracked
            for tracked in await requests.in_states(
                tx, service.chain_id, service.contract, [State.CONFIRMED]
            )
            if not await _is_under_way(tx, tracked)
        ]
        for tracked in confirmed:
            after, reason = await _judge(tx, service, tracked.request, head)
            await requests.advance(
                tx,
                tracked.request.key,
                State.CONFIRMED,
                after,
                reason=reason,
                transaction_id=None,
            )
            if after is not State.DRAWN:
                log.get().error("request_not_served", **tracked.log_context(), reason=reason)
    if confirmed:
        fault_point("drawn")
    return len(confirmed)


async def _is_under_way(tx: AsyncConnection, tracked: TrackedRequest) -> bool:
    """
    Return whether bytes that serve the request may still land: it gets no second nonce then.
    """
    if tracked.transaction_id is None:
        return False
    slot = await transactions.get_slot(tx, tracked.transaction_id)
    return slot.state in (SlotState.SIGNED, SlotState.SENT)


async def _judge(
    tx: AsyncConnection, service: Service, request: RandomnessRequest, head: Block
) -> tuple[State, str | None]:
    index = request.seed_index
    exposed = await service.pool.exposed(tx, service.chain_id, service.contract, [index])
    if service.too_late(request, head, exposed=bool(exposed)):
        return State.EXPIRED, "window_closing"
    first_index = index // BATCH * BATCH
    if not await batches.is_ours(tx, service.chain_id, service.contract, first_index):
        return State.REJECTED, "foreign_root"
    try:
        await service.pool.seed(tx, service.chain_id, service.contract, index)
    except SeedGoneError:
        return State.FAILED, "seed_gone"
    return State.DRAWN, "seed_exposed_before" if exposed else None
