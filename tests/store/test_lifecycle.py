"""
Whatever is asked of the store in whatever order: a model of plain dictionaries must agree with it.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from oracle.errors import InconsistentChainError, StaleStateError
from oracle.request import TRANSITIONS, RandomnessRequest, State
from oracle.store import requests
from oracle.store.engine import Access, Database
from oracle.store.schema import requests as table
from tests.factories import make_outcome, make_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.database_url import DatabaseUrl
    from tests.postgres import Postgres

pytestmark = pytest.mark.store

# Two indices, and for each the three requests that different branches of the chain gave it.
REQUESTS = [make_request(index, block_number=100 + at) for index in (0, 1) for at in range(3)]
wished = st.sampled_from(REQUESTS)
states = st.sampled_from(State)


class Lifecycle(RuleBasedStateMachine):
    """
    Requests observed, moved, orphaned and observed again in any order.
    """

    def __init__(self, place: Path | DatabaseUrl) -> None:
        super().__init__()
        self.model: dict[bytes, State] = {}
        self.done: dict[bytes, Any] = {}
        self.loop = asyncio.Runner()
        self.database = self.loop.run(Database.open(place, Access.NODE))

    def teardown(self) -> None:
        self.loop.run(self.database.close())
        self.loop.close()

    def write(self, act: Callable[[AsyncConnection], Awaitable[object]]) -> object:
        async def written() -> object:
            async with self.database.write() as tx:
                return await act(tx)

        return self.loop.run(written())

    def holders(self, request: RandomnessRequest) -> list[RandomnessRequest]:
        """
        Return the other live requests on the index, as the model sees them.
        """
        return [
            other
            for other in REQUESTS
            if other != request
            and other.seed_index == request.seed_index
            and self.model.get(other.key.request_id, State.ORPHANED) is not State.ORPHANED
        ]

    @initialize(request=wished)
    def start(self, request: RandomnessRequest) -> None:
        self.observe(request)

    @rule(request=wished)
    def observe(self, request: RandomnessRequest) -> None:
        id_ = request.key.request_id
        is_news = self.model.get(id_, State.ORPHANED) is State.ORPHANED
        if is_news and self.holders(request):
            with pytest.raises(InconsistentChainError):
                self.write(lambda tx: requests.observe(tx, request))
            return
        assert self.write(lambda tx: requests.observe(tx, request)) is is_news
        if is_news:
            self.model[id_] = State.OBSERVED

    @rule(request=wished, before=states, after=states)
    def advance(self, request: RandomnessRequest, before: State, after: State) -> None:
        self.move(request, before, after)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def advance_along_an_edge(self, data: st.DataObject) -> None:
        known = [request for request in REQUESTS if request.key.request_id in self.model]
        request = data.draw(st.sampled_from(known))
        before = self.model[request.key.request_id]
        if TRANSITIONS[before]:
            after = data.draw(st.sampled_from(sorted(TRANSITIONS[before])))
            self.move(request, before, after)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        known = [request for request in REQUESTS if request.key.request_id in self.model]
        request = data.draw(st.sampled_from(known))
        before = self.model[request.key.request_id]
        if State.MINED in TRANSITIONS[before]:
            self.move(request, before, State.MINED)
            self.move(request, State.MINED, State.DONE)

    def move(self, request: RandomnessRequest, before: State, after: State) -> None:
        id_ = request.key.request_id
        outcome = make_outcome(request)
        values: dict[str, Any] = {}
        if after is State.MINED:
            values = {
                "outcome_hash": outcome.transaction_hash,
                "outcome_block": outcome.block_number,
                "outcome_block_hash": outcome.block_hash,
                "callback_succeeded": True,
            }

        def act(tx: AsyncConnection) -> Awaitable[None]:
            return requests.advance(tx, request.key, before, after, **values)

        if self.model.get(id_) is not before or after not in TRANSITIONS[before]:
            with pytest.raises(StaleStateError):
                self.write(act)
        elif before is State.ORPHANED and self.holders(request):
            with pytest.raises(IntegrityError):
                self.write(act)
        else:
            self.write(act)
            self.model[id_] = after
            self.done.pop(id_, None)

    @invariant()
    def store_agrees_with_the_model(self) -> None:
        self.loop.run(self.check())

    async def check(self) -> None:
        async with self.database.read() as connection:
            rows = (await connection.execute(select(table))).all()
            assert {row.request_id: row.state for row in rows} == self.model
            live = [row.seed_index for row in rows if row.state != State.ORPHANED]
            assert len(live) == len(set(live))
            for row in rows:
                if row.state == State.DONE:
                    assert self.done.setdefault(row.request_id, row) == row
            assert {id_ for id_, state in self.model.items() if state is State.DONE} == (
                self.done.keys()
            )
            for request in REQUESTS:
                events = await requests.history(connection, request.key)
                self.check_path(self.model.get(request.key.request_id), events)

    @staticmethod
    def check_path(state: State | None, events: Any) -> None:
        at: State | None = None
        for event in events:
            assert event.before == at
            after = State(event.after)
            assert after is State.OBSERVED if at is None else after in TRANSITIONS[at]
            at = after
        assert at is state


def test_every_order_of_acts_keeps_the_invariants(tmp_path: Path) -> None:
    numbers = count()

    class OnFile(Lifecycle):
        def __init__(self) -> None:
            super().__init__(tmp_path / f"{next(numbers)}.db")

    run_state_machine_as_test(
        OnFile, settings=settings(max_examples=30, stateful_step_count=30, deadline=None)
    )


def test_every_order_of_acts_keeps_the_invariants_on_a_server(postgres: Postgres) -> None:
    class OnServer(Lifecycle):
        def __init__(self) -> None:
            super().__init__(postgres.blank())

    run_state_machine_as_test(
        OnServer, settings=settings(max_examples=5, stateful_step_count=20, deadline=None)
    )
