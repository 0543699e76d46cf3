"""
Requests whose earlier bytes may still land: rule 4, none of them gets a second nonce before that
is settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from oracle.request import Request
from oracle.store import transactions
from oracle.store.transactions import SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.request import Tracked
    from oracle.service import ChainService

R = TypeVar("R", bound=Request)

_OPEN = (SlotState.SIGNED, SlotState.SENT)
_MINED = (SlotState.MINED, SlotState.FINAL)


async def free_to_serve(
    service: ChainService[R], confirmed: Sequence[Tracked[R]]
) -> list[Tracked[R]]:
    """
    Return the requests for which nothing that went out can land any more.

    A nonce that the store has as mined and the chain as unused was freed by a reorg, which `send`
    has yet to see: its bytes are in somebody's mempool again.
    """
    async with service.database.read() as connection:
        slots = {
            tracked.transaction_id: await transactions.get_slot(connection, tracked.transaction_id)
            for tracked in confirmed
            if tracked.transaction_id is not None
        }
    under_way = {id_ for id_, slot in slots.items() if slot.state in _OPEN}
    used: dict[str, int] = {}
    for id_, slot in slots.items():
        if slot.state not in _MINED or await service.lane_of(slot.wallet) is None:
            continue
        if slot.wallet not in used:
            used[slot.wallet] = await service.reader.nonce(slot.wallet)
        if slot.nonce >= used[slot.wallet]:
            service.look_after(slot.wallet)
            under_way.add(id_)
    return [tracked for tracked in confirmed if tracked.transaction_id not in under_way]
