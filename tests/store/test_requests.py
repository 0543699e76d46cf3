from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from oracle.errors import InconsistentChainError, StaleStateError
from oracle.request import TRANSITIONS, RandomnessRequest, State, TrackedRequest
from oracle.store import requests
from tests.factories import (
    CHAIN_ID,
    COORDINATOR,
    hash32,
    make_outcome,
    make_request,
    state_of,
)

if TYPE_CHECKING:
    from oracle.store.engine import Database

pytestmark = pytest.mark.store

# The same index in two blocks: two requests with two ids.
ONE, OTHER = make_request(7, block_number=100), make_request(7, block_number=101)


async def observe(database: Database, request: RandomnessRequest) -> bool:
    async with database.write() as tx:
        return await requests.observe(tx, request)


async def advance(
    database: Database, request: RandomnessRequest, *states: State, reason: str | None = None
) -> None:
    for before, after in pairwise(states):
        async with database.write() as tx:
            await requests.advance(tx, request.key, before, after, reason=reason)


async def tracked(database: Database, request: RandomnessRequest) -> TrackedRequest | None:
    async with database.read() as connection:
        return await requests.get(connection, request.key)


async def history(
    database: Database, request: RandomnessRequest
) -> list[tuple[str | None, str, str | None]]:
    async with database.read() as connection:
        events = await requests.history(connection, request.key)
    return [(event.before, event.after, event.reason) for event in events]


async def test_request_is_kept_as_it_was_observed(database: Database) -> None:
    request = make_request(2**62, fee=2**96 - 1, callback_gas_limit=2**32 - 1, num_words=500)
    assert await observe(database, request)
    assert await tracked(database, request) == TrackedRequest(
        request=request, state=State.OBSERVED, reason=None, transaction_id=None, outcome=None
    )
    assert await history(database, request) == [(None, "observed", None)]


async def test_second_observation_is_no_news(database: Database) -> None:
    assert await observe(database, ONE)
    assert not await observe(database, ONE)
    await advance(database, ONE, State.OBSERVED, State.CONFIRMED)
    assert not await observe(database, ONE)
    assert state_of(await tracked(database, ONE)) is State.CONFIRMED
    assert len(await history(database, ONE)) == 2


async def test_orphaned_request_comes_back_under_its_own_id(database: Database) -> None:
    await observe(database, ONE)
    await advance(database, ONE, State.OBSERVED, State.ORPHANED, reason="reorg")
    again = replace(ONE, block_hash=hash32("new"), transaction_hash=hash32("tx"), log_index=9)
    assert await observe(database, again)
    found = await tracked(database, ONE)
    assert found is not None
    assert (found.state, found.request) == (State.OBSERVED, again)
    assert await history(database, ONE) == [
        (None, "observed", None),
        ("observed", "orphaned", "reorg"),
        ("orphaned", "observed", "included_again"),
    ]


async def test_replaced_block_at_the_same_height_is_written_down(database: Database) -> None:
    await observe(database, ONE)
    again = replace(ONE, block_hash=hash32("new"))
    assert await observe(database, again)
    found = await tracked(database, ONE)
    assert found is not None
    assert found.request == again
    assert (await history(database, ONE))[-1] == ("observed", "observed", "block_replaced")


async def test_another_request_takes_an_orphaned_index(database: Database) -> None:
    await observe(database, ONE)
    await advance(database, ONE, State.OBSERVED, State.ORPHANED)
    assert await observe(database, OTHER)
    assert state_of(await tracked(database, ONE)) is State.ORPHANED
    assert state_of(await tracked(database, OTHER)) is State.OBSERVED


async def test_second_live_request_on_one_index_is_refused(database: Database) -> None:
    await observe(database, ONE)
    with pytest.raises(InconsistentChainError, match="two requests claim index 7"):
        await observe(database, OTHER)
    assert await tracked(database, OTHER) is None
    assert await history(database, OTHER) == []


async def test_orphaned_request_does_not_come_back_to_a_taken_index(database: Database) -> None:
    await observe(database, ONE)
    await advance(database, ONE, State.OBSERVED, State.ORPHANED)
    await observe(database, OTHER)
    with pytest.raises(InconsistentChainError, match="two requests claim index 7"):
        await observe(database, ONE)
    # The constraint refuses it too, whoever forgets to look.
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await advance(database, ONE, State.ORPHANED, State.OBSERVED)
    assert state_of(await tracked(database, ONE)) is State.ORPHANED
    assert len(await history(database, ONE)) == 2


