"""
The books of requests, one per protocol: every transition is a compare-and-set with an event row.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, update

from oracle.errors import StaleStateError
from oracle.request import Outcome, Request, RequestKey, State, Tracked, check_transition
from oracle.store import retention
from oracle.store.catalog import Catalog, R
from oracle.store.engine import now
from oracle.store.history import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Update
    from sqlalchemy.ext.asyncio import AsyncConnection

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


class Book(Catalog[R]):
    """
    The requests of one protocol, whatever they ask for, and their way through the states.

    Guarantees: a request moves along an edge of the transition table or not at all, and only from
    the state that it was read in; every transition leaves an event.

    A subclass says what a row holds beside a request's name, place and progress.
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
            await record(tx, [request.key for request in new], None, State.OBSERVED, None)
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
            await record(tx, [request.key], state, state, _REPLACED)
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
            self._advance_all,
            {
                **_place_of(keys),
                "ids": [key.request_id for key in keys],
                "before": before,
                "state": after,
                "reason": reason,
                "updated_at": now(),
                **values,
            },
        )
        _check_moved(moved.rowcount, keys, before)
        await record(tx, keys, before, after, reason)

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
            at = now()
            moved = await tx.execute(
                self._advance_each,
                [
                    {
                        **_place_of(keys),
                        "id": key.request_id,
                        "before": state,
                        "state": State.MINED,
                        "reason": None,
                        "updated_at": at,
                        "outcome_hash": outcome.transaction_hash,
                        "outcome_block": outcome.block_number,
                        "outcome_block_hash": outcome.block_hash,
                        "callback_succeeded": outcome.callback_succeeded,
                    }
                    for key, outcome in members
                ],
            )
            _check_moved(moved.rowcount, keys, state)
            await record(tx, keys, state, State.MINED, None)

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
        at = now()
        moved = await tx.execute(
            self._advance_each,
            [
                {
                    **_place_of(keys),
                    "id": key.request_id,
                    "before": before,
                    "state": after,
                    "reason": None,
                    "updated_at": at,
                    "transaction_id": slot_id,
                }
                for key, slot_id in transaction_ids
            ],
        )
        _check_moved(moved.rowcount, keys, before)
        await record(tx, keys, before, after, None)

    @cached_property
    def _advance_all(self) -> Update:
        among = self.table.c.request_id.in_(bindparam("ids", expanding=True))
        return update(self.table).where(*self.place, among, self._before)

    @cached_property
    def _advance_each(self) -> Update:
        one = self.table.c.request_id == bindparam("id")
        return update(self.table).where(*self.place, one, self._before)

    @property
    def _before(self) -> ColumnElement[bool]:
        return self.table.c.state == bindparam("before")


def _place_of(keys: Sequence[RequestKey]) -> dict[str, object]:
    return {"chain": keys[0].chain_id, "at": keys[0].contract}


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
