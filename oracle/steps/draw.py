"""
Draw: CONFIRMED → DRAWN, once the seed of the request's index is known to be ours and at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.faults import fault_point
from oracle.protocols.coordinator import batch_start
from oracle.request import State
from oracle.store import batches, requests, transactions
from oracle.store.transactions import SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block
    from oracle.request import RandomnessRequest, RequestKey
    from oracle.service import Service
    from oracle.store.transactions import Slot


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
        slots = {
            tracked.transaction_id: await transactions.get_slot(connection, tracked.transaction_id)
            for tracked in confirmed
            if tracked.transaction_id is not None
        }
    if slots:
        used = await service.reader.nonce(service.lane.wallet)
        under_way = {id_ for id_, slot in slots.items() if _may_land(service, slot, used)}
        confirmed = [one for one in confirmed if one.transaction_id not in under_way]
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
    if confirmed:
        fault_point("drawn")
    return len(confirmed)


def _may_land(service: Service, slot: Slot, used: int) -> bool:
    """
    Return whether bytes that served a request may still land: it gets no second nonce then.

    A nonce that the store has as mined and the chain as unused was freed by a reorg, which `send`
    has yet to see: its bytes are in somebody's mempool again.
    """
    if slot.state in (SlotState.MINED, SlotState.FINAL):
        return slot.wallet == service.lane.wallet and slot.nonce >= used
    return slot.state in (SlotState.SIGNED, SlotState.SENT)


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
