"""
Requests that were finished long ago: their rows go, and what is needed to know them again stays.

A tombstone keeps an id from being observed anew. Kept for ever beside it is all that tells where a
seed came from, and that it left: the pool's blocks, their inputs and draws, batches and reveals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Table, delete, exists, func, insert, select

from oracle.errors import StaleStateError
from oracle.request import RequestKey, State
from oracle.store.cursors import get_setting, put_setting
from oracle.store.engine import now
from oracle.store.schema import (
    airnode_requests,
    airnode_withdrawals,
    attempts,
    pruned_requests,
    request_events,
    requests,
    transactions,
)
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.pool import Pool

# What nobody waits for any more. Whoever has a request that expired, was rejected or failed can
# still cancel it, and the operator has to answer for it: those stay.
_FINISHED = (State.DONE, State.CANCELLED, State.ORPHANED)
_CLOSED_SLOTS = (SlotState.FINAL, SlotState.LOST)
# What is read of a request that may be finished; `seed_index` where it has one.
_TOLD = (
    *("request_id", "seed_index", "block_number", "updated_at"),
    *("transaction_id", "outcome_block", "callback_succeeded"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """
    What is left of a request: its state was DONE or CANCELLED, or REJECTED for one to an Airnode,
    which has no index; `pruned_at` is in milliseconds.
    """

    key: RequestKey
    seed_index: int | None
    block_number: int
    state: State
    outcome_block: int | None
    callback_succeeded: bool | None
    pruned_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """
    A request that can be pruned; one to an Airnode has no index.
    """

    key: RequestKey
    seed_index: int | None
    block_number: int
    state: State
    transaction_id: int | None
    outcome_block: int | None
    callback_succeeded: bool | None


@dataclass(frozen=True, slots=True)
class Mark:
    """
    A block below which all lies that was pruned: while it is canonical, that is final.
    """

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """
    Which requests of a contract are looked for: those in a state, made up to a block, and not
    touched since a time in milliseconds since 1970.
    """

    chain_id: int
    contract: str
    state: State
    up_to_block: int
    before: int


async def finished(
    connection: AsyncConnection,
    chain_id: int,
    contract: str,
    *,
    up_to_block: int,
    before: int,
    limit: int,
) -> list[Finished]:
    """
    Return requests that can be pruned, the lowest blocks first: made up to a block, finished
    before a time in milliseconds since 1970, and with no transaction under way.

    Does not: look past the first `limit` in every state, so that a pass is short however many are
    kept.
    """
    found: list[Finished] = []
    for state in _FINISHED:
        if len(found) < limit:
            found += await finished_in(
                connection,
                requests,
                Finish(chain_id, contract, state, up_to_block, before),
                limit - len(found),
            )
    return found


async def finished_in(
    connection: AsyncConnection,
    table: Table,
    wanted: Finish,
    limit: int,
    *where: ColumnElement[bool],
) -> list[Finished]:
    """
    Return those of the first `limit` requests of a table that fit which can be pruned.
    """
    chain_id, contract, state = wanted.chain_id, wanted.contract, wanted.state
    oldest = (
        select(*(table.c[name] for name in _TOLD if name in table.c))
        .where(
            table.c.chain_id == chain_id,
            table.c.contract == contract,
            table.c.state == state,
            table.c.block_number.between(0, wanted.up_to_block),
            *where,
        )
        .order_by(table.c.block_number)
        .limit(limit)
        .subquery()
    )
    rows = await connection.execute(
        select(oldest)
        .outerjoin(transactions, transactions.c.id == oldest.c.transaction_id)
        .where(
            oldest.c.updated_at < wanted.before,
            transactions.c.id.is_(None) | transactions.c.state.in_(_CLOSED_SLOTS),
        )
    )
    return [
        Finished(
            key=RequestKey(chain_id=chain_id, contract=contract, request_id=row.request_id),
            seed_index=row.seed_index if "seed_index" in table.c else None,
            block_number=row.block_number,
            state=state,
            transaction_id=row.transaction_id,
            outcome_block=row.outcome_block if state is State.DONE else None,
            callback_succeeded=row.callback_succeeded if state is State.DONE else None,
        )
        for row in rows
    ]


async def prune(tx: AsyncConnection, pool: Pool, doomed: Sequence[Finished], mark: Mark) -> None:
    """
    Replace requests of one contract by their tombstones, and drop their history and transactions.

    Guarantees: what is left of their seeds is erased; an orphaned request leaves nothing, as on
    the chain. Raises `StaleStateError` when one of them is in another state by now.

    The caller knows that their windows have passed for good, and that all of it lies below the
    mark.
    """
    place = (doomed[0].key.chain_id, doomed[0].key.contract)
    await _raise_mark(tx, *place, mark)
    indices = [
        one.seed_index
        for one in doomed
        if one.state is not State.ORPHANED and one.seed_index is not None
    ]
    if indices:
        await pool.erase_unrevealed(tx, *place, indices)
        await pool.erase_revealed(tx, *place, indices)
    await bury(tx, requests, doomed)


async def bury(tx: AsyncConnection, table: Table, doomed: Sequence[Finished]) -> None:
    """
    Put tombstones in the place of requests of one contract, and drop their history and
    transactions; an orphaned one leaves nothing.

    Raises `StaleStateError` when one of them is in another state by now.
    """
    at = now()
    kept = [one for one in doomed if one.state is not State.ORPHANED]
    if kept:
        await tx.execute(
            insert(pruned_requests),
            [
                {
                    "request_id": one.key.request_id,
                    "chain_id": one.key.chain_id,
                    "contract": one.key.contract,
                    "seed_index": one.seed_index,
                    "block_number": one.block_number,
                    "state": one.state,
                    "outcome_block": one.outcome_block,
                    "callback_succeeded": one.callback_succeeded,
                    "pruned_at": at,
                }
                for one in kept
            ],
        )
    await _drop_requests(tx, table, doomed)
    slots = {one.transaction_id for one in doomed} - {None}
    await _drop_slots(tx, [slot for slot in slots if slot is not None])


async def _drop_requests(tx: AsyncConnection, table: Table, doomed: Sequence[Finished]) -> None:
    chain_id, contract = doomed[0].key.chain_id, doomed[0].key.contract
    ids = [one.key.request_id for one in doomed]
    these = (
        table.c.chain_id == chain_id,
        table.c.contract == contract,
        table.c.request_id.in_(ids),
    )
    # By their ids alone: with the state beside so many, SQLite reads all that is in it.
    rows = await tx.execute(select(table.c.request_id, table.c.state).where(*these))
    if {(id_, State(state)) for id_, state in rows} != {
        (one.key.request_id, one.state) for one in doomed
    }:
        raise StaleStateError("a request that was to be pruned has moved")
    await tx.execute(delete(table).where(*these))
    await tx.execute(
        delete(request_events).where(
            request_events.c.chain_id == chain_id,
            request_events.c.contract == contract,
            request_events.c.request_id.in_(ids),
        )
    )


async def _drop_slots(tx: AsyncConnection, slots: Sequence[int]) -> None:
    """
    Drop closed slots, with their attempts, that serve nothing any more.
    """
    unused = await tx.scalars(
        select(transactions.c.id).where(
            transactions.c.id.in_(slots),
            transactions.c.state.in_(_CLOSED_SLOTS),
            transactions.c.purpose != Purpose.COMMIT,
            *(
                ~exists().where(table.c.transaction_id == transactions.c.id)
                for table in (requests, airnode_requests, airnode_withdrawals)
            ),
        )
    )
    ids = list(unused)
    await tx.execute(delete(attempts).where(attempts.c.transaction_id.in_(ids)))
    await tx.execute(delete(transactions).where(transactions.c.id.in_(ids)))


async def among(
    connection: AsyncConnection, chain_id: int, contract: str, ids: Iterable[bytes]
) -> set[bytes]:
    """
    Return those of the ids that were pruned.
    """
    rows = await connection.scalars(
        select(pruned_requests.c.request_id).where(
            *_of(chain_id, contract), pruned_requests.c.request_id.in_(list(ids))
        )
    )
    return set(rows)


async def indices_among(
    connection: AsyncConnection, chain_id: int, contract: str, indices: Sequence[int]
) -> list[int]:
    """
    Return those of the indices that a pruned request had.
    """
    rows = await connection.scalars(
        select(pruned_requests.c.seed_index).where(
            *_of(chain_id, contract), pruned_requests.c.seed_index.in_(indices)
        )
    )
    return list(rows)


async def page(
    connection: AsyncConnection, chain_id: int, contract: str, after: bytes, limit: int
) -> list[Pruned]:
    """
    Return the next pruned requests in the order of their ids: all of them, bit by bit.
    """
    rows = await connection.execute(
        select(pruned_requests)
        .where(*_of(chain_id, contract), pruned_requests.c.request_id > after)
        .order_by(pruned_requests.c.request_id)
        .limit(limit)
    )
    return [_pruned(row) for row in rows]


async def by_prefix(connection: AsyncConnection, prefix: bytes) -> list[Pruned]:
    """
    Return the pruned requests whose id begins with these bytes, two at most.
    """
    upper = prefix + b"\xff" * (32 - len(prefix))
    rows = await connection.execute(
        select(pruned_requests).where(pruned_requests.c.request_id.between(prefix, upper)).limit(2)
    )
    return [_pruned(row) for row in rows]


async def count(connection: AsyncConnection, *, airnode: bool) -> int:
    """
    Count the pruned requests to coordinators, or those to an Airnode.
    """
    index = pruned_requests.c.seed_index
    whose = index.is_(None) if airnode else index.is_not(None)
    query = select(func.count()).select_from(pruned_requests).where(whose)
    return await connection.scalar(query) or 0


async def get_mark(connection: AsyncConnection, chain_id: int, contract: str) -> Mark | None:
    """
    Return the block below which all lies that was pruned; nothing before the first was.
    """
    stored = await get_setting(connection, _setting(chain_id, contract))
    if not stored:
        return None
    number, hash_ = stored.split(":")
    return Mark(int(number), bytes.fromhex(hash_))


async def forget(tx: AsyncConnection, chain_id: int, contract: str) -> int:
    """
    Drop all tombstones, because the chain that they are of is gone: what the new one has of them
    is observed anew. Return how many there were.
    """
    await put_setting(tx, _setting(chain_id, contract), "")
    dropped = await tx.execute(delete(pruned_requests).where(*_of(chain_id, contract)))
    return dropped.rowcount


async def _raise_mark(tx: AsyncConnection, chain_id: int, contract: str, mark: Mark) -> None:
    known = await get_mark(tx, chain_id, contract)
    if known is None or known.number < mark.number:
        await put_setting(tx, _setting(chain_id, contract), f"{mark.number}:{mark.hash.hex()}")


def _setting(chain_id: int, contract: str) -> str:
    return f"pruned:{chain_id}:{contract}"


def _of(chain_id: int, contract: str) -> tuple[ColumnElement[bool], ...]:
    return (pruned_requests.c.chain_id == chain_id, pruned_requests.c.contract == contract)


def _pruned(row: Row[Any]) -> Pruned:
    return Pruned(
        key=RequestKey(chain_id=row.chain_id, contract=row.contract, request_id=row.request_id),
        seed_index=row.seed_index,
        block_number=row.block_number,
        state=State(row.state),
        outcome_block=row.outcome_block,
        callback_succeeded=row.callback_succeeded,
        pruned_at=row.pruned_at,
    )
