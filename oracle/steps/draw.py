"""
Draw: CONFIRMED → DRAWN, once the seed of the request's index is known to be ours and at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.faults import fault_point
from oracle.pending import free_to_serve
from oracle.protocols.coordinator import batch_start
from oracle.request import State
from oracle.store import batches, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.coordinator_service import Service
    from oracle.evm import Block
    from oracle.request import RandomnessRequest, RequestKey


async def draw(service: Service, head: Block) -> int:
    """
    Bind every confirmed request to its committed seed; return how many requests moved.

    Guarantees: the contract chose the index, so there is nothing to choose here; a request waits
    while bytes that went out for it may still land, after a reorg too; nothing is revealed for the
    first time in the last blocks of a window, or under a root that this store did not build.
    """
    async with service.database.read() as connection:
        confirmed = await requests.in_states(
            connection, service.chain_id, service.contract, [State.CONFIRMED]
        )
    confirmed = await free_to_serve(service, confirmed, head)
    if not confirmed:
        return 0
    async with service.database.write() as tx:
        judged = await _judge(tx, service, [tracked.request for tracked in confirmed], head)
        for (after, reason), keys in judged.items():
            await requests.advance_all(
                tx, keys, State.CONFIRMED, after, reason=reason, transaction_id=None
            )
    kept_back = {
        key: reason
        for (after, reason), keys in judged.items()
        if after is not State.DRAWN
        for key in keys
    }
    for tracked in confirmed:
        if tracked.request.key in kept_back:
            reason = kept_back[tracked.request.key]
            log.get().error("request_not_served", **tracked.log_context(), reason=reason)
    fault_point("drawn")
    return len(confirmed)


async def _judge(
    tx: AsyncConnection, service: Service, confirmed: Sequence[RandomnessRequest], head: Block
) -> dict[tuple[State, str | None], list[RequestKey]]:
    """
    Return where requests go, and why.
    """
    chain_id, contract = service.chain_id, service.contract
    indices = [request.seed_index for request in confirmed]
    exposed = await service.pool.exposed(tx, chain_id, contract, indices)
    ours = await batches.ours_among(tx, chain_id, contract, map(batch_start, indices))
    at_hand = await service.pool.seeds(tx, chain_id, contract, indices)
    judged: dict[tuple[State, str | None], list[RequestKey]] = {}
    for request in confirmed:
        index = request.seed_index
        verdict: tuple[State, str | None] = State.DRAWN, None
        if service.too_late(request, head, exposed=index in exposed):
            verdict = State.EXPIRED, "window_closing"
        elif batch_start(index) not in ours:
            verdict = State.REJECTED, "foreign_root"
        elif index not in at_hand:
            verdict = State.FAILED, "seed_gone"
        elif index in exposed:
            verdict = State.DRAWN, "seed_exposed_before"
        judged.setdefault(verdict, []).append(request.key)
    return judged
