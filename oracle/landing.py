"""
What the chain did with transactions that were sent.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.service import is_served_by
from oracle.store import transactions
from oracle.store.transactions import Slot, SlotState
from oracle.together import together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oracle.evm import Block, Receipt
    from oracle.lane import Lane
    from oracle.service import ChainService
    from oracle.store.attempts import Attempt

# Questions to the endpoint, and wallets whose bytes it is handed, at a time.
AT_ONCE = 8
# Blocks below the confirmation depth after which a receipt is not waited for any more.
RECEIPT_AFTER = 128


async def count_used(
    service: ChainService[Any], wallet: str, lane: Lane | None, stored: Mapping[str, int]
) -> int:
    """
    Return how many nonces of a wallet the chain has used.
    """
    if lane is None:
        return await service.reader.nonce(wallet)
    given_out = stored.get(wallet, 0)
    return await lane.used(service.reader, service.witnesses, given_out=given_out)


async def find_receipts(
    service: ChainService[Any],
    slots: Sequence[Slot],
    attempts: Mapping[int, Sequence[Attempt]],
    used: Mapping[str, int],
) -> list[tuple[Slot, Receipt]]:
    """
    Return the slots one of whose transactions is in a block; those whose nonces the chain has not
    used have none there.
    """
    asked = [
        slot
        for slot in slots
        if slot.nonce < used[slot.wallet]
        and any(one.sent_block is not None for one in attempts[slot.id])
    ]
    found = await together(
        [partial(_find_receipt, service, attempts[slot.id]) for slot in asked], AT_ONCE
    )
    return [
        (slot, receipt) for slot, receipt in zip(asked, found, strict=True) if receipt is not None
    ]


async def _find_receipt(service: ChainService[Any], attempts: Sequence[Attempt]) -> Receipt | None:
    for attempt in attempts:
        if attempt.sent_block is not None:
            receipt = await service.reader.receipt(attempt.transaction_hash)
            if receipt is not None:
                return receipt
    return None


async def nonce_is_gone(
    service: ChainService[Any],
    slot: Slot,
    attempts: Sequence[Attempt],
    used: Mapping[str, int],
    head: Block,
) -> bool:
    """
    Return whether the chain has, at the confirmation depth, used the slot's nonce otherwise:
    neither a log, which can be there before the receipts are, nor the chain itself tells that one
    of its transactions did.
    """
    if slot.state is not SlotState.SENT or used[slot.wallet] <= slot.nonce:
        return False
    settled = max(0, head.number - service.depth)
    if await service.reader.nonce(slot.wallet, settled) <= slot.nonce:
        return False
    async with service.database.read() as connection:
        served = (await service.book.of_transactions(connection, [slot.id]))[slot.id]
    if any(is_served_by(tracked, attempts) for tracked in served):
        return False
    for attempt in attempts:
        shown = await service.reader.transaction(attempt.transaction_hash)
        if shown is not None and shown.block_number > settled - RECEIPT_AFTER:
            return False
    return True


async def recheck(service: ChainService[Any], mined: Sequence[Slot], head: Block) -> int:
    """
    Put slots back to SENT when a reorg took their transactions out of the chain.
    """
    numbers = sorted({slot.mined_block for slot in mined if slot.mined_block is not None})
    shown = [number for number in numbers if number <= head.number]
    blocks = await together([partial(service.reader.block, one) for one in shown], AT_ONCE)
    hashes = {number: block.hash for number, block in zip(shown, blocks, strict=True)}
    back = []
    for slot in mined:
        assert slot.mined_block is not None
        known = hashes.get(slot.mined_block)
        # On other chains a receipt that is younger than this pass's head is no news.
        if known != slot.mined_block_hash if known else service.devnet:
            back.append(slot)
    if back:
        async with service.database.write() as tx:
            await transactions.advance_slots(tx, back, SlotState.SENT)
    for slot in back:
        log.get().warning("transaction_reorged", nonce=slot.nonce, block=slot.mined_block)
    return len(back)
