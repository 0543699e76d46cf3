"""
Send: SIGNED → SENT → MINED. Broadcasts stored bytes, follows them, and replaces what is stuck at
its own nonce.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.chain.fees import Fees
from oracle.chain.sender import Verdict
from oracle.faults import fault_point
from oracle.request import Outcome, State
from oracle.store import requests, transactions
from oracle.store.transactions import Attempt, Purpose, Slot, SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block, Receipt
    from oracle.request import TrackedRequest
    from oracle.service import Service

# Blocks after which bytes that nobody mined are handed out again.
RESEND_AFTER = 4
# Blocks after which bytes that nobody mined are replaced at a higher fee.
REPLACE_AFTER = 8
# Reverted transactions after which a request is given up.
MAX_REVERTS = 3


async def send(service: Service, head: Block) -> int:
    """
    Move every open slot of the lane as far as the chain lets it; return how many slots moved.

    Guarantees: a seed is written down as exposed before the first byte of it leaves; a nonce is
    never filled with anything but its own bytes, a replacement of them, or a filler; what a crash
    interrupts goes on with the same bytes.

    Does not: use a second nonce for a request while the first can still land.
    """
    async with service.database.read() as connection:
        slots = await transactions.slots_in(
            connection,
            service.chain_id,
            service.lane.wallet,
            [SlotState.SIGNED, SlotState.SENT, SlotState.MINED],
        )
    moved = 0
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
            await _record_lost(service, slot)
            moved += 1
        else:
            moved += await _push(service, slot, attempts, head)
    return moved


async def _find_receipt(service: Service, attempts: Sequence[Attempt]) -> Receipt | None:
    for attempt in attempts:
        if attempt.sent_block is not None:
            receipt = await service.reader.receipt(attempt.transaction_hash)
            if receipt is not None:
                return receipt
    return None


async def _push(service: Service, slot: Slot, attempts: Sequence[Attempt], head: Block) -> int:
    newest = attempts[0]
    if not await _still_fits(service, slot):
        return await _replace_by_filler(service, slot, newest, head)
    if newest.sent_block is None:
        await _record_sent(service, slot, newest, head)
        await _broadcast(service, slot, newest)
        return 1
    waited = head.number - newest.sent_block
    if waited >= REPLACE_AFTER:
        fees = service.lane.fees.bump(Fees(newest.max_fee, newest.priority_fee), head.base_fee)
        if fees is not None:
            async with service.database.write() as tx:
                newest = await service.lane.replace(tx, newest, fees)
            fault_point("replaced")
            await _record_sent(service, slot, newest, head)
            await _broadcast(service, slot, newest)
            return 1
        log.get().warning("replacement_capped", nonce=slot.nonce, waited_blocks=waited)
    if waited and waited % RESEND_AFTER == 0:
        await _broadcast(service, slot, newest)
    return 0


async def resume(service: Service) -> None:
    """
    Hand out again whatever may have left before a crash, or may not have: the same bytes either
    way.
    """
    async with service.database.read() as connection:
        slots = await transactions.slots_in(
            connection, service.chain_id, service.lane.wallet, [SlotState.SENT]
        )
    for slot in slots:
        async with service.database.read() as connection:
            attempts = await transactions.attempts_of(connection, slot.id)
        if await _find_receipt(service, attempts) is None and await _still_fits(service, slot):
            await _broadcast(service, slot, attempts[0])


async def _still_fits(service: Service, slot: Slot) -> bool:
    """
    Return whether what the slot's bytes serve is where it was when they were made.
    """
    if slot.purpose is not Purpose.FULFILL:
        return True
    async with service.database.read() as connection:
        served = await requests.of_transaction(connection, slot.id)
    state = State.SIGNED if slot.state is SlotState.SIGNED else State.SENT
    return bool(served) and all(tracked.state is state for tracked in served)


async def _replace_by_filler(service: Service, slot: Slot, newest: Attempt, head: Block) -> int:
    base = Fees(newest.max_fee, newest.priority_fee)
    fees = service.lane.fees.bump(base, head.base_fee) if newest.sent_block else base
    if fees is None:
        log.get().warning("filler_capped", nonce=slot.nonce)
        return 0
    async with service.database.write() as tx:
        await service.lane.fill(tx, slot, fees)
        if slot.state is SlotState.SIGNED:
            # Nothing has left: what is still wanted is drawn again, into another slot.
            await _release(tx, await requests.of_transaction(tx, slot.id), "bytes_outdated")
    log.get().info("slot_filled", nonce=slot.nonce)
    return 1


async def _record_sent(service: Service, slot: Slot, attempt: Attempt, head: Block) -> None:
    async with service.database.write() as tx:
        await transactions.mark_sent(tx, attempt, head.number)
        if slot.state is SlotState.SIGNED:
            await transactions.advance_slot(tx, slot, SlotState.SENT)
            served = await requests.of_transaction(tx, slot.id)
            if slot.purpose is Purpose.FULFILL:
                await service.pool.expose(
                    tx,
                    service.chain_id,
                    service.contract,
                    [tracked.request.seed_index for tracked in served],
                )
                for tracked in served:
                    await requests.advance(tx, tracked.request.key, State.SIGNED, State.SENT)
    fault_point("sent-recorded")


async def _broadcast(service: Service, slot: Slot, attempt: Attempt) -> None:
    signed = service.lane.signed_bytes(attempt)
    verdict, words = await service.sender.broadcast(signed)
    fault_point("broadcast")
    context = {
        "nonce": slot.nonce,
        "purpose": str(slot.purpose),
        "transaction": "0x" + attempt.transaction_hash.hex(),
    }
    if verdict in (Verdict.ACCEPTED, Verdict.KNOWN):
        log.get().info("transaction_sent", **context)
    elif verdict is Verdict.UNFUNDED:
        needed = slot.gas_limit * attempt.max_fee
        balance = await service.reader.balance(service.lane.wallet)
        log.get().error(
            "wallet_unfunded",
            **context,
            wallet=service.lane.wallet,
            shortfall_wei=max(0, needed - balance),
        )
    elif verdict is not Verdict.STALE:
        # A used nonce is no news: the receipt of whatever used it is read in the next pass.
        log.get().warning("transaction_refused", **context, words=words)


async def _record_mined(service: Service, slot: Slot, receipt: Receipt) -> None:
    events = [
        service.protocol.decode(item) for item in receipt.logs if item.address == service.contract
    ]
    outcomes = {event.request_id: event for event in events if isinstance(event, Outcome)}
    async with service.database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.MINED, receipt=receipt)
        passed_over = []
        for tracked in await requests.of_transaction(tx, slot.id):
            outcome = outcomes.get(tracked.request.key.request_id)
            if outcome is None:
                passed_over.append(tracked)
            elif tracked.state in (State.SIGNED, State.SENT):
                await requests.fulfilled(tx, tracked, outcome)
        await _release(tx, passed_over, "passed_over" if receipt.ok else "reverted")
    fault_point("mined")
    log.get().info(
        "transaction_mined",
        nonce=slot.nonce,
        purpose=str(slot.purpose),
        block=receipt.block_number,
        gas_used=receipt.gas_used,
        ok=receipt.ok,
        fulfilled=len(outcomes),
    )


async def _release(tx: AsyncConnection, served: Sequence[TrackedRequest], reason: str) -> None:
    for tracked in served:
        if tracked.state not in (State.SIGNED, State.SENT):
            continue
        after = State.CONFIRMED
        if reason == "reverted":
            events = await requests.history(tx, tracked.request.key)
            if sum(event.reason == reason for event in events) + 1 >= MAX_REVERTS:
                after = State.FAILED
                log.get().error("request_given_up", **tracked.log_context(), reason=reason)
        await requests.advance(tx, tracked.request.key, tracked.state, after, reason=reason)


async def _nonce_is_gone(service: Service, slot: Slot, head: Block) -> bool:
    """
    Return whether the chain has, at the confirmation depth, used the slot's nonce for something
    else.
    """
    if slot.state is not SlotState.SENT:
        return False
    settled = max(0, head.number - service.depth)
    return await service.reader.nonce(service.lane.wallet, settled) > slot.nonce


async def _record_lost(service: Service, slot: Slot) -> None:
    async with service.database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.LOST)
        await _release(tx, await requests.of_transaction(tx, slot.id), "nonce_used_elsewhere")
    log.get().error(
        "nonce_used_elsewhere",
        nonce=slot.nonce,
        wallet=service.lane.wallet,
        advice="something else sends from this wallet: give the node a wallet of its own",
    )


async def _recheck(service: Service, slot: Slot, head: Block) -> int:
    """
    Put a slot back to SENT when a reorg took its transaction out of the chain.
    """
    assert slot.mined_block is not None
    if slot.mined_block > head.number:
        return 0
    if (await service.reader.block(slot.mined_block)).hash == slot.mined_block_hash:
        return 0
    async with service.database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.SENT)
    log.get().warning("transaction_reorged", nonce=slot.nonce, block=slot.mined_block)
    return 1
