"""
Draw, for Airnode requests: CONFIRMED → DRAWN, once a request is known to be servable and a number
of the pool is bound to it; or the end that it deserves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oracle import log
from oracle.airnode_admission import authorized, endpoint_of, templates_of
from oracle.airnode_policy import Choice
from oracle.airnode_request import check_template
from oracle.clock import agreed_time
from oracle.errors import BadParametersError, UndecodableParametersError
from oracle.faults import fault_point
from oracle.funds import FULFILL_SIZE, balances_of, is_news, open_purses, tariff_at
from oracle.pending import free_to_serve
from oracle.protocols.airnode_abi import decode_parameters, merge, read_wanted
from oracle.request import State
from oracle.store import airnode
from oracle.store.airnode import NO_SHORTAGE, WAITING_AFTER_RESTORE, airnode_purpose
from oracle.store.book import MOVED
from oracle.store.history import history

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest, Template
    from oracle.airnode_service import AirnodeService
    from oracle.evm import Block
    from oracle.protocols.airnode_abi import Wanted
    from oracle.request import RequestKey, Tracked
    from oracle.store.airnode import Answer, Shortage

    _Tracked = Tracked[AirnodeRequest]

# Requests per pass.
MANY = 200
_DAY = 86_400_000  # milliseconds


class _Rejected(Exception):  # noqa: N818 - it never leaves this module
    """
    Nothing will ever be sent for a request; `reason` says why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _Verdicts:
    """
    What becomes of requests, and why.
    """

    rejected: dict[str, list[_Tracked]] = field(default_factory=dict)
    expired: list[_Tracked] = field(default_factory=list)
    gone: list[_Tracked] = field(default_factory=list)
    failing: list[tuple[_Tracked, str]] = field(default_factory=list)
    waiting: list[tuple[_Tracked, str]] = field(default_factory=list)
    drawn: list[tuple[_Tracked, Wanted]] = field(default_factory=list)
    short: list[tuple[_Tracked, Shortage]] = field(default_factory=list)

    @property
    def moved(self) -> int:
        """
        How many requests leave their state.
        """
        rejected = sum(map(len, self.rejected.values()))
        return rejected + len(self.expired) + len(self.gone) + len(self.failing) + len(self.drawn)


async def draw_airnode(service: AirnodeService, head: Block) -> int:
    """
    Judge every confirmed request and bind a number to those that get one; return how many moved.

    Guarantees: a number is bound to a request once, whatever happens to it later, and only while
    its sponsor wallet can pay for it, beside all that it has promised; what cannot be served never
    leads to a transaction, except where its endpoint is served and its parameters can never be:
    that is failed on chain.
    """
    async with service.database.read() as connection:
        confirmed = await service.due(connection, State.CONFIRMED, MANY)
        answers = await airnode.answers(connection, [one.request.key for one in confirmed])
    confirmed = await free_to_serve(service, confirmed, head)
    if not confirmed:
        return 0
    verdicts = _Verdicts()
    ready = await _sort(service, confirmed, answers, head, verdicts)
    names = await _bind(service, ready, answers, head, verdicts)
    if names:
        async with service.pool.binding(service.database) as tx:
            await service.pool.bind_oldest(tx, names)
            await _write(tx, service, answers, head, verdicts)
    else:
        async with service.database.write() as tx:
            await _write(tx, service, answers, head, verdicts)
    _tell(verdicts)
    short = [
        (tracked.request.key, shortage)
        for tracked, shortage in verdicts.short
        if is_news(tracked, answers[tracked.request.key].shortage, shortage)
    ]
    if short:
        async with service.database.write() as tx:
            for key, shortage in short:
                await airnode.put_shortage(tx, [key], shortage)
    if verdicts.moved:
        fault_point("drawn")
    return verdicts.moved


