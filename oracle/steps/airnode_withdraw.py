"""
Withdraw: sponsors get back what their sponsor wallets hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam

from oracle import log
from oracle.clock import agreed_time
from oracle.errors import EndpointError, OracleError
from oracle.faults import fault_point
from oracle.funds import ENVELOPE, tariff_at
from oracle.pending import may_land
from oracle.protocols.airnode_calls import encode_fulfill_withdrawal
from oracle.protocols.airnode_rrp_v0 import WITHDRAWAL_REQUESTED
from oracle.store import airnode, transactions, withdrawals
from oracle.store.schema import airnode_withdrawals
from oracle.store.schema import transactions as table
from oracle.store.transactions import Purpose, SlotState
from oracle.store.withdrawals import WithdrawalState

if TYPE_CHECKING:
    from oracle.airnode_service import AirnodeService
    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Block
    from oracle.funds import Tariff
    from oracle.store.withdrawals import Withdrawal

# What the contract needs beside the receiver, and what is taken where nobody can tell.
MARGIN, UNTOLD = 30_000, 200_000

_DUE = (
    airnode_withdrawals.c.state == WithdrawalState.REQUESTED,
    airnode_withdrawals.c.block_number <= bindparam("up_to"),
)


async def withdraw(service: AirnodeService, head: Block) -> int:
    """
    Sign the withdrawals that are deep enough; return how many moved.

    Guarantees: a number that was broadcast goes before its sponsor's withdrawal, for a bounded
    time; a withdrawal is shown by the chain at the moment that it is signed, and by a second
    endpoint unless the first is trusted; one that a reorg took away holds up nobody; one of a
    wallet that cannot pay for it is refused, so that what comes into the wallet later stays there.

    Does not: let a withdrawal wait for requests that were not broadcast.
    """
    async with service.database.read() as connection:
        waiting = await withdrawals.find(
            connection,
            service.chain_id,
            service.contract,
            *_DUE,
            up_to=head.number - service.depth,
        )
    tariff = await tariff_at(service, head) if waiting else None
    if tariff is None:
        return 0
    moved = 0
    for one in waiting:
        moved += await _look_at(service, one, head, tariff)
    return moved


async def _look_at(service: AirnodeService, one: Withdrawal, head: Block, tariff: Tariff) -> int:
    lane = service.lane_for(one.sponsor)
    if lane.wallet != one.sponsor_wallet:
        return await _refuse(service, one, "wrong_sponsor_wallet")
    if one.transaction_id is not None and await may_land(service, [one.transaction_id], head):
        return 0
    if (await service.reader.block(one.block_number)).hash != one.block_hash:
        async with service.database.write() as tx:
            await withdrawals.forget(tx, one)
        log.get().warning("withdrawal_reorged", sponsor=one.sponsor)
        return 1
    async with service.database.read() as connection:
        under_way = await transactions.slots_in(
            connection,
            service.chain_id,
            service.contract,
            [SlotState.SIGNED, SlotState.SENT],
            table.c.wallet == lane.wallet,
        )
    late = agreed_time(service, head) - one.created_at >= service.policy.withdrawal_wait
    shown = (late or not under_way) and (
        await _is_there(service, service.reader, one) and await _is_witnessed(service, one)
    )
    if not shown:
        return 0
    return await _return_funds(service, one, tariff, may_wait=not late or bool(under_way))


async def _return_funds(
    service: AirnodeService, one: Withdrawal, tariff: Tariff, *, may_wait: bool
) -> int:
    """
    Sign a withdrawal of what its wallet can spare; refuse it if that is nothing, at once where the
    wallet holds too little for the next block, and otherwise when it may wait no longer.
    """
    lane = service.lane_for(one.sponsor)
    await lane.prepare(service.database, service.reader, service.witnesses)
    balance = await service.reader.balance(lane.wallet)
    async with service.database.read() as connection:
        [promised] = (
            await transactions.promised(connection, service.chain_id, [lane.wallet])
        ).values()
    call = encode_fulfill_withdrawal(service.keys.address, one.withdrawal_id, one.sponsor)
    gas_limit, size = await _gas(service, one, call), ENVELOPE + len(call)
    # A replacement at a higher fee must be affordable too.
    value = balance - promised - 2 * tariff.most(gas_limit, size)
    if value <= 0:
        if may_wait and balance > tariff.least(gas_limit, size):
            return 0
        return await _refuse(service, one, "nothing_to_return")
    async with service.database.write() as tx:
        await airnode.open_lanes(tx, service.chain_id, {lane.wallet: one.sponsor})
        slot_id = await lane.sign(
            tx,
            Purpose.WITHDRAW,
            to=service.contract,
            data=call,
            gas_limit=gas_limit,
            fees=tariff.fees,
            value=value,
        )
        await withdrawals.move(tx, one, WithdrawalState.SIGNED, transaction_id=slot_id)
    fault_point("withdrawal-signed")
    log.get().info("withdrawal_signed", sponsor=one.sponsor, wallet=lane.wallet, value_wei=value)
    return 1


async def _is_there(service: AirnodeService, reader: ChainReader, one: Withdrawal) -> bool:
    """
    Return whether an endpoint shows a withdrawal's request where it was seen, and as deep.
    """
    if (await reader.block()).number < one.block_number + service.depth:
        return False
    logs = await reader.logs(
        service.contract,
        one.block_number,
        one.block_number,
        [WITHDRAWAL_REQUESTED, *service.topics[1:]],
    )
    return any(
        item.topics[3] == one.withdrawal_id and item.block_hash == one.block_hash for item in logs
    )


async def _is_witnessed(service: AirnodeService, one: Withdrawal) -> bool:
    """
    Return whether a second endpoint shows it too: one alone could invent withdrawals, which fail
    at the sponsor's expense.
    """
    for witness in service.witnesses or ():
        try:
            if await _is_there(service, witness, one):
                return True
        except OracleError as error:
            if not error.retryable:
                raise
            log.get().warning("witness_silent", error=str(error))
    return service.witnesses is None


async def _gas(service: AirnodeService, one: Withdrawal, call: bytes) -> int:
    try:
        return MARGIN + await service.estimator.estimate_gas(
            sender=one.sponsor_wallet, to=service.contract, data=call, value=1
        )
    except EndpointError:
        return UNTOLD


async def _refuse(service: AirnodeService, one: Withdrawal, reason: str) -> int:
    async with service.database.write() as tx:
        await withdrawals.move(
            tx, one, WithdrawalState.REFUSED, transaction_id=None, reason=reason
        )
    log.get().warning(
        "withdrawal_refused", sponsor=one.sponsor, wallet=one.sponsor_wallet, reason=reason
    )
    return 1