async def test_every_advance_leaves_exactly_one_event(database: Database) -> None:
    await observe(database, ONE)
    await advance(
        database, ONE, State.OBSERVED, State.CONFIRMED, State.DRAWN, State.CONFIRMED, reason="why"
    )
    found = await tracked(database, ONE)
    assert found is not None
    assert (found.state, found.reason) == (State.CONFIRMED, "why")
    assert await history(database, ONE) == [
        (None, "observed", None),
        ("observed", "confirmed", "why"),
        ("confirmed", "drawn", "why"),
        ("drawn", "confirmed", "why"),
    ]


async def test_second_worker_keeps_the_first_advance(database: Database) -> None:
    await observe(database, ONE)
    await advance(database, ONE, State.OBSERVED, State.CONFIRMED, reason="first")
    before = await tracked(database, ONE), await history(database, ONE)
    with pytest.raises(StaleStateError, match="is not observed any more"):
        await advance(database, ONE, State.OBSERVED, State.EXPIRED, reason="second")
    assert (await tracked(database, ONE), await history(database, ONE)) == before


async def test_advance_without_an_edge_writes_nothing(database: Database) -> None:
    await observe(database, ONE)
    for after in set(State) - TRANSITIONS[State.OBSERVED]:
        with pytest.raises(StaleStateError, match="cannot go from observed"):
            await advance(database, ONE, State.OBSERVED, after)
    assert state_of(await tracked(database, ONE)) is State.OBSERVED
    assert len(await history(database, ONE)) == 1


async def test_advance_of_an_unknown_request_is_refused(database: Database) -> None:
    with pytest.raises(StaleStateError):
        await advance(database, ONE, State.OBSERVED, State.CONFIRMED)
    assert await history(database, ONE) == []


async def test_refused_advance_undoes_what_shares_its_transaction(database: Database) -> None:
    await observe(database, ONE)

    async def both() -> None:
        async with database.write() as tx:
            await requests.advance(tx, ONE.key, State.OBSERVED, State.CONFIRMED)
            await requests.advance(tx, ONE.key, State.OBSERVED, State.CONFIRMED)

    with pytest.raises(StaleStateError):
        await both()
    assert state_of(await tracked(database, ONE)) is State.OBSERVED
    assert len(await history(database, ONE)) == 1


async def test_fulfillment_is_kept_as_the_chain_told_it(database: Database) -> None:
    await observe(database, ONE)
    outcome = make_outcome(ONE)
    found = await tracked(database, ONE)
    assert found is not None
    async with database.write() as tx:
        await requests.fulfilled(tx, found, outcome)
    mined = await tracked(database, ONE)
    assert mined is not None
    assert (mined.state, mined.outcome) == (State.MINED, outcome)


async def test_mined_without_an_outcome_violates_the_constraint(database: Database) -> None:
    await observe(database, ONE)
    with pytest.raises(IntegrityError, match=r"(?i)check"):
        await advance(database, ONE, State.OBSERVED, State.MINED)
    assert state_of(await tracked(database, ONE)) is State.OBSERVED


async def test_requests_are_found_by_state_id_and_prefix(database: Database) -> None:
    made = [make_request(index, block_number=100 + index) for index in (5, 3, 4)]
    for request in made:
        await observe(database, request)
    await advance(database, made[0], State.OBSERVED, State.CONFIRMED)
    ids = [request.key.request_id for request in made]
    async with database.read() as connection:
        observed = await requests.in_states(
            connection, CHAIN_ID, COORDINATOR, [State.OBSERVED, State.DONE]
        )
        assert [item.request.seed_index for item in observed] == [3, 4]
        found = await requests.find(connection, CHAIN_ID, COORDINATOR, [*ids, bytes(32)])
        assert set(found) == set(ids)
        assert await requests.find(connection, 1, COORDINATOR, ids) == {}
        [exact] = await requests.by_prefix(connection, ids[1][:6])
        assert exact.request == made[1]
        assert len(await requests.by_prefix(connection, b"")) == 2
        assert await requests.count_by_state(connection) == {State.OBSERVED: 2, State.CONFIRMED: 1}
        newest = await requests.newest(connection, state=State.OBSERVED, limit=1)
        assert [item.state for item in newest] == [State.OBSERVED]