async def _sort(
    service: AirnodeService,
    confirmed: Sequence[_Tracked],
    answers: Mapping[RequestKey, Answer],
    head: Block,
    verdicts: _Verdicts,
) -> list[tuple[_Tracked, Wanted]]:
    """
    Return the requests that get a number now; what becomes of the others goes into the verdicts.
    """
    templates = await templates_of(service, [one.request for one in confirmed])
    wanted: list[tuple[_Tracked, Wanted]] = []
    bad: list[tuple[_Tracked, str]] = []
    for tracked in confirmed:
        try:
            wanted.append((tracked, _judge(service, tracked.request, templates)))
        except _Rejected as verdict:
            verdicts.rejected.setdefault(verdict.reason, []).append(tracked)
        except BadParametersError as error:
            bad.append((tracked, str(error)))
    asking = [tracked for tracked, _ in (*wanted, *bad)]
    allowed = await authorized(service, asking, templates)
    for tracked, why in bad:
        key = tracked.request.key
        if why_not := _waits(service, tracked.request, answers[key], head, allowed):
            verdicts.waiting.append((tracked, why_not))
        else:
            verdicts.failing.append((tracked, why))
    ready: list[tuple[_Tracked, Wanted]] = []
    for tracked, want in wanted:
        key, answer = tracked.request.key, answers[tracked.request.key]
        _remember_wish(service, key, want)
        if _is_too_old(service, answer, head):
            verdicts.expired.append(tracked)
        elif service.policy.exposed is Choice.FAIL and await _was_public(service, key, answer):
            verdicts.failing.append((tracked, "Number was public before the request's block"))
        elif why_not := _waits(service, tracked.request, answer, head, allowed):
            verdicts.waiting.append((tracked, why_not))
        else:
            ready.append((tracked, want))
    return ready


def _waits(
    service: AirnodeService,
    request: AirnodeRequest,
    answer: Answer,
    head: Block,
    allowed: Collection[RequestKey],
) -> str | None:
    """
    Return why a request gets no number yet.
    """
    if not service.is_deep(request, head.number):
        return "waiting_confirmations"
    if request.key not in allowed:
        return "unauthorised"
    unseen = answer.drawn_at is None and answer.released_at is None
    if unseen and service.restored_at is not None and request.block_number <= service.restored_at:
        return WAITING_AFTER_RESTORE
    return None


def _judge(
    service: AirnodeService, request: AirnodeRequest, templates: Mapping[bytes, Template]
) -> Wanted:
    """
    Return what a request wants.

    Raises `_Rejected` where an Airnode would drop it, `BadParametersError` where it can be failed.
    """
    if service.lane_for(request.sponsor).wallet != request.sponsor_wallet:
        raise _Rejected("wrong_sponsor_wallet")
    parameters = {}
    try:
        if request.template_id is not None:
            template = templates.get(request.template_id)
            if template is None:
                raise _Rejected("unknown_template")
            check_template(request, template)
            parameters = decode_parameters(template.parameters)
        parameters = merge(parameters, decode_parameters(request.parameters))
    except UndecodableParametersError as error:
        raise _Rejected(error.reason) from None
    array = service.policy.endpoints.get(endpoint_of(request, templates))
    if array is None:
        raise _Rejected("unknown_endpoint")
    allowed = service.policy.allowed
    if allowed and not {request.requester, request.sponsor} & allowed:
        raise _Rejected("not_allowed")
    return read_wanted(parameters, array=array)


def _remember_wish(service: AirnodeService, key: RequestKey, want: Wanted) -> None:
    wish = want.min_confirmations
    if wish is not None and not service.policy.lower_confirmations:
        wish = max(service.depth, wish)
    if wish is None or wish == service.depth:
        service.wishes.drop(key)
    else:
        service.wishes.put(key, wish)


async def _was_public(service: AirnodeService, key: RequestKey, answer: Answer) -> bool:
    """
    Return whether a request's number left before the request came into the block that holds it.
    """
    if answer.exposed_at is None:
        return False
    async with service.database.read() as connection:
        events = await history(connection, key)
    return any(event.reason in MOVED and event.at >= answer.exposed_at for event in events)


def _is_too_old(service: AirnodeService, answer: Answer, head: Block) -> bool:
    """
    Return whether a request waited too long. A number that may be public is put on record.
    """
    limit = service.policy.max_age
    if limit is None or answer.exposed_at is not None:
        return False
    return agreed_time(service, head) - answer.created_at > limit


