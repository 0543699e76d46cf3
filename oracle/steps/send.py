"""
Send: SIGNED → SENT → MINED. Broadcasts stored bytes, follows them, and replaces what is stuck at
its own nonce.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.chain.fees import Fees
from oracle.chain.sender import Verdict
from oracle.faults import fault_point
from oracle.freed import agree_on_nonces
from oracle.landing import AT_ONCE, count_used, find_receipts, nonce_is_gone, recheck
from oracle.lane import open_attempt
from oracle.store import nonces, transactions
from oracle.store.attempts import (
    Attempt,
    attempts_among,
    erase_attempts,
    mark_sent,
    record_verdicts,
)
from oracle.store.soundness import damaged
from oracle.store.transactions import Purpose, Slot, SlotState
from oracle.together import together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

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


@dataclass(slots=True)
class _Outbox:
    """
    Bytes that leave in this pass: per wallet in the order of their nonces.
    """

    #: Those that leave for the first time, which has to be written down before.
    new: list[tuple[Slot, Attempt]] = field(default_factory=list)
    by_wallet: dict[str, list[tuple[Slot, Attempt]]] = field(default_factory=dict)

    def put(self, slot: Slot, attempt: Attempt, *, new: bool) -> None:
        if new:
            self.new.append((slot, attempt))
        self.by_wallet.setdefault(slot.wallet, []).append((slot, attempt))


async def send(service: ChainService[Any], head: Block) -> int:
    """
    Move every open slot as far as the chain lets it; return how many slots moved.

    Guarantees: a seed is written down as exposed before the first byte of it leaves; a nonce is
    never filled with anything but its own bytes, a replacement of them, or a filler; the bytes of
    one wallet leave in the order of their nonces; what a crash interrupts goes on with the same
    bytes, also when the node has another wallet by now.

    Does not: use a second nonce for a request while the first can still land.
    """
    async with service.database.read() as connection:
        slots, attempts = await _open_slots(connection, service)
        wallets = sorted({*service.wallets, *(slot.wallet for slot in slots)})
        if not wallets:
            return 0
        stored = await nonces.next_nonces(connection, service.chain_id, wallets)
    lanes = {wallet: await service.lane_of(wallet) for wallet in wallets}
    ours = [lane for lane in lanes.values() if lane is not None]
    counts = await together(
        [partial(count_used, service, wallet, lanes[wallet], stored) for wallet in wallets],
        AT_ONCE,
    )
    used = dict(zip(wallets, counts, strict=True))
    moved = await agree_on_nonces(service, ours, used, stored, slots, head)
    if moved:
        async with service.database.read() as connection:
            slots, attempts = await _open_slots(connection, service)
    moved += await recheck(service, [one for one in slots if one.state is SlotState.MINED], head)
    open_ = [one for one in slots if one.state is not SlotState.MINED]
    if not open_:
        return moved
    if bare := [slot for slot in open_ if not attempts[slot.id]]:
        raise damaged("attempts", f"transaction {bare[0].id} has none of its bytes")
    landed = await find_receipts(service, open_, attempts, used)
    await _record_mined(service, landed)
    mined = {slot.id for slot, _ in landed}
    left = [slot for slot in open_ if slot.id not in mined]
    return moved + len(landed) + await _push_all(service, left, attempts, lanes, used, head)


async def _open_slots(
    connection: AsyncConnection, service: ChainService[Any]
) -> tuple[list[Slot], dict[int, list[Attempt]]]:
    """
    Return the slots that are followed, and the attempts of those that are not mined.
    """
    slots = await transactions.slots_in(connection, service.chain_id, service.contract, _OPEN)
    open_ = [one.id for one in slots if one.state is not SlotState.MINED]
    return slots, await attempts_among(connection, open_)


async def _push_all(
    service: ChainService[Any],
    slots: Sequence[Slot],
    attempts: Mapping[int, Sequence[Attempt]],
    lanes: Mapping[str, Lane | None],
    used: Mapping[str, int],
    head: Block,
) -> int:
    """
    Give up, fill, replace, hand out or repeat what has not landed; return how many slots moved.
    """
    left = []
    for slot in slots:
        # Nothing of it has left, and nothing of it can land.
        unsent = all(one.sent_block is None for one in attempts[slot.id])
        stale = lanes[slot.wallet] is not None and slot.nonce < used[slot.wallet] and unsent
        if stale or await nonce_is_gone(service, slot, attempts[slot.id], used, head):
            await _give_up(service, slot, "nonce_used_elsewhere")
        else:
            left.append(slot)
    moved = len(slots) - len(left)
    # A block that has become smaller never takes what was made for a larger one.
    judged = [
        (one, attempts[one.id])
        for one in left
        if one.purpose is not Purpose.FILLER and one.gas_limit <= head.gas_limit
    ]
    fitting = await service.fitting(judged, head) if judged else set()
    outbox, pushed = _Outbox(), set[str]()
    for slot in left:
        lane, newest = lanes[slot.wallet], attempts[slot.id][0]
        fits = slot.purpose is Purpose.FILLER or slot.id in fitting
        if lane is None:
            moved += await _push_retired(service, slot, newest, head, outbox, fits=fits)
        else:
            lowest = slot.wallet not in pushed
            pushed.add(slot.wallet)
            moved += await _push(
                service, lane, slot, newest, head, outbox, fits=fits, lowest=lowest
            )
    await _empty(service, outbox, head)
    return moved


async def _push(  # noqa: PLR0913 - a slot and all that decides
    service: ChainService[Any],
    lane: Lane,
    slot: Slot,
    newest: Attempt,
    head: Block,
    outbox: _Outbox,
    *,
    fits: bool,
    lowest: bool,
) -> int:
    if not fits and await _fill(service, lane, slot, newest, head):
        return 1
    if newest.sent_block is None:
        outbox.put(slot, newest, new=True)
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
                dearer = await lane.replace(tx, newest, fees)
            fault_point("replaced")
            outbox.put(slot, dearer, new=True)
            return 1
        log.get().warning("replacement_capped", nonce=slot.nonce)
    _repeat(slot, newest, head, outbox)
    return 0


async def _push_retired(
    service: ChainService[Any],
    slot: Slot,
    newest: Attempt,
    head: Block,
    outbox: _Outbox,
    *,
    fits: bool,
) -> int:
    """
    Follow bytes of a wallet that this node no longer has: they can be repeated, never replaced.
    """
    if newest.sent_block is None:
        if not fits:
            await _give_up(service, slot, "wallet_retired")
        else:
            outbox.put(slot, newest, new=True)
        return 1
    if not fits or head.number - newest.sent_block >= RETIRE_AFTER:
        await _give_up(service, slot, "wallet_retired")
        return 1
    _repeat(slot, newest, head, outbox)
    return 0


def _repeat(slot: Slot, newest: Attempt, head: Block, outbox: _Outbox) -> None:
    """
    Hand the same bytes out again: soon if nobody took them, now and then if somebody did.
    """
    pause = RESEND_AFTER if newest.verdict in _TAKEN else 1
    tried = newest.tried_block
    # A try above the head was made on blocks that were rolled back.
    if tried is None or tried > head.number or head.number - tried >= pause:
        outbox.put(slot, newest, new=False)


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


async def _empty(service: ChainService[Any], outbox: _Outbox, head: Block) -> None:
    """
    Write down what leaves, hand it out, and write down what the endpoint said.
    """
    if outbox.new:
        first = [slot for slot, _ in outbox.new if slot.state is SlotState.SIGNED]
        async with service.database.write() as tx:
            await mark_sent(tx, [attempt for _, attempt in outbox.new], head.number)
            await transactions.advance_slots(tx, first, SlotState.SENT)
            await service.leave(tx, first)
        for _ in outbox.new:
            fault_point("sent-recorded")
    if not outbox.by_wallet:
        return
    told = await together(
        [partial(_broadcast, service, queue) for queue in outbox.by_wallet.values()], AT_ONCE
    )
    verdicts = [one for each in told for one in each]
    async with service.database.write() as tx:
        await record_verdicts(
            tx, [(attempt, verdict) for _, attempt, verdict, _ in verdicts], head.number
        )
    for slot, attempt, verdict, words in verdicts:
        await _tell(service, slot, attempt, verdict, words)


async def _broadcast(
    service: ChainService[Any], queue: Sequence[tuple[Slot, Attempt]]
) -> list[tuple[Slot, Attempt, Verdict, str]]:
    """
    Hand out bytes of one wallet, one after the other; return what was said to them.
    """
    told = []
    for slot, attempt in queue:
        signed = open_attempt(service.pool.key, attempt)
        verdict, words = await service.sender.broadcast(signed)
        fault_point("broadcast")
        told.append((slot, attempt, verdict, words))
    return told


async def _tell(
    service: ChainService[Any], slot: Slot, attempt: Attempt, verdict: Verdict, words: str
) -> None:
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


async def _record_mined(
    service: ChainService[Any], landed: Sequence[tuple[Slot, Receipt]]
) -> None:
    if not landed:
        return
    # What others log in the same transaction is none of our business.
    ours = [
        (
            slot,
            replace(
                receipt,
                logs=tuple(item for item in receipt.logs if item.address == service.contract),
            ),
        )
        for slot, receipt in landed
    ]
    async with service.database.write() as tx:
        await transactions.land_slots(tx, landed)
        settled = await service.land(tx, ours)
    for slot, receipt in landed:
        fault_point("mined")
        say = log.get().info if receipt.ok else log.get().error
        say(
            "transaction_mined",
            nonce=slot.nonce,
            purpose=str(slot.purpose),
            block=receipt.block_number,
            gas_used=receipt.gas_used,
            ok=receipt.ok,
            fulfilled=settled[slot.id],
        )


async def _give_up(service: ChainService[Any], slot: Slot, reason: str) -> None:
    async with service.database.write() as tx:
        await transactions.advance_slot(tx, slot, SlotState.LOST)
        await service.releases(tx, slot, reason)
        await erase_attempts(tx, [slot.id])
    service.pool.note_erasure()
    log.get().error(
        reason,
        nonce=slot.nonce,
        wallet=slot.wallet,
        advice="the node needs a wallet that nothing else sends from",
    )
