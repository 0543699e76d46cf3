"""
Reading the books: requests with their progress, found by name, state, transaction or age.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Row, Table, and_, bindparam, exists, func, literal, select, union_all

from oracle.request import OPEN_STATES, Outcome, Request, RequestKey, State, Tracked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import BindParameter, ColumnElement, CompoundSelect, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

R = TypeVar("R", bound=Request)


class Catalog(ABC, Generic[R]):
    """
    The requests of one protocol, as they are looked up.

    A subclass says how a row is read. Does not: change any row.
    """

    def __init__(self, table: Table, *order: ColumnElement[Any]) -> None:
        self.table = table
        self.order = order
        columns = table.c
        since: BindParameter[int] = bindparam("since")
        up_to: BindParameter[int] = bindparam("up_to")
        #: Conditions: whether a request was made, or served, in a block from `since` on, or up to
        #: `up_to`.
        self.made_from: ColumnElement[bool] = columns.block_number >= since
        self.made_by: ColumnElement[bool] = columns.block_number <= up_to
        self.served_from: ColumnElement[bool] = columns.outcome_block >= since
        self.served_by: ColumnElement[bool] = columns.outcome_block <= up_to

    @abstractmethod
    def _read(self, row: Row[Any]) -> R:
        """
        Return the request of a row.
        """

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
        wanted = list(ids)
        if not wanted:
            return {}
        rows = await connection.execute(
            self._by_id, {"chain": chain_id, "at": contract, "ids": wanted}
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
        **values: object,
    ) -> list[Tracked[R]]:
        """
        Return requests in any of the states, in their order, from an offset; all without a limit.

        A condition that is asked for often is made once, with bound parameters for what differs:
        they get the `values`, and the statement is made once too.
        """
        wanted = list(states)
        query = _in_states(self.table, self.order, len(wanted), where, limit is not None)
        rows = await connection.execute(
            query,
            {
                "chain": chain_id,
                "at": contract,
                **{f"state_{place}": state for place, state in enumerate(wanted)},
                **({} if limit is None else {"most": limit, "skipped": offset}),
                **values,
            },
        )
        return [self.from_row(row) for row in rows]

    async def open_states(
        self, connection: AsyncConnection, chain_id: int, contract: str
    ) -> set[State]:
        """
        Return the states of the requests of a contract that are on their way.
        """
        found = await connection.scalars(self._open, {"chain": chain_id, "at": contract})
        return set(map(State, found))

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
        rows = await connection.execute(self._by_transaction, {"ids": list(found)})
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

    @cached_property
    def place(self) -> tuple[ColumnElement[bool], ...]:
        """
        What holds of the requests of a contract, which is to be given as `chain` and `at`.
        """
        return _of(self.table)

    @cached_property
    def _by_id(self) -> Select[Any]:
        return select(self.table).where(
            *self.place, self.table.c.request_id.in_(bindparam("ids", expanding=True))
        )

    @cached_property
    def _by_transaction(self) -> Select[Any]:
        return (
            select(self.table)
            .where(self.table.c.transaction_id.in_(bindparam("ids", expanding=True)))
            .order_by(*self.order)
        )

    @cached_property
    def _open(self) -> CompoundSelect[Any]:
        # A look into the index each, however many requests are in a state.
        return union_all(
            *(
                select(literal(str(state))).where(
                    exists().where(*self.place, self.table.c.state == literal(str(state)))
                )
                for state in OPEN_STATES
            )
        )

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


@lru_cache(maxsize=256)
def _in_states(
    table: Table,
    order: tuple[ColumnElement[Any], ...],
    states: int,
    where: tuple[ColumnElement[bool], ...],
    limited: bool,  # noqa: FBT001 - a cache's key
) -> Select[Any]:
    """
    Return the statement for requests in so many states: to make it takes longer than to execute
    it.
    """
    state = table.c.state
    wanted = [bindparam(f"state_{place}", type_=state.type) for place in range(states)]
    query = select(table).where(*_of(table), state.in_(wanted), *where).order_by(*order)
    return query.limit(bindparam("most")).offset(bindparam("skipped")) if limited else query


def _of(table: Table) -> tuple[ColumnElement[bool], ...]:
    return table.c.chain_id == bindparam("chain"), table.c.contract == bindparam("at")