async def _bind(
    service: AirnodeService,
    ready: Sequence[tuple[_Tracked, Wanted]],
    answers: Mapping[RequestKey, Answer],
    head: Block,
    verdicts: _Verdicts,
) -> list[str]:
    """
    Return the purposes that get a number now, as many as the pool holds, as sponsors may have, and
    as they can pay for.
    """
    async with service.database.read() as connection:
        purposes = {airnode_purpose(one.request.key) for one, _ in ready}
        have = await service.pool.bound_among(connection, sorted(purposes))
        seeds = await service.pool.seeds_for(connection, have)
    without: list[tuple[_Tracked, Wanted]] = []
    for tracked, want in ready:
        purpose = airnode_purpose(tracked.request.key)
        if answers[tracked.request.key].data is not None or purpose in seeds:
            verdicts.drawn.append((tracked, want))
        elif purpose in have:
            # It was settled by others, as it seemed, and is open again.
            verdicts.gone.append(tracked)
        else:
            without.append((tracked, want))
    fresh = await _let_draw(service, without, head, verdicts)
    verdicts.drawn += fresh
    return [airnode_purpose(tracked.request.key) for tracked, _ in fresh]


async def _let_draw(
    service: AirnodeService,
    without: Sequence[tuple[_Tracked, Wanted]],
    head: Block,
    verdicts: _Verdicts,
) -> list[tuple[_Tracked, Wanted]]:
    """
    Return those of the requests without a number that get one now.
    """
    if not without:
        return []
    tariff = await tariff_at(service, head)
    if tariff is None:
        verdicts.waiting += [(tracked, "fee_cap_reached") for tracked, _ in without]
        return []
    gas = service.policy.gas_floor
    least = tariff.least(gas, FULFILL_SIZE)
    wallets = {tracked.request.sponsor_wallet for tracked, _ in without}
    balances = await balances_of(service, wallets)
    async with service.database.read() as connection:
        purses = await open_purses(connection, service, balances, least)
        left = await service.pool.fresh(connection)
        today = await airnode.drawn_since(
            connection, service.chain_id, service.contract, agreed_time(service, head) - _DAY
        )
    cap = service.policy.draws_per_day
    fresh: list[tuple[_Tracked, Wanted]] = []
    for tracked, want in without:
        sponsor = tracked.request.sponsor
        if cap is not None and today.get(sponsor, 0) >= cap:
            verdicts.waiting.append((tracked, "sponsor_cap"))
        elif len(fresh) >= left:
            verdicts.waiting.append((tracked, "waiting_for_entropy"))
        elif shortage := purses[tracked.request.sponsor_wallet].promise(gas, least):
            verdicts.waiting.append((tracked, "wallet_unfunded"))
            verdicts.short.append((tracked, shortage))
        else:
            today[sponsor] = today.get(sponsor, 0) + 1
            fresh.append((tracked, want))
    return fresh


async def _write(
    tx: AsyncConnection,
    service: AirnodeService,
    answers: Mapping[RequestKey, Answer],
    head: Block,
    verdicts: _Verdicts,
) -> None:
    book = service.book
    for reason, members in verdicts.rejected.items():
        keys = [one.request.key for one in members]
        await book.advance_all(tx, keys, State.CONFIRMED, State.REJECTED, reason=reason)
    keys = [one.request.key for one in verdicts.expired]
    await book.advance_all(tx, keys, State.CONFIRMED, State.EXPIRED, reason="max_age")
    keys = [one.request.key for one in verdicts.gone]
    await book.advance_all(tx, keys, State.CONFIRMED, State.FAILED, reason="number_gone")
    for tracked, why in verdicts.failing:
        await airnode.put(tx, [tracked.request.key], failure=why)
    alike: dict[tuple[int, bool, int], list[RequestKey]] = {}
    at = agreed_time(service, head)
    for tracked, want in verdicts.drawn:
        key = tracked.request.key
        drawn_at = answers[key].drawn_at or at
        alike.setdefault((want.words, want.array, drawn_at), []).append(key)
    for (words, array, drawn_at), those in alike.items():
        await airnode.put(
            tx,
            those,
            num_words=words,
            array=array,
            failure=None,
            **NO_SHORTAGE,
            drawn_at=drawn_at,
        )
    keys = [one.request.key for one, _ in (*verdicts.failing, *verdicts.drawn)]
    await book.advance_all(tx, keys, State.CONFIRMED, State.DRAWN, transaction_id=None)
    for tracked, reason in verdicts.waiting:
        await book.note(tx, tracked, reason)


def _tell(verdicts: _Verdicts) -> None:
    ended = {**verdicts.rejected, "max_age": verdicts.expired, "number_gone": verdicts.gone}
    for reason, members in ended.items():
        for tracked in members:
            log.get().warning("request_not_served", **tracked.log_context(), reason=reason)
