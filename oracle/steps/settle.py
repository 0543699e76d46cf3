"""
Settle: MINED → DONE at the confirmation depth; and erase: the end of every secret that is no
longer needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.coordinator_service import Service
from oracle.errors import InconsistentChainError, OracleError
from oracle.faults import fault_point
from oracle.protocols.coordinator import BATCH
from oracle.request import State
from oracle.store import batches, discards, transactions
from oracle.store.attempts import erase_attempts
from oracle.store.batches import BatchState
from oracle.store.transactions import SlotState

if TYPE_CHECKING:
    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Block
    from oracle.service import ChainService
    from oracle.store.discards import Discard


async def settle(service: ChainService[Any], head: Block) -> int:
    """
    Finish what is deep enough; return how many requests moved.

    Guarantees: a request is done only when the block that holds its fulfillment is the canonical
    one at that depth; signed bytes are erased with it.
    """
    settled = head.number - service.depth
    async with service.database.read() as connection:
        mined = await service.book.in_states(
            connection,
            service.chain_id,
            service.contract,
            [State.MINED],
            service.book.served_by,
            up_to=settled,
        )
        slots = await transactions.slots_in(
            connection, service.chain_id, service.contract, [SlotState.MINED]
        )
    slots = [
        slot for slot in slots if slot.mined_block is not None and slot.mined_block <= settled
    ]
    blocks = {
        (t.outcome.block_number, t.outcome.block_hash) for t in mined if t.outcome is not None
    }
    blocks |= {(slot.mined_block or 0, slot.mined_block_hash or b"") for slot in slots}
    for number, block_hash in sorted(blocks):
        if (await service.reader.block(number)).hash != block_hash:
            raise InconsistentChainError(
                f"block {number} was replaced: what it held is read again"
            )
    if not (mined or slots):
        return 0
    async with service.database.write() as tx:
        keys = [tracked.request.key for tracked in mined]
        await service.book.advance_all(tx, keys, State.MINED, State.DONE)
        await transactions.advance_slots(tx, slots, SlotState.FINAL)
        if slots:
            await erase_attempts(tx, [slot.id for slot in slots])
            service.pool.note_erasure()
        await service.closes(tx, keys, settled)
    for tracked in mined:
        log.get().info("request_done", **tracked.log_context())
    if mined:
        fault_point("done")
    return len(mined)


async def erase(service: ChainService[Any], head: Block) -> None:
    """
    Erase seeds once their window has passed for good, or once it is final that they were discarded
    or that another root has taken their place.
    """
    settled = head.number - service.depth
    async with service.database.write() as tx:
        await service.closes(tx, [], settled)
    if isinstance(service, Service):
        await _erase_lost(service, settled)
        await _erase_discarded(service, settled)


async def _erase_lost(service: Service, settled: int) -> None:
    """
    Erase the seeds of batches whose place on chain another root has taken for good.
    """
    async with service.database.read() as connection:
        lost = await batches.in_states(
            connection, service.chain_id, service.contract, [BatchState.LOST]
        )
    for batch in lost:
        query = service.protocol.encode_root_of(batch.first_index // BATCH)
        root = await service.reader.call(service.contract, query, settled)
        if len(root) != len(batch.root) or root in (batch.root, bytes(32)):
            continue
        async with service.database.write() as tx:
            indices = range(batch.first_index, batch.first_index + BATCH)
            await service.pool.erase_unrevealed(tx, service.chain_id, service.contract, indices)
            await batches.set_state(tx, batch, BatchState.ERASED)


async def _erase_discarded(service: Service, settled: int) -> None:
    """
    Erase the seeds of indices that no request will ever take.

    A batch at a time: what a crash interrupts is found again. Nothing was erased for a discard
    whose block is replaced before it is deep enough.
    """
    async with service.database.read() as connection:
        pending = await discards.pending(connection, service.chain_id, service.contract, settled)
    for discard in pending:
        if (await service.reader.block(discard.block_number)).hash != discard.block_hash:
            async with service.database.write() as tx:
                await discards.forget(tx, discard)
            continue
        if not await _are_passed(service, discard, settled):
            continue
        erased = 0
        async with service.database.read() as connection:
            slices = await discards.slices(connection, discard, BATCH)
        for indices in slices:
            async with service.database.write() as tx:
                erased += await discards.erase(
                    tx, service.pool, service.chain_id, service.contract, indices
                )
        async with service.database.write() as tx:
            await discards.mark_erased(tx, discard)
        log.get().info(
            "discarded_seeds_erased",
            first_index=discard.first_index,
            up_to=discard.up_to,
            erased=erased,
        )


async def _are_passed(service: Service, discard: Discard, settled: int) -> bool:
    """
    Return whether the coordinator's own counter is past a discard, and so at a second endpoint
    unless the first is trusted: one alone could have the node erase what it has committed to.
    """

    async def passed(reader: ChainReader) -> bool:
        answer = await reader.call(service.contract, service.protocol.SEEDS, settled)
        return service.protocol.decode_counters(answer).next >= discard.up_to

    if not await passed(service.reader):
        log.get().warning("discard_unconfirmed", up_to=discard.up_to)
        return False
    for witness in service.witnesses or ():
        try:
            if await passed(witness):
                return True
        except OracleError as error:
            if not error.retryable:
                raise
            log.get().warning("witness_silent", error=str(error))
    return service.witnesses is None
