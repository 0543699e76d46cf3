"""
Commit: the pool → Merkle batches → roots on chain, ahead of the requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.entropy import merkle
from oracle.faults import fault_point
from oracle.protocols.coordinator import BATCH
from oracle.store import batches, transactions
from oracle.store.batches import Batch, BatchState
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from oracle.coordinator_service import Service
    from oracle.evm import Block

# Roots per transaction: 16 make a runway of 4,096 seeds in one.
MAX_ROOTS = 16


async def commit(service: Service, head: Block) -> int:
    """
    Keep the runway: bind seeds to the next indices and send their roots; return how many batches
    were sent.

    Guarantees: a batch is bound and stored before its root is signed; it starts at the chain's own
    counter, and the contract refuses any other start; one commit is under way at a time.
    """
    answer = await service.reader.call(service.contract, service.protocol.SEEDS, head.number)
    counters = service.protocol.decode_counters(answer)
    missing = service.runway - (counters.committed - counters.next)
    if missing <= 0:
        return 0
    async with service.database.read() as connection:
        slots = await transactions.slots_in(
            connection,
            service.chain_id,
            service.contract,
            [SlotState.SIGNED, SlotState.SENT, SlotState.MINED],
        )
    # A receipt can be younger than the head at which the counters were read.
    if any(
        slot.purpose is Purpose.COMMIT
        and (slot.state is not SlotState.MINED or (slot.mined_block or 0) > head.number)
        for slot in slots
    ):
        return 0
    operator = await service.reader.call(service.contract, service.protocol.OPERATOR, head.number)
    if operator[-20:].hex() != service.lane.wallet[2:].lower():
        log.get().error(
            "not_operator",
            operator="0x" + operator[-20:].hex(),
            wallet=service.lane.wallet,
            advice="no seeds can be committed: give the node the operator's wallet",
        )
        return 0
    fees = service.lane.fees.quote(head.base_fee)
    if fees is None:
        log.get().warning(
            "fee_cap_reached", base_fee=head.base_fee, max_fee=service.lane.fees.max_fee
        )
        return 0
    ready = []
    for place in range(min(-(-missing // BATCH), MAX_ROOTS)):
        batch = await _batch(service, counters.committed + place * BATCH)
        if batch is None:
            break
        ready.append(batch)
    if not ready:
        return 0
    roots = [batch.root for batch in ready]
    async with service.database.write() as tx:
        slot_id = await service.lane.sign(
            tx,
            Purpose.COMMIT,
            to=service.contract,
            data=service.protocol.encode_commit(ready[0].first_index, roots),
            gas_limit=service.protocol.commit_gas(len(roots)),
            fees=fees,
        )
    fault_point("commit-signed")
    log.get().info(
        "commit_signed", first_index=ready[0].first_index, roots=len(roots), slot=slot_id
    )
    return len(ready)


async def _batch(service: Service, first_index: int) -> Batch | None:
    """
    Return the batch that begins at an index, built from the pool if it is not there yet and the
    pool can.
    """
    async with service.database.read() as connection:
        known = await batches.get(connection, service.chain_id, service.contract, first_index)
        fresh = await service.pool.fresh(connection)
    if known is not None and known.state is BatchState.ERASED:
        log.get().error(
            "seeds_gone",
            first_index=first_index,
            advice="another root held this place, and its seeds were erased: discard past it",
        )
        return None
    if known is not None:
        return known
    indices = range(first_index, first_index + BATCH)
    if fresh < BATCH and not await service.pool.is_bound(
        service.database, service.chain_id, service.contract, first_index
    ):
        return None
    seeds = await service.pool.bind(service.database, service.chain_id, service.contract, indices)
    fault_point("batch-bound")
    leaves = [
        merkle.leaf(service.protocol.domain, index, seed)
        for index, seed in zip(indices, seeds, strict=True)
    ]
    batch = Batch(
        chain_id=service.chain_id,
        contract=service.contract,
        first_index=first_index,
        root=merkle.root(leaves),
        leaves=leaves,
    )
    async with service.database.write() as tx:
        await batches.add(tx, batch)
    fault_point("batch-built")
    return batch
