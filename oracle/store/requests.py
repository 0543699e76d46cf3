"""
Requests and their history: every transition is a compare-and-set with an event row.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, func, insert, select, update

from oracle.errors import InconsistentChainError, StaleStateError
from oracle.request import (
    Outcome,
    RandomnessRequest,
    RequestKey,
    State,
    TrackedRequest,
    check_transition,
)
from oracle.store.engine import now
from oracle.store.schema import request_events, requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection


async def observe(tx: AsyncConnection, request: RandomnessRequest) -> bool:
    """
    Record that the canonical chain holds this request; true if that is news.
    """
    return bool(await observe_all(tx, [request]))


async def observe_all(tx: AsyncConnection, found: Sequence[RandomnessRequest]) -> int:
    """
    Record that the canonical chain holds these requests of one contract; return how many are news.

    Raises `InconsistentChainError` when another request that is not orphaned has the index of one.

    An orphaned request comes back to life; one whose block was replaced at the same height gets
    the new block's hash.
    """
    if not found:
        return 0
    key = found[0].key
    known = await find(tx, key.chain_id, key.contract, [one.key.request_id for one in found])
    new, back, moved = [], [], []
    for request in found:
        tracked = known.get(request.key.request_id)
        if tracked is None:
            new.append(request)
        elif tracked.state is State.ORPHANED:
            back.append(request)
        elif tracked.request.block_hash != request.block_hash:
            moved.append((request, tracked.state))
    await _check_indices_are_free(tx, [*new, *back])
    if new:
        at = now()
        await tx.execute(
            insert(requests),
            [
                {
                    "chain_id": request.key.chain_id,
                    "contract": request.key.contract,
                    "request_id": request.key.request_id,
                    "seed_index": request.seed_index,
                    "requester": request.requester,
                    "callback_gas_limit": request.callback_gas_limit,
                    "num_words": request.num_words,
                    "confirmations": request.confirmations,
                    "fee": request.fee,
                    "user_seed": request.user_seed,
                    "state": State.OBSERVED,
                    "created_at": at,
                    "updated_at": at,
                    **_place(request),
                }
                for request in new
            ],
        )
        await _record(tx, [request.key for request in new], None, State.OBSERVED, None)
    for request in back:
        await advance(
            tx,
            request.key,
            State.ORPHANED,
            State.OBSERVED,
            reason="included_again",
            **_place(request),
        )
    for request, state in moved:
        await tx.execute(
            update(requests).where(_is(request.key)).values(updated_at=now(), **_place(request))
        )
        await _record(tx, [request.key], state, state, "block_replaced")
    return len(new) + len(back) + len(moved)


def _place(request: RandomnessRequest) -> dict[str, object]:
    return {
        "block_number": request.block_number,
        "block_hash": request.block_hash,
        "transaction_hash": request.transaction_hash,
        "log_index": request.log_index,
    }


async def _check_indices_are_free(
    tx: AsyncConnection, claiming: Sequence[RandomnessRequest]
) -> None:
    if not claiming:
        return
    indices = [request.seed_index for request in claiming]
    taken = await tx.scalars(
        select(requests.c.seed_index).where(
            _of(claiming[0].key.chain_id, claiming[0].key.contract),
            requests.c.seed_index.in_(indices),
            requests.c.state != State.ORPHANED,
        )
    )
    twice = [*taken, *(index for index, count in Counter(indices).items() if count > 1)]
    if twice:
        raise InconsistentChainError(
            f"two requests claim index {twice[0]}: the endpoint shows two branches"
        )


async def advance(
    tx: AsyncConnection,
    key: RequestKey,
    before: State,
    after: State,
    *,
    reason: str | None = None,
    **values: object,
) -> None:
    """
    Move a request along an edge of the transition table.

    Raises `StaleStateError` when the edge does not exist or the request is not in `before`.
    """
    await advance_all(tx, [key], before, after, reason=reason, **values)


async def advance_all(
    tx: AsyncConnection,
    keys: Sequence[RequestKey],
    before: State,
    after: State,
    *,
    reason: str | None = None,
    **values: object,
) -> None:
    """
    Move requests of one contract along the same edge, all or none of them.

    Raises `StaleStateError` when the edge does not exist or one of them is not in `before`.
    """
    check_transition(before, after)
    if not keys:
        return
    moved = await tx.execute(
        update(requests)
        .where(
            _of(keys[0].chain_id, keys[0].contract),
            requests.c.request_id.in_([key.request_id for key in keys]),
            requests.c.state == before,
        )
        .values(state=after, reason=reason, updated_at=now(), **values)
    )
    if moved.rowcount != len(keys):
        which = f"request 0x{keys[0].request_id.hex()}"
        if len(keys) > 1:
            which += f", or one of {len(keys) - 1} that go with it,"
        raise StaleStateError(f"{which} is not {before} any more")
    await _record(tx, keys, before, after, reason)


async def note(tx: AsyncConnection, tracked: TrackedRequest, reason: str | None) -> None:
    """
    Say on a request why it waits in its state. That is no transition: its history does not grow.
    """
    if tracked.reason != reason:
        await tx.execute(
            update(requests)
            .where(_is(tracked.request.key), requests.c.state == tracked.state)
            .values(reason=reason, updated_at=now())
        )


async def fulfilled(tx: AsyncConnection, tracked: TrackedRequest, outcome: Outcome) -> None:
    """
    Record what the chain says about a fulfillment.
    """
    await fulfilled_all(tx, [(tracked, outcome)])


async def fulfilled_all(
    tx: AsyncConnection, found: Sequence[tuple[TrackedRequest, Outcome]]
) -> None:
    """
    Record what the chain says about fulfillments, those of one transaction at a time.

    Raises `StaleStateError` as `advance_all` does.
    """
    groups: dict[tuple[State, bytes, bool], list[tuple[RequestKey, Outcome]]] = {}
    for tracked, outcome in found:
        alike = (tracked.state, outcome.transaction_hash, outcome.callback_succeeded)
        groups.setdefault(alike, []).append((tracked.request.key, outcome))
    for (state, transaction_hash, succeeded), members in groups.items():
        await advance_all(
            tx,
            [key for key, _ in members],
            state,
            State.MINED,
            outcome_hash=transaction_hash,
            outcome_block=members[0][1].block_number,
            outcome_block_hash=members[0][1].block_hash,
            callback_succeeded=succeeded,
        )


NO_OUTCOME: dict[str, object] = {
    "outcome_hash": None,
    "outcome_block": None,
    "outcome_block_hash": None,
    "callback_succeeded": None,
}


# The reason of a request that reverted alone, and what stands before the size of a larger run.
REVERTED = "reverted"
_REVERTED_AMONG = "reverted_among_"


async def get(connection: AsyncConnection, key: RequestKey) -> TrackedRequest | None:
    """
    Return a request by its key.
    """
    row = (await connection.execute(select(requests).where(_is(key)))).one_or_none()
    return None if row is None else _tracked(row)


async def find(
    connection: AsyncConnection, chain_id: int, contract: str, ids: Iterable[bytes]
) -> dict[bytes, TrackedRequest]:
    """
    Return those of the ids that are known.
    """
    rows = await connection.execute(
        select(requests).where(_of(chain_id, contract), requests.c.request_id.in_(list(ids)))
    )
    return {row.request_id: _tracked(row) for row in rows}


async def in_states(
    connection: AsyncConnection,
    chain_id: int,
    contract: str,
    states: Iterable[State],
    *where: ColumnElement[bool],
    limit: int | None = 1000,
) -> list[TrackedRequest]:
    """
    Return requests in any of the states, in the order of their indices; all without a limit.
    """
    rows = await connection.execute(
        select(requests)
        .where(_of(chain_id, contract), requests.c.state.in_(list(states)), *where)
        .order_by(requests.c.seed_index)
        .limit(limit)
    )
    return [_tracked(row) for row in rows]


async def of_transaction(connection: AsyncConnection, transaction_id: int) -> list[TrackedRequest]:
    """
    Return the requests that a transaction serves.
    """
    rows = await connection.execute(
        select(requests)
        .where(requests.c.transaction_id == transaction_id)
        .order_by(requests.c.seed_index)
    )
    return [_tracked(row) for row in rows]


async def newest(
    connection: AsyncConnection, *, state: State | None = None, limit: int = 50
) -> list[TrackedRequest]:
    """
    Return the newest requests first.
    """
    query = select(requests).order_by(requests.c.created_at.desc(), requests.c.seed_index.desc())
    if state is not None:
        query = query.where(requests.c.state == state)
    return [_tracked(row) for row in await connection.execute(query.limit(limit))]


async def page(
    connection: AsyncConnection, chain_id: int, contract: str, after: bytes, limit: int
) -> list[TrackedRequest]:
    """
    Return the next requests in the order of their ids, in whatever state: all of them, bit by bit.
    """
    rows = await connection.execute(
        select(requests)
        .where(_of(chain_id, contract), requests.c.request_id > after)
        .order_by(requests.c.request_id)
        .limit(limit)
    )
    return [_tracked(row) for row in rows]


async def by_prefix(connection: AsyncConnection, prefix: bytes) -> list[TrackedRequest]:
    """
    Return the requests whose id begins with these bytes, two at most.
    """
    upper = prefix + b"\xff" * (32 - len(prefix))
    rows = await connection.execute(
        select(requests).where(requests.c.request_id.between(prefix, upper)).limit(2)
    )
    return [_tracked(row) for row in rows]


async def history(connection: AsyncConnection, key: RequestKey) -> Sequence[Row[Any]]:
    """
    Return the events of a request, oldest first: `before`, `after`, `reason`, `at` (milliseconds).
    """
    rows = await connection.execute(
        select(request_events)
        .where(
            request_events.c.chain_id == key.chain_id,
            request_events.c.contract == key.contract,
            request_events.c.request_id == key.request_id,
        )
        .order_by(request_events.c.id)
    )
    return rows.all()


def reverted_reason(size: int) -> str:
    """
    Return the reason of a request whose run of so many reverted.
    """
    return REVERTED if size == 1 else f"{_REVERTED_AMONG}{size}"


async def smallest_reverts(
    connection: AsyncConnection, keys: Sequence[RequestKey]
) -> dict[RequestKey, int]:
    """
    Return, for those requests of one contract that were in a run that reverted, the size of the
    smallest such run.
    """
    if not keys:
        return {}
    rows = await connection.execute(
        select(request_events.c.request_id, request_events.c.reason)
        .where(
            request_events.c.chain_id == keys[0].chain_id,
            request_events.c.contract == keys[0].contract,
            request_events.c.request_id.in_([key.request_id for key in keys]),
            request_events.c.reason.startswith(REVERTED),
        )
        .distinct()
    )
    smallest: dict[bytes, int] = {}
    for id_, reason in rows:
        size = 1 if reason == REVERTED else int(reason.removeprefix(_REVERTED_AMONG))
        smallest[id_] = min(size, smallest.get(id_, size))
    return {key: smallest[key.request_id] for key in keys if key.request_id in smallest}


async def count_by_state(connection: AsyncConnection) -> dict[State, int]:
    """
    Count the requests in every state that has any.
    """
    rows = await connection.execute(
        select(requests.c.state, func.count()).group_by(requests.c.state)
    )
    return {State(state): count for state, count in rows}


def _of(chain_id: int, contract: str) -> ColumnElement[bool]:
    return and_(requests.c.chain_id == chain_id, requests.c.contract == contract)


def _is(key: RequestKey) -> ColumnElement[bool]:
    return and_(_of(key.chain_id, key.contract), requests.c.request_id == key.request_id)


async def _record(
    tx: AsyncConnection,
    keys: Sequence[RequestKey],
    before: State | None,
    after: State,
    reason: str | None,
) -> None:
    at = now()
    await tx.execute(
        insert(request_events),
        [
            {
                "chain_id": key.chain_id,
                "contract": key.contract,
                "request_id": key.request_id,
                "before": before,
                "after": after,
                "reason": reason,
                "at": at,
            }
            for key in keys
        ],
    )


def _tracked(row: Row[Any]) -> TrackedRequest:
    request = RandomnessRequest(
        key=RequestKey(chain_id=row.chain_id, contract=row.contract, request_id=row.request_id),
        seed_index=row.seed_index,
        requester=row.requester,
        callback_gas_limit=row.callback_gas_limit,
        num_words=row.num_words,
        confirmations=row.confirmations,
        fee=row.fee,
        user_seed=row.user_seed,
        block_number=row.block_number,
        block_hash=row.block_hash,
        transaction_hash=row.transaction_hash,
        log_index=row.log_index,
    )
    outcome = None
    if row.outcome_hash is not None:
        outcome = Outcome(
            request_id=row.request_id,
            callback_succeeded=row.callback_succeeded,
            transaction_hash=row.outcome_hash,
            block_number=row.outcome_block,
            block_hash=row.outcome_block_hash,
        )
    return TrackedRequest(
        request=request,
        state=State(row.state),
        reason=row.reason,
        transaction_id=row.transaction_id,
        outcome=outcome,
    )
