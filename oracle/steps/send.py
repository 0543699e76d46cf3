"""
Send: SIGNED → SENT → MINED. Broadcasts stored bytes, follows them, and replaces what is stuck at
its own nonce.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.chain.fees import Fees
from oracle.chain.sender import Verdict
from oracle.faults import fault_point
from oracle.lane import open_attempt
from oracle.store import transactions
from oracle.store.schema import transactions as table
from oracle.store.transactions import Attempt, Purpose, Slot, SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.evm import Block, Receipt
    from oracle.lane import Lane
    from oracle.service import ChainService

# Blocks after which bytes that an endpoint took, and nobody mined, are handed out again.
RESEND_AFTER = 4
# Blocks after which they are replaced at a higher fee.
REPLACE_AFTER = 8
# Blocks after which bytes of a wallet whose key is no longer here are given up.
RETIRE_AFTER = 32

_OPEN = (SlotState.SIGNED, SlotState.SENT, SlotState.MINED)
_TAKEN = (Verdict.ACCEPTED, Verdict.KNOWN)


async def send(service: ChainService[Any], head: Block) -> int:
    """
    Move every open slot as far as the chain lets it; return how many slots moved.

    Guarantees: a seed is written down as exposed before the first byte of it leaves; a nonce is
    never filled with anything but its own bytes, a replacement of them, or a filler; what a crash
    interrupts goes on with the same bytes, also when the node has another wallet by now.

    Does not: use a second nonce for a request while the first can still land.
    """
    async with service.database.read() as connection:
        found = await transactions.slots_in(connection, service.chain_id, service.contract, _OPEN)
    moved = 0
    for wallet in sorted({*service.wallets, *(slot.wallet for slot in found)}):
        moved += await _send_from(service, wallet, head)
    return moved


async def _send_from(service: ChainService[Any], wallet: str, head: Block) -> int:
    lane = await service.lane_of(wallet)
    if lane is None:
        used = await service.reader.nonce(wallet)
    else:
        used = await lane.used(service.database, service.reader, service.witnesses)
    moved = 0 if lane is None else await _agree_on_nonces(service, lane, used, head)
    async with service.database.read() as connection:
        slots = await transactions.slots_in(
            connection,
            service.chain_id,
            service.contract,
            _OPEN,
            table.c.wallet == wallet,
        )
    lowest = True
    for slot in slots:
        if slot.state is SlotState.MINED:
            moved += await _recheck(service, slot, head)
            continue
        async with service.database.read() as connection:
            attempts = await transactions.attempts_of(connection, slot.id)
        receipt = await _find_receipt(service, attempts)
        if receipt is not None:
            await _record_mined(service, slot, receipt)
            moved += 1
        elif await _nonce_is_gone(service, slot, head):
            await _give_up(service, slot, "nonce_used_elsewhere")
            moved += 1
        elif lane is None:
            moved += await _push_retired(service, slot, attempts, head)
        elif slot.nonce < used and all(one.sent_block is None for one in attempts):
            # Nothing of it has left, and nothing of it can land.
            await _give_up(service, slot, "nonce_used_elsewhere")
            moved += 1
        else:
            moved += await _push(service, lane, slot, attempts, head, lowest=lowest)
            lowest = False
    return moved


async def _agree_on_nonces(service: ChainService[Any], lane: Lane, used: int, head: Block) -> int:
    """
    Skip nonces that somebody else used, and fill again those that a deep reorg has freed.
    """
    async with service.database.write() as tx:
        stored = await transactions.next_nonce(tx, service.chain_id, lane.wallet)
        if stored is None or stored < used:
            await transactions.set_next_nonce(tx, service.chain_id, lane.wallet, used)
            return 0
        slots = await transactions.slots_of(
            tx, service.chain_id, lane.wallet, table.c.nonce >= used
        )
    fees = lane.fees.quote(head.base_fee)
    gap = sorted(set(range(used, stored)) - {slot.nonce for slot in slots})
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


async def _find_receipt(service: ChainService[Any], attempts: Sequence[Attempt]) -> Receipt | None:
    for attempt in attempts:
        if attempt.sent_block is not None:
            receipt = await service.reader.receipt(attempt.transaction_hash)
            if receipt is not None:
                return receipt
    return None


async def _push(
    service: ChainService[Any],
    lane: Lane,
    slot: Slot,
    attempts: Sequence[Attempt],
    head: Block,
    *,
    lowest: bool,
) -> int:
    newest = attempts[0]
    fits = await _fits(service, slot, attempts, head)
    if not fits and await _fill(service, lane, slot, newest, head):
        return 1
    if newest.sent_block is None:
        await _record_sent(service, slot, newest, head)
        await _broadcast(service, slot, newest, head)
        return 1
    # What waits behind a lower nonce, or for funds, is not worth more money.
    stuck = (
        newest.verdict not in (Verdict.UNFUNDED, Verdict.STALE)
        and head.number - newest.sent_block >= REPLACE_AFTER
    )
    if lowest and stuck:
        fees = lane.fees.bump(Fees(newest.max_fee, newest.priority_fee), head.base_fee)
        if fees is not None:
            async with service.database.write() as tx:
                newest = await lane.replace(tx, newest, fees)
            fault_point("replaced")
            await _record_sent(service, slot, newest, head)
            await _broadcast(service, slot, newest, head)
            return 1
        log.get().warning("replacement_capped", nonce=slot.nonce)
    await _repeat(service, slot, newest, head)
    return 0


async def _push_retired(
    service: ChainService[Any], slot: Slot, attempts: Sequence[Attempt], head: Block
) -> int:
    """
    Follow bytes of a wallet that this node no longer has: they can be repeated, never replaced.
    """
    newest = attempts[0]
    fits = await _fits(service, slot, attempts, head)
    if newest.sent_block is None:
        if not fits:
            await _give_up(service, slot, "wallet_retired")
        else:
            await _record_sent(service, slot, newest, head)
            await _broadcast(service, slot, newest, head)
        return 1
    if not fits or head.number - newest.sent_block >= RETIRE_AFTER:
        await _give_up(service, slot, "wallet_retired")
        return 1
    await _repeat(service, slot, newest, head)
    return 0


async def _repeat(service: ChainService[Any], slot: Slot, newest: Attempt, head: Block) -> None:
    """
    Hand the same bytes out again: soon if nobody took them, now and then if somebody did.
    """
    pause = RESEND_AFTER if newest.verdict in _TAKEN else 1
    tried = newest.tried_block
    # A try above the head was made on blocks that were rolled back.
    if tried is None or tried > head.number or head.number - tried >= pause:
        await _broadcast(service, slot, newest, head)


async def _fits(
    service: ChainService[Any], slot: Slot, attempts: Sequence[Attempt], head: Block
) -> bool:
    if slot.purpose is Purpose.FILLER:
        return True
    # A block that has become smaller never takes what was made for a larger one.
    return slot.gas_limit <= head.gas_limit and await service.fits(slot, attempts, head)


async def _fill(
    service: ChainService[Any], lane: Lane, slot: Slot, newest: Attempt, head: Block
) -> bool:
    """
    Give a slot a filler; false when the cap does not let it outbid what was sent.
    """
    last = Fees(newest.max_fee, newest.priority_fee)
    fees = last if newest.sent_block is None else lane.fees.bump(last, head.base_fee)
    if fees is None:
        return False
    async with service.database.write() as tx:
        if slot.state is SlotState.SIGNED:
            # Nothing has left: what is still wanted is drawn again, into another slot.
            await service.releases(tx, slot, "bytes_outdated")
        await lane.fill(tx, slot, fees)
    service.pool.note_erasure()
    log.get().info("slot_filled", nonce=slot.nonce)
    return True


async def _record_sent(
    service: ChainService[Any], slot: Slot, attempt: Attempt, head: Block
) -> None:
    async with service.database.write() as tx:
        await transactions.mark_sent(tx, attempt, head.number)
        if slot.state is SlotState.SIGNED:
            await transactions.advance_slot(tx, slot, SlotState.SENT)
            await service.leaves(tx, slot)
    fault_point("sent-recorded")


async def _broadcast(
    service: ChainService[Any], slot: Slot, attempt: Attempt, head: Block
) -> None:
    signed = open_attempt(service.pool.key, attempt)
    verdict, words = await service.sender.broadcast(signed)
    fault_point("broadcast")
    async with service.database.write() as tx:
        await transactions.record_verdict(tx, attempt, verdict, head.number)
    context = {
        "nonce": slot.nonce,
        "purpose": str(slot.purpose),
        "transaction": "0x" + attempt.transaction_hash.hex(),
    }
    if verdict in _TAKEN:
        log.get().info("transaction_sent", **context)
    elif verdict is Verdict.UNFUNDED:
        needed = slot.gas_limit * attempt.max_fee
        balance = await service.reader.balance(slot.wallet)
        log.get().error(
            "wallet_unfunded",
            **context,
            wallet=slot.wallet,
            shortfall_wei=max(0, needed - balance),
        )
    elif verdict is not Verdict.STALE:
        # A used nonce is no news: the receipt of whatever used it is read in the next pass.
        log.get().warning("transaction_refused", **context, verdict=str(verdict), words=words)


async def _record_mined(service: ChainService[Any], slot: Slot, receipt: Receipt) -> None:
    # What others log in the same transaction is none of our business.
    ours = tuple(item for item in receipt.logs if item.address == service.contract)
    async with service.database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.MINED, receipt=receipt)
        settled = await service.lands(tx, slot, replace(receipt, logs=ours))
    fault_point("mined")
    say = log.get().info if receipt.ok else log.get().error
    say(
        "transaction_mined",
        nonce=slot.nonce,
        purpose=str(slot.purpose),
        block=receipt.block_number,
        gas_used=receipt.gas_used,
        ok=receipt.ok,
        fulfilled=settled,
    )


async def _nonce_is_gone(service: ChainService[Any], slot: Slot, head: Block) -> bool:
    """
    Return whether the chain has, at the confirmation depth, used the slot's nonce otherwise.
    """
    if slot.state is not SlotState.SENT or await service.reader.nonce(slot.wallet) <= slot.nonce:
        return False
    settled = max(0, head.number - service.depth)
    return await service.reader.nonce(slot.wallet, settled) > slot.nonce


async def _give_up(service: ChainService[Any], slot: Slot, reason: str) -> None:
    async with service.database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.LOST)
        await service.releases(tx, slot, reason)
        await transactions.erase_attempts(tx, slot.id)
    service.pool.note_erasure()
    log.get().error(
        reason,
        nonce=slot.nonce,
        wallet=slot.wallet,
        advice="the node needs a wallet that nothing else sends from",
    )


async def _recheck(service: ChainService[Any], slot: Slot, head: Block) -> int:
    """
    Put a slot back to SENT when a reorg took its transaction out of the chain.
    """
    assert slot.mined_block is not None
    if slot.mined_block <= head.number:
        if (await service.reader.block(slot.mined_block)).hash == slot.mined_block_hash:
            return 0
    elif not service.devnet:
        # The receipt is younger than the head of this pass.
        return 0
    async with service.database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.SENT)
    log.get().warning("transaction_reorged", nonce=slot.nonce, block=slot.mined_block)
    return 1
