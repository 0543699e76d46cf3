"""
Nonces of a wallet on which store and chain disagree: used by somebody else, or freed by a reorg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.store import nonces, transactions
from oracle.store.schema import transactions as table
from oracle.store.transactions import SlotState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oracle.evm import Block
    from oracle.lane import Lane
    from oracle.service import ChainService
    from oracle.store.transactions import Slot


async def agree_on_nonces(
    service: ChainService[Any],
    lanes: Sequence[Lane],
    used: Mapping[str, int],
    stored: Mapping[str, int],
    open_: Sequence[Slot],
    head: Block,
) -> int:
    """
    Skip nonces that somebody else used, and fill again those that a deep reorg has freed; return
    how many are filled. The chain has `used` so many, the store has given out those that are
    `stored`, and the `open_` slots are followed anyway.
    """
    wallets = [lane.wallet for lane in lanes]
    followed = {(slot.wallet, slot.nonce) for slot in open_}
    if skipped := {one: used[one] for one in wallets if stored.get(one, -1) < used[one]}:
        async with service.database.write() as tx:
            await nonces.skip_nonces(tx, service.chain_id, skipped)
    filled = 0
    for lane in lanes:
        free = range(used[lane.wallet], stored.get(lane.wallet, 0))
        if any((lane.wallet, nonce) not in followed for nonce in free):
            filled += await _fill_freed(service, lane, free, head)
    return filled


async def _fill_freed(service: ChainService[Any], lane: Lane, free: range, head: Block) -> int:
    """
    Give fillers to those of the nonces that the store has given out and the chain has not used
    which nothing is about to fill.
    """
    async with service.database.read() as connection:
        slots = await transactions.slots_of(
            connection, service.chain_id, lane.wallet, table.c.nonce >= free.start
        )
    fees = lane.fees.quote(head.base_fee)
    gap = sorted(set(free) - {slot.nonce for slot in slots})
    freed = [
        slot
        for slot in slots
        if slot.contract == service.contract and await _is_freed(service, slot, head)
    ]
    if fees is None or not (gap or freed):
        return 0
    async with service.database.write() as tx:
        for slot in freed:
            await lane.fill(tx, slot, fees)
        for nonce in gap:
            await lane.fill_gap(tx, nonce, fees)
    log.get().error("nonces_freed", slots=len(freed), gap=gap, advice="a reorg went deep")
    return len(freed) + len(gap)


async def _is_freed(service: ChainService[Any], slot: Slot, head: Block) -> bool:
    """
    Return whether a slot that was closed is open again. An endpoint that is merely behind, and
    counts too few transactions, is no proof.
    """
    if slot.state is SlotState.FINAL:
        assert slot.mined_block is not None
        if slot.mined_block > head.number:
            return True
        return (await service.reader.block(slot.mined_block)).hash != slot.mined_block_hash
    if slot.state is SlotState.LOST:
        settled = max(0, head.number - service.depth)
        return await service.reader.nonce(slot.wallet, settled) <= slot.nonce
    return False
