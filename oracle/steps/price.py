"""
Price: what serving costs now → the coordinator's gas margin, within the operator's band.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.chain.fees import GWEI
from oracle.chain.probe import price_at
from oracle.chain.ranges import SPAN, logs_in_ranges
from oracle.errors import InconsistentChainError, RevertedError
from oracle.pricing import Quote, cost_of, margin_for
from oracle.protocols import roles
from oracle.store import costs, transactions
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from oracle.coordinator_service import Service
    from oracle.evm import Block
    from oracle.pricing import FeeBand
    from oracle.protocols.roles import Ledger

# Transactions that say what serving a request takes.
RECENT = 32


async def price(service: Service, head: Block) -> int:
    """
    Let fees follow what serving costs; return how many changes were signed.

    What the last transactions took, at the present base fee and priority, is held against what the
    requests that they served would pay now.

    Guarantees: the margin is never set outside the band, nor within its pause after the last
    change, whoever made that; one change is under way at a time; what the contract would refuse
    is not sent.

    Does not: touch the flat fee, or what a pending request pays.
    """
    band = service.fee_band
    if band is None or await _is_under_way(service, head):
        return 0
    ledger = await _ledger(service, head)
    margin = await _margin(service, head, ledger, band)
    if margin == ledger.gas_margin_bps or await _was_changed(service, head, band.pause):
        return 0
    fees = service.lane.fees.quote(head.base_fee)
    if fees is None:
        return 0
    data = roles.encode_set_fee(ledger.flat_fee_gwei, margin)
    try:
        await service.reader.call(service.contract, data, head.number, sender=service.lane.wallet)
    except RevertedError as error:
        log.get().error(
            "fee_refused",
            gas_margin_bps=margin,
            refusal=str(roles.decode_refusal(error.data)),
            advice="only the operator's wallet sets the fee, within the coordinator's bounds",
        )
        return 0
    async with service.database.write() as tx:
        slot_id = await service.lane.sign(
            tx,
            Purpose.FEE,
            to=service.contract,
            data=data,
            gas_limit=roles.SET_FEE_GAS,
            fees=fees,
        )
    log.get().info("fee_signed", before=ledger.gas_margin_bps, gas_margin_bps=margin, slot=slot_id)
    return 1


async def _is_under_way(service: Service, head: Block) -> bool:
    async with service.database.read() as connection:
        slots = await transactions.slots_in(
            connection,
            service.chain_id,
            service.contract,
            [SlotState.SIGNED, SlotState.SENT, SlotState.MINED],
        )
    # A receipt can be younger than the head at which the fee is read.
    return any(
        slot.purpose is Purpose.FEE
        and (slot.state is not SlotState.MINED or (slot.mined_block or 0) > head.number)
        for slot in slots
    )


async def _ledger(service: Service, head: Block) -> Ledger:
    """
    Return the coordinator's counters. The fee among them has no view; those that have one have to
    agree.
    """
    reader, contract = service.reader, service.contract
    ledger = roles.decode_ledger(await reader.storage(contract, roles.COUNTERS_SLOT, head.number))
    answer = await reader.call(contract, service.protocol.SEEDS, head.number)
    seeds = service.protocol.decode_counters(answer)
    if (ledger.next, ledger.committed) != (seeds.next, seeds.committed):
        raise InconsistentChainError(
            "the coordinator's storage and its views disagree, so its fee is not known"
        )
    return ledger


async def _margin(service: Service, head: Block, ledger: Ledger, band: FeeBand) -> int:
    """
    Return the margin to have.
    """
    async with service.database.read() as connection:
        work = await costs.recent_work(connection, service.chain_id, service.contract, RECENT)
    count = len(work.served)
    if not count:
        return band.clamp(ledger.gas_margin_bps)
    typical = service.protocol.encode_fee_at(
        sum(request.callback_gas_limit for request in work.served) // count,
        sum(request.num_words for request in work.served) // count,
        head.base_fee,
    )
    fee = service.protocol.decode_uint(
        await service.reader.call(service.contract, typical, head.number)
    )
    gas_price = head.base_fee + service.lane.fees.priority_fee
    return margin_for(
        cost_of(work, await price_at(service.reader, gas_price)),
        Quote(fee=fee, flat=ledger.flat_fee_gwei * GWEI, margin=ledger.gas_margin_bps),
        band,
    )


async def _was_changed(service: Service, head: Block, blocks: int) -> bool:
    """
    Return whether anybody changed the fee in the last blocks. The chain is asked: it knows also
    what a person did, and after a reorg.
    """
    first = max(service.start_block, head.number - blocks + 1)
    async for found in logs_in_ranges(
        service.reader,
        service.contract,
        first,
        head.number,
        span=SPAN,
        topics=[roles.FEE_CHANGED],
    ):
        if found:
            return True
    return False
