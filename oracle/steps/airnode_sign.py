"""
Sign, for Airnode requests: DRAWN → SIGNED. Every request is a transaction of its sponsor's wallet.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle import log
from oracle.airnode_request import digest
from oracle.airnode_service import REVERTED, Choice, by_policy_message
from oracle.errors import EndpointError, InconsistentChainError, InvariantError, RevertedError
from oracle.evm import TRANSACTION_GAS_CAP
from oracle.faults import fault_point
from oracle.funds import ENVELOPE, tariff_at, tell_shortage
from oracle.protocols.airnode_calls import (
    encode_callback,
    encode_fail,
    encode_fulfill,
    encode_words,
)
from oracle.request import State
from oracle.store import airnode, transactions, withdrawals
from oracle.store.airnode import Shortage
from oracle.store.book import history
from oracle.store.engine import now
from oracle.store.schema import airnode_withdrawals
from oracle.store.transactions import Purpose, SlotState
from oracle.store.withdrawals import WithdrawalState
from oracle.witnesses import shown_by, shown_by_another

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oracle.airnode_request import AirnodeRequest
    from oracle.airnode_service import AirnodeService
    from oracle.evm import Block
    from oracle.funds import Tariff
    from oracle.lane import Lane
    from oracle.request import RequestKey, Tracked
    from oracle.store.airnode import Answer

    _Tracked = Tracked[AirnodeRequest]

# Requests per pass; and transactions of one wallet under way at once.
MANY = 100
MAX_IN_FLIGHT = 64
# The contract's own work around a callback, calldata included: what is constant, and per byte.
OVERHEAD, OVERHEAD_PER_BYTE = 90_000, 50
# Its calldata beside the response.
FULFILL_BYTES = 388
# A `fail` calls nobody.
FAIL_GAS = 120_000
# Decoys that a callback is tried with: what it needs may depend on the number.
DECOYS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bytes:
    """
    What is to be signed for a request.
    """

    data: bytes
    gas_limit: int
    #: What it is sent with where its wallet cannot pay for more.
    least_gas: int


async def sign_airnode(service: AirnodeService, head: Block) -> int:
    """
    Sign and store the transactions of the drawn requests; return how many requests moved.

    Guarantees: a request's block is still the canonical one when its bytes are made, and a second
    endpoint shows the same request at the same depth unless the first is trusted; its callback was
    tried with decoys alone; bytes, nonce and the request's new state are stored together; nothing
    leaves the process. The gas that a callback can take is no reason to lose a request: the limit
    is generous, and what is not used costs nothing.
    """
    async with service.database.read() as connection:
        drawn = await service.due(connection, State.DRAWN, MANY)
        answers = await airnode.answers(connection, [one.request.key for one in drawn])
        in_flight = Counter(
            slot.wallet
            for slot in await transactions.slots_in(
                connection, service.chain_id, service.contract, [SlotState.SIGNED, SlotState.SENT]
            )
        )
        leaving = {
            one.sponsor_wallet
            for one in await withdrawals.find(
                connection,
                service.chain_id,
                service.contract,
                airnode_withdrawals.c.state.in_(
                    [WithdrawalState.REQUESTED, WithdrawalState.SIGNED]
                ),
            )
        }
    if not drawn:
        return 0
    tariff = await tariff_at(service, head)
    if tariff is None:
        log.get().warning("fee_cap_reached", base_fee=head.base_fee, max_fee=service.fees.max_fee)
        await _note(service, [(one, "fee_cap_reached") for one in drawn])
        return 0
    waits: list[tuple[_Tracked, str]] = []
    wanted: list[_Tracked] = []
    for tracked in drawn:
        wallet = tracked.request.sponsor_wallet
        if not service.is_deep(tracked.request, head.number):
            # As after a restart, which forgets that its requester wished for less.
            waits.append((tracked, "waiting_confirmations"))
        elif wallet in leaving:
            waits.append((tracked, "withdrawal_pending"))
        elif in_flight[wallet] >= MAX_IN_FLIGHT:
            waits.append((tracked, "wallet_busy"))
        else:
            in_flight[wallet] += 1
            wanted.append(tracked)
    shown = set(await shown_by_another(service, [one.request for one in wanted]))
    waits += [(one, "waiting_second_endpoint") for one in wanted if one.request not in shown]
    if shown != await shown_by(service, service.reader, shown):
        raise InconsistentChainError("a request's block was replaced: it is read again")
    ready = [one for one in wanted if one.request in shown]
    signed = await _sign_all(service, ready, answers, tariff, head, waits)
    await _note(service, waits)
    return signed


async def _sign_all(
    service: AirnodeService,
    ready: Sequence[_Tracked],
    answers: Mapping[RequestKey, Answer],
    tariff: Tariff,
    head: Block,
    waits: list[tuple[_Tracked, str]],
) -> int:
    signed = 0
    balances: dict[str, int] = {}
    purses: dict[str, int] = {}
    for tracked in ready:
        request = tracked.request
        lane = service.lane_for(request.sponsor)
        cap = min(TRANSACTION_GAS_CAP, head.gas_limit // 2)
        made = await _make(service, tracked, answers[request.key], cap)
        if isinstance(made, str):
            waits.append((tracked, made))
            continue
        if lane.wallet not in purses:
            balances[lane.wallet], purses[lane.wallet] = await _purse(service, lane)
        size, balance = ENVELOPE + len(made.data), balances[lane.wallet]
        payable = tariff.payable(purses[lane.wallet], made.gas_limit, size, made.least_gas)
        if payable is None:
            waits.append((tracked, "wallet_unfunded"))
            needed = tariff.least(made.least_gas, size)
            shortage = Shortage(
                gas=made.least_gas, needed=needed + balance - purses[lane.wallet], had=balance
            )
            await tell_shortage(service, tracked, answers[request.key].shortage, shortage)
            continue
        gas_limit, fees = payable
        purses[lane.wallet] -= gas_limit * fees.max_fee + tariff.beside.of(gas_limit, size)
        async with service.database.write() as tx:
            await airnode.open_lane(tx, service.chain_id, lane.wallet, request.sponsor)
            slot_id = await lane.sign(
                tx,
                Purpose.FULFILL,
                to=service.contract,
                data=made.data,
                gas_limit=gas_limit,
                fees=fees,
            )
            await service.book.advance(
                tx, request.key, State.DRAWN, State.SIGNED, transaction_id=slot_id
            )
            if answers[request.key].shortage is not None:
                await airnode.put_shortage(tx, request.key, None)
        fault_point("signed")
        log.get().info("request_signed", **request.log_context(), slot=slot_id)
        signed += 1
    return signed


async def _purse(service: AirnodeService, lane: Lane) -> tuple[int, int]:
    """
    Return the wei that a wallet has, and those that it can still promise: less what is under way.
    """
    await lane.prepare(service.database, service.reader, service.witnesses)
    balance = await service.reader.balance(lane.wallet)
    async with service.database.read() as connection:
        promised = await transactions.promised(connection, service.chain_id, lane.wallet)
    return balance, balance - promised


async def _make(
    service: AirnodeService, tracked: _Tracked, answer: Answer, cap: int
) -> _Bytes | str:
    """
    Return what is to be signed for a request, or why it waits.
    """
    request = tracked.request
    if answer.failure is not None:
        return _failing(request, answer.failure, cap)
    async with service.database.read() as connection:
        found = await service.response(connection, {request.key: answer})
        reverts = sum(event.reason == REVERTED for event in await history(connection, request.key))
    if request.key not in found:
        raise InvariantError(
            f"request 0x{request.key.request_id.hex()} was drawn, but its number is neither in "
            "the pool nor on chain"
        )
    data = found[request.key]
    overhead = OVERHEAD + OVERHEAD_PER_BYTE * (FULFILL_BYTES + len(data))
    gas = await _callback_gas(service, request, answer, cap - overhead)
    untried = False
    if isinstance(gas, str):
        since = answer.held_since
        if since is None:
            async with service.database.write() as tx:
                await airnode.put(tx, [request.key], held_since=now())
            log.get().warning("request_held", **tracked.log_context(), reason=gas)
            return gas
        if now() - since < service.policy.hold:
            return gas
        # A number that was drawn is put on record: holding it is no way to draw again. An array
        # has no place in a reason, so that one goes out.
        by_policy = service.policy.held is Choice.FAIL and not answer.array
        if by_policy and gas != "callback_untried":
            return _failing(request, by_policy_message(data), cap)
        untried = gas == "callback_untried"
        gas = 0 if gas == "callback_fails" else cap
    call = encode_fulfill(request, data, service.keys.sign(digest(request.key.request_id, data)))
    floor = min(max(overhead, service.policy.gas_floor) << reverts, cap)
    limit = min((2 * gas + overhead) << reverts, cap)
    # What nobody could try gets all the gas there is, which costs nothing unless it is used.
    return _Bytes(
        data=call,
        gas_limit=max(limit, floor),
        least_gas=floor if untried else max(limit, floor),
    )


def _failing(request: AirnodeRequest, message: str, cap: int) -> _Bytes:
    gas = min(FAIL_GAS, cap)
    return _Bytes(data=encode_fail(request, message), gas_limit=gas, least_gas=gas)


async def _callback_gas(
    service: AirnodeService, request: AirnodeRequest, answer: Answer, most: int
) -> int | str:
    """
    Return what the callback needs, called by the contract with decoys; or why nobody knows, or
    that it is more than a fulfillment can give.
    """
    assert answer.num_words is not None
    needed: list[int] = []
    why = "callback_fails"
    for _ in range(DECOYS):
        decoy = [secrets.randbits(256) for _ in range(answer.num_words)]
        data = encode_words(decoy, array=bool(answer.array))
        try:
            needed.append(
                await service.estimator.estimate_gas(
                    sender=service.contract,
                    to=request.fulfill_address,
                    data=encode_callback(request, data),
                )
            )
        except RevertedError:
            continue
        except EndpointError:
            why = "callback_untried"
    if not needed:
        return why
    gas = max(needed)
    # A 64th stays with the contract that calls.
    return gas if gas + gas // 63 <= most else "callback_too_hungry"


async def _note(service: AirnodeService, waits: Sequence[tuple[_Tracked, str]]) -> None:
    """
    Note on requests why they are not signed; nothing is written where that is no news.
    """
    news = [(tracked, reason) for tracked, reason in waits if tracked.reason != reason]
    if news:
        async with service.database.write() as tx:
            for tracked, reason in news:
                await service.book.note(tx, tracked, reason)
