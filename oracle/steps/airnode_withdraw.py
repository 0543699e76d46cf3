"""
Withdraw: sponsors get back what their sponsor wallets hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import EndpointError, OracleError
from oracle.faults import fault_point
from oracle.pending import may_land
from oracle.protocols.airnode_calls import encode_fulfill_withdrawal
from oracle.protocols.airnode_rrp_v0 import WITHDRAWAL_REQUESTED
from oracle.store import airnode, transactions
from oracle.store.airnode import WithdrawalState
from oracle.store.engine import now
from oracle.store.schema import airnode_withdrawals
from oracle.store.schema import transactions as table
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from oracle.airnode_service import AirnodeService
    from oracle.chain.reader import ChainReader
    from oracle.evm import Block
    from oracle.store.airnode import Withdrawal

# What the contract needs beside the receiver, and what is taken where nobody can tell.
MARGIN, UNTOLD = 30_000, 200_000


async def withdraw(service: AirnodeService, head: Block) -> int:
    """
    Sign the withdrawals that are deep enough; return how many.

    Guarantees: a number that was broadcast goes before its sponsor's withdrawal, for a bounded
    time; a withdrawal is shown by the chain at the moment that it is signed, and by a second
    endpoint unless the first is trusted; one that a reorg took away holds up nobody.

    Does not: let a withdrawal wait for requests that were not broadcast.
    """
    async with service.database.read() as connection:
        waiting = await airnode.withdrawals(
            connection,
            service.chain_id,
            service.contract,
            airnode_withdrawals.c.state == WithdrawalState.REQUESTED,
            airnode_withdrawals.c.block_number + service.depth <= head.number,
        )
    fees = service.fees.quote(head.base_fee)
    if fees is None:
        return 0
    signed = 0
    for one in waiting:
        signed += await _sign(service, one, head)
    return signed


async def _sign(service: AirnodeService, one: Withdrawal, head: Block) -> int:
    lane = service.lane_for(one.sponsor)
    if lane.wallet != one.sponsor_wallet:
        await _move(service, one, WithdrawalState.REFUSED)
        log.get().warning("withdrawal_refused", sponsor=one.sponsor, reason="wrong_sponsor_wallet")
        return 1
    async with service.database.read() as connection:
        under_way = await transactions.slots_in(
            connection,
            service.chain_id,
            service.contract,
            [SlotState.SIGNED, SlotState.SENT],
            table.c.wallet == lane.wallet,
        )
        promised = await transactions.promised(connection, service.chain_id, lane.wallet)
    if (await service.reader.block(one.block_number)).hash != one.block_hash:
        async with service.database.write() as tx:
            await airnode.forget_withdrawal(tx, service.chain_id, service.contract, one)
        log.get().warning("withdrawal_reorged", sponsor=one.sponsor)
        return 1
    earlier = [] if one.transaction_id is None else [one.transaction_id]
    waits = under_way and now() - one.created_at < service.policy.withdrawal_wait
    if waits or await may_land(service, earlier, head):
        return 0
    if not (await _is_there(service, service.reader, one) and await _is_witnessed(service, one)):
        return 0
    fees = service.fees.quote(head.base_fee)
    assert fees is not None
    await lane.prepare(service.database, service.reader)
    balance = await service.reader.balance(lane.wallet) - promised
    call = encode_fulfill_withdrawal(service.keys.address, one.withdrawal_id, one.sponsor)
    gas_limit = await _gas(service, one, call)
    # A replacement at a higher fee must be affordable too.
    value = balance - 2 * gas_limit * fees.max_fee
    if value <= 0:
        return 0
    async with service.database.write() as tx:
        await airnode.open_lane(tx, service.chain_id, lane.wallet, one.sponsor)
        slot_id = await lane.sign(
            tx,
            Purpose.WITHDRAW,
            to=service.contract,
            data=call,
            gas_limit=gas_limit,
            fees=fees,
            value=value,
        )
        await airnode.move_withdrawal(
            tx,
            service.chain_id,
            service.contract,
            one.withdrawal_id,
            WithdrawalState.SIGNED,
            transaction_id=slot_id,
        )
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


async def _move(service: AirnodeService, one: Withdrawal, after: WithdrawalState) -> None:
    async with service.database.write() as tx:
        await airnode.move_withdrawal(
            tx, service.chain_id, service.contract, one.withdrawal_id, after, transaction_id=None
        )
