"""
Sign: DRAWN → SIGNED. Requests that lie close together share a transaction.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from oracle import log
from oracle.chain.probe import price_at
from oracle.entropy import merkle
from oracle.errors import InconsistentChainError, InvariantError
from oracle.evm import TRANSACTION_GAS_CAP
from oracle.faults import fault_point
from oracle.pricing import within_limit
from oracle.protocols.coordinator import (
    BATCH,
    CoordinatorProtocol,
    Reveal,
    batch_start,
)
from oracle.request import RandomnessRequest, State
from oracle.store import batches, requests, transactions
from oracle.store.schema import requests as table
from oracle.store.transactions import Purpose, SlotState
from oracle.witnesses import shown_by, shown_by_another

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.chain.fees import Fees
    from oracle.coordinator_service import Service
    from oracle.evm import Block
    from oracle.request import RequestKey, TrackedRequest

# A leaf that is skipped costs some 700 gas, a transaction of its own more than 30,000.
MAX_GAP = 32
# Transactions of one wallet under way at once: endpoints drop what queues deeper.
MAX_IN_FLIGHT = 16
# Drawn requests that one pass looks at, and as many that wait for cheaper gas.
MAX_LOOKED_AT = 1000
# Elements of a multiproof at most: two per level.
MAX_PROOF = 16

_BY_PATIENCE = (
    table.c.reason.is_distinct_from("loss_limit"),
    table.c.reason == "loss_limit",
)


async def sign(service: Service, head: Block) -> int:
    """
    Build, sign and store the transactions of the drawn requests; return how many requests moved.

    Guarantees: a request's block is still the canonical one when its bytes are made, and a second
    endpoint shows the same request at the same depth unless the first is trusted; bytes, nonce and
    the requests' new state are stored together; nothing leaves the process.
    """
    moved = await _let_go(service, head)
    async with service.database.read() as connection:
        drawn = await _drawn(connection, service)
        if not drawn:
            return moved
        in_flight = await transactions.slots_in(
            connection, service.chain_id, service.contract, [SlotState.SIGNED, SlotState.SENT]
        )
    if len(in_flight) >= MAX_IN_FLIGHT:
        await _say_why(service, drawn, "wallet_busy")
        return moved
    fees = service.lane.fees.quote(head.base_fee)
    if fees is None:
        log.get().warning(
            "fee_cap_reached", base_fee=head.base_fee, max_fee=service.lane.fees.max_fee
        )
        await _say_why(service, drawn, "fee_cap_reached")
        return moved
    runs = await _plan(service, drawn, head)
    wanted = [request for run in runs for request in run]
    shown = set(await shown_by_another(service, wanted))
    kept_back = [one for one in drawn if one.request in set(wanted) - shown]
    if kept_back:
        await _say_why(service, kept_back, "waiting_second_endpoint")
        # They leave their part of the costs to the others.
        runs = await _plan(service, [one for one in drawn if one.request in shown], head)
    planned = {request for run in runs for request in run}
    runs = runs[: MAX_IN_FLIGHT - len(in_flight)]
    signed = {request for run in runs for request in run}
    beyond = [tracked for tracked in drawn if tracked.request in planned - signed]
    await _say_why(service, beyond, "wallet_busy")
    if signed != await shown_by(service, service.reader, signed):
        raise InconsistentChainError("a request's block was replaced: it is read again")
    for run in runs:
        async with service.database.write() as tx:
            slot_id = await _sign_run(tx, service, run, fees)
        fault_point("signed")
        log.get().info("run_signed", first=run[0].seed_index, requests=len(run), slot=slot_id)
    return moved + sum(map(len, runs))


async def _drawn(connection: AsyncConnection, service: Service) -> list[TrackedRequest]:
    """
    Return drawn requests in the order of their indices. Those that wait for cheaper gas, however
    many, leave room for those that may not have to.
    """
    found = []
    for where in _BY_PATIENCE:
        found += await requests.in_states(
            connection,
            service.chain_id,
            service.contract,
            [State.DRAWN],
            where,
            limit=MAX_LOOKED_AT,
        )
    return sorted(found, key=lambda tracked: tracked.request.seed_index)


async def _say_why(service: Service, waiting: Sequence[TrackedRequest], reason: str) -> None:
    """
    Note on requests why they are not signed; nothing is written where that is no news.
    """
    news = [tracked for tracked in waiting if tracked.reason != reason]
    if news:
        async with service.database.write() as tx:
            for tracked in news:
                await requests.note(tx, tracked, reason)


async def _plan(
    service: Service, drawn: Sequence[TrackedRequest], head: Block
) -> list[list[RandomnessRequest]]:
    """
    Return the runs in which requests are to be served now, without those that no block takes at
    present, and those that would cost too much more than their fee.

    Guarantees: a request waits for cheaper gas only while its seed is unknown to everybody and
    time enough is left to it.
    """
    keys = [tracked.request.key for tracked in drawn]
    async with service.database.read() as connection:
        reverted = await requests.smallest_reverts(connection, keys)
        exposed = await service.pool.exposed(
            connection,
            service.chain_id,
            service.contract,
            [tracked.request.seed_index for tracked in drawn],
        )
    gas_cap = min(TRANSACTION_GAS_CAP, head.gas_limit // 2)
    too_large = [one for one in drawn if _alone(one.request) > head.gas_limit]
    await _say_why(service, too_large, "block_too_small")
    drawn = [one for one in drawn if one not in too_large] if too_large else drawn
    runs = plan_runs([tracked.request for tracked in drawn], gas_cap, reverted)
    if service.max_loss is None or not runs:
        return runs
    gas_price = head.base_fee + service.lane.fees.priority_fee
    runs, losing = within_limit(
        runs,
        price=await price_at(service.reader, gas_price),
        max_loss=service.max_loss,
        always={
            tracked.request.key
            for tracked in drawn
            if tracked.request.seed_index in exposed or service.is_due(tracked.request, head)
        },
        plan=lambda run: plan_runs(run, gas_cap, reverted),
    )
    if losing:
        log.get().info("waiting_for_gas", requests=len(losing), gas_price=gas_price)
        await _say_why(service, [one for one in drawn if one.request in losing], "loss_limit")
    return runs


def _alone(request: RandomnessRequest) -> int:
    """
    Return the gas limit of a run that serves a request alone.
    """
    return CoordinatorProtocol.single_gas(request.callback_gas_limit, request.num_words)


async def _let_go(service: Service, head: Block) -> int:
    """
    Let go of what was drawn in time and is too late by now, as while the base fee was too high, or
    whose root was lost since.
    """
    chain_id, contract = service.chain_id, service.contract
    async with service.database.read() as connection:
        drawn = await requests.in_states(connection, chain_id, contract, [State.DRAWN])
        if not drawn:
            return 0
        indices = [tracked.request.seed_index for tracked in drawn]
        exposed = await service.pool.exposed(connection, chain_id, contract, indices)
        ours = await batches.ours_among(connection, chain_id, contract, map(batch_start, indices))
    hopeless = [
        tracked.request.key
        for tracked, index in zip(drawn, indices, strict=True)
        if batch_start(index) not in ours
        or service.too_late(tracked.request, head, exposed=index in exposed)
    ]
    if hopeless:
        async with service.database.write() as tx:
            # Back to where it is judged.
            await requests.advance_all(tx, hopeless, State.DRAWN, State.CONFIRMED)
    return len(hopeless)


def plan_runs(
    drawn: Sequence[RandomnessRequest],
    gas_cap: int,
    reverted: Mapping[RequestKey, int] = MappingProxyType({}),
) -> list[list[RandomnessRequest]]:
    """
    Split requests, in the order of their indices, into runs that one transaction can serve.

    A run stays inside one batch of 256 and under the gas cap, and skips no more than `MAX_GAP`
    indices at a time. A request that needs more gas than the cap still gets a run of its own.

    `reverted` holds the sizes of the smallest runs that reverted with a request in them: such a
    request's next run has half that size at most, and nobody less suspect in it, so that what made
    n of them revert stands alone after ⌈log₂ n⌉ reverts.
    """
    runs: list[list[RandomnessRequest]] = []
    for request in drawn:
        most = most_together(reverted.get(request.key))
        if runs:
            run = runs[-1]
            last = run[-1].seed_index
            together = [*run, request]
            gaps = request.seed_index - run[0].seed_index + 1 - len(together)
            gas = CoordinatorProtocol.fulfill_gas(together, gaps=gaps, proof=MAX_PROOF)
            if (
                request.seed_index // BATCH == last // BATCH
                and request.seed_index - last <= MAX_GAP
                and most == most_together(reverted.get(run[0].key))
                and len(together) <= most
                and gas <= gas_cap
            ):
                run.append(request)
                continue
        runs.append([request])
    return runs


def most_together(reverted: int | None) -> int:
    """
    Return how many requests may share a run with one whose smallest reverted run had this size.
    """
    return BATCH if reverted is None else (reverted + 1) // 2


async def _sign_run(
    tx: AsyncConnection, service: Service, run: Sequence[RandomnessRequest], fees: Fees
) -> int:
    first, last = run[0].seed_index, run[-1].seed_index
    batch = await batches.get(tx, service.chain_id, service.contract, batch_start(first))
    if batch is None:
        raise InvariantError(f"index {first} was drawn, but its batch is not in the store")
    indices = [request.seed_index for request in run]
    seeds = await service.pool.seeds(tx, service.chain_id, service.contract, indices)
    reveals = []
    for request in run:
        index = request.seed_index
        if index not in seeds:
            raise InvariantError(f"index {index} was drawn, but its seed is not in the pool")
        leaf = merkle.leaf(service.protocol.domain, index, seeds[index])
        if leaf != batch.leaves[index % BATCH]:
            raise InvariantError(f"the seed of index {index} is not the committed one")
        reveals.append(Reveal(request=request, seed=seeds[index]))
    served = {request.seed_index for request in run}
    gap_leaves = [
        batch.leaves[index % BATCH] for index in range(first, last + 1) if index not in served
    ]
    proof = merkle.proof(batch.leaves, first % BATCH, last - first + 1)
    data = service.protocol.encode_fulfill(reveals, [*gap_leaves, *proof])
    slot_id = await service.lane.sign(
        tx,
        Purpose.FULFILL,
        to=service.contract,
        data=data,
        gas_limit=service.protocol.fulfill_gas(run, gaps=len(gap_leaves), proof=len(proof)),
        fees=fees,
    )
    keys = [request.key for request in run]
    await requests.advance_all(tx, keys, State.DRAWN, State.SIGNED, transaction_id=slot_id)
    return slot_id
