"""
Requests and their history: every transition is a compare-and-set with an event row.
"""

from __future__ import annotations

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

    Raises `InconsistentChainError` when another request that is not orphaned has its index.

    An orphaned request comes back to life; one whose block was replaced at the same height gets
    the new block's hash.
    """
    place = {
        "block_number": request.block_number,
        "block_hash": request.block_hash,
        "transaction_hash": request.transaction_hash,
        "log_index": request.log_index,
    }
    known = await get(tx, request.key)
    if known is None or known.state is State.ORPHANED:
        await _check_index_is_free(tx, request)
    if known is None:
        await tx.execute(
            insert(requests).values(
                chain_id=request.key.chain_id,
                contract=request.key.contract,
                request_id=request.key.request_id,
                seed_index=request.seed_index,
                requester=request.requester,
                callback_gas_limit=request.callback_gas_limit,
                num_words=request.num_words,
                confirmations=request.confirmations,
                fee=request.fee,
                user_seed=request.user_seed,
                state=State.OBSERVED,
                created_at=now(),
                updated_at=now(),
                **place,
            )
        )
        await _record(tx, request.key, None, State.OBSERVED, None)
        return True
    if known.state is State.ORPHANED:
        await advance(
            tx, request.key, State.ORPHANED, State.OBSERVED, reason="included_again", **place
        )
        return True
    if known.request.block_hash != request.block_hash:
        await tx.execute(
            update(requests).where(_is(request.key)).values(updated_at=now(), **place)
        )
        await _record(tx, request.key, known.state, known.state, "block_replaced")
        return True
    return False


async def _check_index_is_free(tx: AsyncConnection, request: RandomnessRequest) -> None:
    holder = await tx.scalar(
        select(requests.c.request_id).where(
            _of(request.key.chain_id, request.key.contract),
            requests.c.seed_index == request.seed_index,
            requests.c.state != State.ORPHANED,
        )
    )
    if holder is not None:
        raise InconsistentChainError(
            f"two requests claim index {request.seed_index}: the endpoint shows two branches"
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
    check_transition(before, after)
    moved = await tx.execute(
        update(requests)
        .where(_is(key), requests.c.state == before)
        .values(state=after, reason=reason, updated_at=now(), **values)
    )
    if moved.rowcount != 1:
        raise StaleStateError(f"request 0x{key.request_id.hex()} is not {before} any more")
    await _record(tx, key, before, after, reason)


async def fulfilled(tx: AsyncConnection, tracked: TrackedRequest, outcome: Outcome) -> None:
    """
    Record what the chain says about a fulfillment.
    """
    await advance(
        tx,
        tracked.request.key,
        tracked.state,
        State.MINED,
        outcome_hash=outcome.transaction_hash,
        outcome_block=outcome.block_number,
        outcome_block_hash=outcome.block_hash,
        callback_succeeded=outcome.callback_succeeded,
    )


NO_OUTCOME: dict[str, object] = {
    "outcome_hash": None,
    "outcome_block": None,
    "outcome_block_hash": None,
    "callback_succeeded": None,
}


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
    tx: AsyncConnection, key: RequestKey, before: State | None, after: State, reason: str | None
) -> None:
    await tx.execute(
        insert(request_events).values(
            chain_id=key.chain_id,
            contract=key.contract,
            request_id=key.request_id,
            before=before,
            after=after,
            reason=reason,
            at=now(),
        )
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
