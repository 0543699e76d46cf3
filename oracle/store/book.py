"""
The books of requests, one per protocol: every transition is a compare-and-set with an event row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Row, Table, and_, bindparam, func, insert, select, update

from oracle.errors import StaleStateError
from oracle.request import Outcome, Request, RequestKey, State, Tracked, check_transition
from oracle.store import retention
from oracle.store.engine import now
from oracle.store.schema import request_events

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

R = TypeVar("R", bound=Request)

_BACK, _REPLACED = "included_again", "block_replaced"
# The reasons of events that say: another block holds the request now.
MOVED = frozenset({_BACK, _REPLACED})

NO_OUTCOME: dict[str, object] = {
    "outcome_hash": None,
    "outcome_block": None,
    "outcome_block_hash": None,
    "callback_succeeded": None,
    "cost": None,
}


class Book(ABC, Generic[R]):
    """
    The requests of one protocol, whatever they ask for, and their way through the states.

    Guarantees: a request moves along an edge of the transition table or not at all, and only from
    the state that it was read in; every transition leaves an event.

    A subclass says what a row holds beside a request's name, place and progress.
    """

    def __init__(self, table: Table, *order: ColumnElement[Any]) -> None:
        self.table = table
        self.order = order

    @abstractmethod
    def _read(self, row: Row[Any]) -> R:
        """
        Return the request of a row.
        """

    @abstractmethod
    def _terms(self, request: R) -> dict[str, object]:
        """
        Return what its row holds of a request beside its name, place and progress.
        """

    async def _check_new(self, tx: AsyncConnection, appearing: Sequence[R]) -> None:
        """
        Refuse requests that cannot stand beside those that are known.
        """

    async def observe(self, tx: AsyncConnection, request: R) -> bool:
        """
        Record that the canonical chain holds this request; true if that is news.
        """
        return bool(await self.observe_all(tx, [request]))

    async def observe_all(self, tx: AsyncConnection, found: Sequence[R]) -> int:
        """
        Record that the canonical chain holds these requests of one contract; return how many are
        news.

        One that was pruned is known, and stays so. An orphaned request comes back to life; one
        whose block was replaced at the same height, or that moved to another one, gets the new
        block.
        """
        if not found:
            return 0
        key = found[0].key
        known = await self.find(
            tx, key.chain_id, key.contract, [one.key.request_id for one in found]
        )
        unknown = {one.key.request_id for one in found} - known.keys()
        pruned = await retention.among(tx, key.chain_id, key.contract, unknown) if unknown else ()
        new, back, moved = [], [], []
        for request in found:
            if request.key.request_id in pruned:
                continue
            tracked = known.get(request.key.request_id)
            if tracked is None:
                new.append(request)
            elif tracked.state is State.ORPHANED:
                back.append(request)
            elif tracked.request.block_hash != request.block_hash:
                moved.append((request, tracked.state))
        await self._check_new(tx, [*new, *back])
        if new:
            at = now()
            await tx.execute(
                insert(self.table),
                [
                    {
                        "chain_id": request.key.chain_id,
                        "contract": request.key.contract,
                        "request_id": request.key.request_id,
                        "state": State.OBSERVED,
                        "created_at": at,
                        "updated_at": at,
                        **self._terms(request),
                        **_place(request),
                    }
                    for request in new
                ],
            )
            await _record(tx, [request.key for request in new], None, State.OBSERVED, None)
        for request in back:
            await self.advance(
                tx,
                request.key,
                State.ORPHANED,
                State.OBSERVED,
                reason=_BACK,
                **_place(request),
            )
        for request, state in moved:
            await tx.execute(
                update(self.table)
                .where(self._is(request.key))
                .values(updated_at=now(), **_place(request))
            )
            await _record(tx, [request.key], state, state, _REPLACED)
        return len(new) + len(back) + len(moved)

    async def advance(
        self,
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
        await self.advance_all(tx, [key], before, after, reason=reason, **values)

    async def advance_all(
        self,
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
            update(self.table)
            .where(
                self.of(keys[0].chain_id, keys[0].contract),
                self.table.c.request_id.in_([key.request_id for key in keys]),
                self.table.c.state == before,
            )
            .values(state=after, reason=reason, updated_at=now(), **values)
        )
        _check_moved(moved.rowcount, keys, before)
        await _record(tx, keys, before, after, reason)

    async def note(self, tx: AsyncConnection, tracked: Tracked[R], reason: str | None) -> None:
        """
        Say on a request why it waits in its state. That is no transition: its history does not
        grow.
        """
        if tracked.reason != reason:
            await tx.execute(
                update(self.table)
                .where(self._is(tracked.request.key), self.table.c.state == tracked.state)
                .values(reason=reason, updated_at=now())
            )

    async def fulfilled(self, tx: AsyncConnection, tracked: Tracked[R], outcome: Outcome) -> None:
        """
        Record what the chain says about a fulfillment.
        """
        await self.fulfilled_all(tx, [(tracked, outcome)])

    async def fulfilled_all(
        self, tx: AsyncConnection, found: Sequence[tuple[Tracked[R], Outcome]]
    ) -> None:
        """
        Record what the chain says about fulfillments in one contract.

        Raises `StaleStateError` as `advance_all` does.
        """
        groups: dict[State, list[tuple[RequestKey, Outcome]]] = {}
        for tracked, outcome in found:
            groups.setdefault(tracked.state, []).append((tracked.request.key, outcome))
        for state, members in groups.items():
            check_transition(state, State.MINED)
            keys = [key for key, _ in members]
            moved = await tx.execute(
                update(self.table)
                .where(
                    self.of(keys[0].chain_id, keys[0].contract),
                    self.table.c.request_id == bindparam("id"),
                    self.table.c.state == state,
                )
                .values(state=State.MINED, reason=None, updated_at=now()),
                [
                    {
                        "id": key.request_id,
                        "outcome_hash": outcome.transaction_hash,
                        "outcome_block": outcome.block_number,
                        "outcome_block_hash": outcome.block_hash,
                        "callback_succeeded": outcome.callback_succeeded,
                    }
                    for key, outcome in members
                ],
            )
            _check_moved(moved.rowcount, keys, state)
            await _record(tx, keys, state, State.MINED, None)

    async def bind_all(
        self,
        tx: AsyncConnection,
        transaction_ids: Sequence[tuple[RequestKey, int]],
        before: State,
        after: State,
    ) -> None:
        """
        Move requests of one contract along the same edge, each with a transaction of its own, all
        or none of them.

        Raises `StaleStateError` as `advance_all` does.
        """
        check_transition(before, after)
        keys = [key for key, _ in transaction_ids]
        if not keys:
            return
        moved = await tx.execute(
            update(self.table)
            .where(
                self.of(keys[0].chain_id, keys[0].contract),
                self.table.c.request_id == bindparam("id"),
                self.table.c.state == before,
            )
            .values(state=after, reason=None, updated_at=now()),
            [
                {"id": key.request_id, "transaction_id": slot_id}
                for key, slot_id in transaction_ids
            ],
        )
        _check_moved(moved.rowcount, keys, before)
        await _record(tx, keys, before, after, None)

    async def get(self, connection: AsyncConnection, key: RequestKey) -> Tracked[R] | None:
        """
        Return a request by its key.
        """
        rows = await connection.execute(select(self.table).where(self._is(key)))
        row = rows.one_or_none()
        return None if row is None else self.from_row(row)

    async def find(
        self, connection: AsyncConnection, chain_id: int, contract: str, ids: Iterable[bytes]
    ) -> dict[bytes, Tracked[R]]:
        """
        Return those of the ids that are known.
        """
        rows = await connection.execute(
            select(self.table).where(
                self.of(chain_id, contract), self.table.c.request_id.in_(list(ids))
            )
        )
        return {row.request_id: self.from_row(row) for row in rows}

    async def in_states(
        self,
        connection: AsyncConnection,
        chain_id: int,
        contract: str,
        states: Iterable[State],
        *where: ColumnElement[bool],
        limit: int | None = 1000,
        offset: int = 0,
    ) -> list[Tracked[R]]:
        """
        Return requests in any of the states, in their order, from an offset; all without a limit.
        """
        rows = await connection.execute(
            select(self.table)
            .where(self.of(chain_id, contract), self.table.c.state.in_(list(states)), *where)
            .order_by(*self.order)
            .limit(limit)
            .offset(offset)
        )
        return [self.from_row(row) for row in rows]

    async def of_transaction(
        self, connection: AsyncConnection, transaction_id: int
    ) -> list[Tracked[R]]:
        """
        Return the requests that a transaction serves.
        """
        return (await self.of_transactions(connection, [transaction_id]))[transaction_id]

    async def of_transactions(
        self, connection: AsyncConnection, transaction_ids: Collection[int]
    ) -> dict[int, list[Tracked[R]]]:
        """
        Return the requests that transactions serve.
        """
        found: dict[int, list[Tracked[R]]] = {one: [] for one in transaction_ids}
        if not found:
            return found
        rows = await connection.execute(
            select(self.table)
            .where(self.table.c.transaction_id.in_(list(found)))
            .order_by(*self.order)
        )
        for row in rows:
            found[row.transaction_id].append(self.from_row(row))
        return found

    async def newest(
        self, connection: AsyncConnection, *, state: State | None = None, limit: int = 50
    ) -> list[Tracked[R]]:
        """
        Return the newest requests first.
        """
        latest = [column.desc() for column in (self.table.c.created_at, *self.order)]
        query = select(self.table).order_by(*latest)
        if state is not None:
            query = query.where(self.table.c.state == state)
        return [self.from_row(row) for row in await connection.execute(query.limit(limit))]

    async def page(
        self, connection: AsyncConnection, chain_id: int, contract: str, after: bytes, limit: int
    ) -> list[Tracked[R]]:
        """
        Return the next requests in the order of their ids, in whatever state: all of them, bit by
        bit.
        """
        rows = await connection.execute(
            select(self.table)
            .where(self.of(chain_id, contract), self.table.c.request_id > after)
            .order_by(self.table.c.request_id)
            .limit(limit)
        )
        return [self.from_row(row) for row in rows]

    async def by_prefix(self, connection: AsyncConnection, prefix: bytes) -> list[Tracked[R]]:
        """
        Return the requests whose id begins with these bytes, two at most.
        """
        upper = prefix + b"\xff" * (32 - len(prefix))
        rows = await connection.execute(
            select(self.table).where(self.table.c.request_id.between(prefix, upper)).limit(2)
        )
        return [self.from_row(row) for row in rows]

    async def count_by_state(
        self, connection: AsyncConnection, *where: ColumnElement[bool]
    ) -> dict[State, int]:
        """
        Count the requests in every state that has any.
        """
        rows = await connection.execute(
            select(self.table.c.state, func.count()).where(*where).group_by(self.table.c.state)
        )
        return {State(state): count for state, count in rows}

    def of(self, chain_id: int, contract: str) -> ColumnElement[bool]:
        """
        Return what holds of the requests of a contract.
        """
        return and_(self.table.c.chain_id == chain_id, self.table.c.contract == contract)

    def _is(self, key: RequestKey) -> ColumnElement[bool]:
        return and_(self.of(key.chain_id, key.contract), self.table.c.request_id == key.request_id)

    def from_row(self, row: Row[Any]) -> Tracked[R]:
        """
        Return the request of a row, with its progress.
        """
        outcome = None
        if row.outcome_hash is not None:
            outcome = Outcome(
                request_id=row.request_id,
                callback_succeeded=row.callback_succeeded,
                transaction_hash=row.outcome_hash,
                block_number=row.outcome_block,
                block_hash=row.outcome_block_hash,
            )
        return Tracked(
            request=self._read(row),
            state=State(row.state),
            reason=row.reason,
            transaction_id=row.transaction_id,
            outcome=outcome,
            cost=row.cost,
            created_at=row.created_at,
        )


def _check_moved(moved: int, keys: Sequence[RequestKey], before: State) -> None:
    if moved != len(keys):
        which = f"request 0x{keys[0].request_id.hex()}"
        if len(keys) > 1:
            which += f", or one of {len(keys) - 1} that go with it,"
        raise StaleStateError(f"{which} is not {before} any more")


def _place(request: Request) -> dict[str, object]:
    return {
        "block_number": request.block_number,
        "block_hash": request.block_hash,
        "transaction_hash": request.transaction_hash,
        "log_index": request.log_index,
    }


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


async def remark(tx: AsyncConnection, tracked: Tracked[Any], reason: str) -> None:
    """
    Write a word into a request's history that is no transition.
    """
    await _record(tx, [tracked.request.key], tracked.state, tracked.state, reason)


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
