"""
Requests whose earlier bytes may still land: rule 4, none of them gets a second nonce before that
is settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from oracle.request import Request
from oracle.store import transactions
from oracle.store.transactions import SlotState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oracle.evm import Block
    from oracle.request import Tracked
    from oracle.service import ChainService

R = TypeVar("R", bound=Request)

_OPEN = (SlotState.SIGNED, SlotState.SENT, SlotState.MINED)


async def free_to_serve(
    service: ChainService[R], confirmed: Sequence[Tracked[R]], head: Block
) -> list[Tracked[R]]:
    """
    Return the requests for which nothing that went out can land any more.
    """
    slots = {one.transaction_id for one in confirmed if one.transaction_id is not None}
    if not slots:
        return list(confirmed)
    under_way = await may_land(service, slots, head)
    return [tracked for tracked in confirmed if tracked.transaction_id not in under_way]


async def may_land(service: ChainService[Any], slot_ids: Iterable[int], head: Block) -> set[int]:
    """
    Return those of the slots whose bytes may still land: whose nonce the chain has not used, or
    has used in a block that is not settled, which a reorg would give back.

    A nonce that the store has as final and the chain as unused was freed by a deep reorg, which
    `send` has yet to see: its bytes are in somebody's mempool again.
    """
    async with service.database.read() as connection:
        slots = [await transactions.get_slot(connection, id_) for id_ in slot_ids]
    open_ = {slot.id for slot in slots if slot.state in _OPEN}
    used: dict[str, int] = {}
    for slot in slots:
        if slot.state is not SlotState.FINAL or await service.lane_of(slot.wallet) is None:
            continue
        if slot.wallet not in used:
            settled = max(0, head.number - service.depth)
            used[slot.wallet] = await service.reader.nonce(slot.wallet, settled)
        if slot.nonce >= used[slot.wallet]:
            service.look_after(slot.wallet)
            open_.add(slot.id)
    return open_
