"""
Sign, for Airnode requests: DRAWN → SIGNED. Every request is a transaction of its sponsor's wallet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from oracle import log
from oracle.airnode_callback import callback_gas
from oracle.airnode_outcomes import response
from oracle.airnode_policy import Choice, by_policy_message
from oracle.airnode_request import digest
from oracle.airnode_service import REVERTED, WALLET_BUSY
from oracle.clock import agreed_time
from oracle.errors import InconsistentChainError, InvariantError
from oracle.evm import TRANSACTION_GAS_CAP
from oracle.faults import fault_point
from oracle.funds import ENVELOPE, is_news, tariff_at
from oracle.lane import Call, sign_all
from oracle.protocols.airnode_calls import encode_fail, encode_fulfill
from oracle.request import State
from oracle.store import airnode, nonces, transactions, withdrawals
from oracle.store.airnode import Shortage
from oracle.store.reasons import count_of_reason
from oracle.store.schema import airnode_withdrawals
from oracle.store.transactions import Purpose, SlotState
from oracle.store.withdrawals import WithdrawalState
from oracle.together import both, together
from oracle.witnesses import shown_by, shown_by_another

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

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
# Callbacks that are tried, each with all of its decoys, and wallets that are asked for, at a time.
TRIED_AT_ONCE = 4
WALLETS_AT_ONCE = 8

_LEAVING = airnode_withdrawals.c.state.in_((WithdrawalState.REQUESTED, WithdrawalState.SIGNED))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """
    The response to a request, and the gas that its callback needs with another, or why nobody
    knows.
    """

    data: bytes = field(repr=False)
    gas: int | str
    reverts: int  #: transactions that did


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bytes:
    """
    What is to be signed for a request.
    """

    data: bytes = field(repr=False)
    gas_limit: int
    #: What it is sent with where its wallet cannot pay for more.
    least_gas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """
    Why a request waits; and whether it does from now on.
    """

    reason: str
    is_news: bool


@dataclass(slots=True, kw_only=True)
class _Purse:
    """
    What a wallet has, and what of it is not promised, in wei; and how many nonces the chain has
    used.
    """

    used: int
    balance: int
    left: int


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
                _LEAVING,
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
            waits.append((tracked, WALLET_BUSY))
        else:
            in_flight[wallet] += 1
            wanted.append(tracked)
    shown = set(await shown_by_another(service, [one.request for one in wanted]))
    waits += [(one, "waiting_second_endpoint") for one in wanted if one.request not in shown]
    ready = [one for one in wanted if one.request in shown]
    cap = min(TRANSACTION_GAS_CAP, head.gas_limit // 2)
    tried, purses = await both(
        partial(_try_all, service, ready, answers, cap),
        partial(_purses, service, {one.request.sponsor for one in ready}),
    )
    if shown != await shown_by(service, service.reader, shown):
        raise InconsistentChainError("a request's block was replaced: it is read again")
    at = agreed_time(service, head)
    made = {
        one.request.key: _make(
            service, one, answers[one.request.key], tried.get(one.request.key), cap, at
        )
        for one in ready
    }
    return await _write(service, ready, made, answers, purses, tariff, waits, at)


async def _try_all(
    service: AirnodeService,
    ready: Sequence[_Tracked],
    answers: Mapping[RequestKey, Answer],
    cap: int,
) -> dict[RequestKey, _Tried]:
    """
    Return the responses to the requests that are not failed, and what their callbacks need, which
    are tried without them.
    """
    served = [one.request for one in ready if answers[one.request.key].failure is None]
    keys = [request.key for request in served]
    async with service.database.read() as connection:
        found = await response(connection, service.pool, {key: answers[key] for key in keys})
        reverts = await count_of_reason(connection, keys, REVERTED)
    for key in keys:
        if key not in found:
            raise InvariantError(
                f"request 0x{key.request_id.hex()} was drawn, but its number is neither in the "
                "pool nor on chain"
            )
    needed = await together(
        [
            partial(
                callback_gas,
                service,
                request,
                answers[request.key],
                cap - _overhead(found[request.key]),
            )
            for request in served
        ],
        TRIED_AT_ONCE,
    )
    return {
        key: _Tried(data=found[key], gas=gas, reverts=reverts.get(key, 0))
        for key, gas in zip(keys, needed, strict=True)
    }


async def _write(  # noqa: PLR0913, PLR0917 - what one pass knows
    service: AirnodeService,
    ready: Sequence[_Tracked],
    made: Mapping[RequestKey, _Bytes | _Held],
    answers: Mapping[RequestKey, Answer],
    purses: Mapping[str, _Purse],
    tariff: Tariff,
    waits: list[tuple[_Tracked, str]],
    at: int,
) -> int:
    """
    Sign what the wallets can pay, and store all of it, with why the others wait, in one
    transaction.
    """
    orders: list[tuple[_Tracked, Call]] = []
    held: list[RequestKey] = []
    short: list[tuple[RequestKey, Shortage]] = []
    for tracked in ready:
        key, one = tracked.request.key, made[tracked.request.key]
        purse = purses[tracked.request.sponsor]
        if isinstance(one, _Held):
            waits.append((tracked, one.reason))
            if one.is_news:
                held.append(key)
                log.get().warning("request_held", **tracked.log_context(), reason=one.reason)
            continue
        size = ENVELOPE + len(one.data)
        payable = tariff.payable(purse.left, one.gas_limit, size, one.least_gas)
        if payable is None:
            waits.append((tracked, "wallet_unfunded"))
            shortage = Shortage(
                gas=one.least_gas,
                needed=tariff.least(one.least_gas, size) + purse.balance - purse.left,
                had=purse.balance,
            )
            if is_news(tracked, answers[key].shortage, shortage):
                short.append((key, shortage))
            continue
        gas_limit, fees = payable
        purse.left -= gas_limit * fees.max_fee + tariff.beside.of(gas_limit, size)
        call = Call(to=service.contract, data=one.data, gas_limit=gas_limit, fees=fees)
        orders.append((tracked, call))
    news = [(tracked, reason) for tracked, reason in waits if tracked.reason != reason]
    if not (orders or held or short or news):
        return 0
    async with service.database.write() as tx:
        slot_ids = await _store(service, tx, orders, purses)
        able = [one.request.key for one, _ in orders if answers[one.request.key].shortage]
        await airnode.put_shortage(tx, able, None)
        await airnode.put(tx, held, held_since=at)
        for key, shortage in short:
            await airnode.put_shortage(tx, [key], shortage)
        for tracked, reason in news:
            await service.book.note(tx, tracked, reason)
    for (tracked, _), slot_id in zip(orders, slot_ids, strict=True):
        fault_point("signed")
        log.get().info("request_signed", **tracked.request.log_context(), slot=slot_id)
    return len(orders)


async def _store(
    service: AirnodeService,
    tx: AsyncConnection,
    orders: Sequence[tuple[_Tracked, Call]],
    purses: Mapping[str, _Purse],
) -> list[int]:
    """
    Take nonces, sign, and store the bytes with the new states of the requests that they serve.
    """
    if not orders:
        return []
    lanes = {one.request.sponsor: service.lane_for(one.request.sponsor) for one, _ in orders}
    used = {lane.wallet: purses[sponsor].used for sponsor, lane in lanes.items()}
    await nonces.skip_nonces(tx, service.chain_id, used)
    await airnode.open_lanes(
        tx, service.chain_id, {lane.wallet: sponsor for sponsor, lane in lanes.items()}
    )
    calls = [(lanes[one.request.sponsor], call) for one, call in orders]
    slot_ids = await sign_all(tx, Purpose.FULFILL, calls)
    served = [one.request.key for one, _ in orders]
    await service.book.bind_all(
        tx, list(zip(served, slot_ids, strict=True)), State.DRAWN, State.SIGNED
    )
    return slot_ids


async def _purses(service: AirnodeService, sponsors: Collection[str]) -> dict[str, _Purse]:
    """
    Return what the wallets of sponsors have, and what of it is not promised to what is under way.
    """
    lanes = {sponsor: service.lane_for(sponsor) for sponsor in sponsors}
    wallets = [lane.wallet for lane in lanes.values()]
    async with service.database.read() as connection:
        stored = await nonces.next_nonces(connection, service.chain_id, wallets)
        promised = await transactions.promised(connection, service.chain_id, wallets)

    async def ask(lane: Lane) -> tuple[int, int]:
        given_out = stored.get(lane.wallet, 0)
        return await both(
            partial(lane.used, service.reader, service.witnesses, given_out=given_out),
            partial(service.reader.balance, lane.wallet),
        )

    told = await together([partial(ask, lane) for lane in lanes.values()], WALLETS_AT_ONCE)
    return {
        sponsor: _Purse(used=used, balance=balance, left=balance - promised[lane.wallet])
        for (sponsor, lane), (used, balance) in zip(lanes.items(), told, strict=True)
    }


def _make(
    service: AirnodeService,
    tracked: _Tracked,
    answer: Answer,
    tried: _Tried | None,
    cap: int,
    at: int,
) -> _Bytes | _Held:
    """
    Return what is to be signed for a request, or why it waits.
    """
    request = tracked.request
    if tried is None:
        assert answer.failure is not None
        return _fail(request, answer.failure, cap)
    data, gas, untried = tried.data, tried.gas, False
    if isinstance(gas, str):
        since = answer.held_since
        if since is None or at - since < service.policy.hold:
            return _Held(reason=gas, is_news=since is None)
        # A number that was drawn is put on record: holding it is no way to draw again. An array
        # has no place in a reason, so that one goes out.
        by_policy = service.policy.held is Choice.FAIL and not answer.array
        if by_policy and gas != "callback_untried":
            return _fail(request, by_policy_message(data), cap)
        untried = gas == "callback_untried"
        gas = 0 if gas == "callback_fails" else cap
    call = encode_fulfill(request, data, service.keys.sign(digest(request.key.request_id, data)))
    floor = min(max(_overhead(data), service.policy.gas_floor) << tried.reverts, cap)
    limit = max(min((2 * gas + _overhead(data)) << tried.reverts, cap), floor)
    # What nobody could try gets all the gas there is, which costs nothing unless it is used.
    return _Bytes(data=call, gas_limit=limit, least_gas=floor if untried else limit)


def _fail(request: AirnodeRequest, message: str, cap: int) -> _Bytes:
    gas = min(FAIL_GAS, cap)
    return _Bytes(data=encode_fail(request, message), gas_limit=gas, least_gas=gas)


def _overhead(data: bytes) -> int:
    return OVERHEAD + OVERHEAD_PER_BYTE * (FULFILL_BYTES + len(data))


async def _note(service: AirnodeService, waits: Sequence[tuple[_Tracked, str]]) -> None:
    """
    Note on requests why they are not signed; nothing is written where that is no news.
    """
    news = [(tracked, reason) for tracked, reason in waits if tracked.reason != reason]
    if news:
        async with service.database.write() as tx:
            for tracked, reason in news:
                await service.book.note(tx, tracked, reason)
