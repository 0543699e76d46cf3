"""
What is pruned, what stays, and that the chain may tell it all again.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select, text

from oracle.coordinator_service import Service
from oracle.errors import InconsistentChainError, SeedGoneError, StaleStateError
from oracle.events import store_events
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.protocols.coordinator_events import Cancelled
from oracle.request import RandomnessRequest, State
from oracle.store import requests, retention, transactions
from oracle.store.attempts import Attempt, add_attempt, attempt_context
from oracle.store.engine import Access, Database, now
from oracle.store.pool import Pool
from oracle.store.retention import Mark
from oracle.store.schema import (
    attempts,
    metadata,
    pruned_requests,
    request_events,
    reveals,
)
from oracle.store.schema import requests as table
from oracle.store.schema import transactions as slots
from oracle.store.seal import EpochFile, PoolKey
from oracle.store.sqlite import SqliteDatabase
from oracle.store.transactions import Purpose, SlotState
from tests.databases import on_sqlite
from tests.factories import (
    CHAIN_ID,
    COORDINATOR,
    WALLET,
    hash32,
    make_block,
    make_outcome,
    make_request,
)
from tests.migrated import lay_database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.retention import Finished

pytestmark = pytest.mark.store

PLACE = (CHAIN_ID, COORDINATOR)


class ServedNowhere(Service):
    """
    What `watch` asks of a service while it writes down what it has read.
    """

    def __init__(self) -> None:
        object.__setattr__(self, "chain_id", CHAIN_ID)
        object.__setattr__(self, "contract", COORDINATOR)
        object.__setattr__(self, "protocol", CoordinatorProtocol(CHAIN_ID, COORDINATOR))


SERVICE = ServedNowhere()
LONG_AGO, RECENT = 1_000, 9_000
MARK = Mark(500, hash32("block", 500))


async def slot_of(tx: AsyncConnection, key: PoolKey, nonce: int, state: SlotState) -> int:
    slot_id = await transactions.open_slot(
        tx, CHAIN_ID, COORDINATOR, WALLET, nonce, Purpose.FULFILL, 100_000
    )
    hash_ = hash32("attempt", nonce)
    attempt = Attempt(
        transaction_hash=hash_,
        slot_id=slot_id,
        max_fee=100,
        priority_fee=1,
        sealed=key.seal(b"bytes", attempt_context(hash_)),
    )
    await add_attempt(tx, attempt)
    await tx.execute(slots.update().where(slots.c.id == slot_id).values(state=state))
    return slot_id


async def put(
    tx: AsyncConnection,
    request: RandomnessRequest,
    state: State,
    *,
    at: int = LONG_AGO,
    slot: int | None = None,
) -> None:
    """
    Store a request as a node would have it.
    """
    await requests.observe(tx, request)
    outcome = make_outcome(request, block_number=request.block_number + 5)
    values: dict[str, Any] = {"state": state, "updated_at": at, "transaction_id": slot}
    if state in (State.MINED, State.DONE):
        values |= {
            "outcome_hash": outcome.transaction_hash,
            "outcome_block": outcome.block_number,
            "outcome_block_hash": outcome.block_hash,
            "callback_succeeded": True,
        }
    await tx.execute(
        table.update().where(table.c.request_id == request.key.request_id).values(**values)
    )


async def doomed(
    connection: AsyncConnection, *, up_to_block: int = 200, limit: int = 100
) -> list[Finished]:
    return await retention.finished(
        connection, *PLACE, up_to_block=up_to_block, before=RECENT, limit=limit
    )


async def counts(connection: AsyncConnection) -> dict[str, int]:
    tables = (table, request_events, slots, attempts, pruned_requests)
    return {
        one.name: await connection.scalar(select(func.count()).select_from(one)) or 0
        for one in tables
    }


async def dump(connection: AsyncConnection) -> dict[str, list[str]]:
    return {
        name: sorted(map(str, await connection.execute(text(f"SELECT * FROM {name}"))))
        for name in metadata.tables
    }


async def test_what_is_finished_old_and_deep_is_pruned_and_nothing_else(
    database: Database, pool: Pool
) -> None:
    made = {state: make_request(index) for index, state in enumerate(State)}
    recent, shallow = make_request(100), make_request(101, block_number=201)
    async with database.write() as tx:
        for state, request in made.items():
            await put(tx, request, state)
        await put(tx, recent, State.DONE, at=RECENT)
        await put(tx, shallow, State.DONE)
        found = await doomed(tx)
        await retention.prune(tx, pool, found, MARK)
        left = {row.key.request_id for row in map(_request, await requests.newest(tx))}
        tombstones = await retention.page(tx, *PLACE, b"", 100)
        history = await requests.history(tx, made[State.DONE].key)
    gone = {State.DONE, State.CANCELLED, State.ORPHANED}
    assert {one.state for one in found} == gone
    stay = [*(made[state] for state in State if state not in gone), recent, shallow]
    assert left == {request.key.request_id for request in stay}
    # What a reorg took away is nowhere on the chain, and leaves nothing.
    assert {(one.key, one.state) for one in tombstones} == {
        (made[state].key, state) for state in (State.DONE, State.CANCELLED)
    }
    assert history == []


def _request(tracked: Any) -> RandomnessRequest:
    return cast("RandomnessRequest", tracked.request)


async def test_transactions_go_with_the_last_request_that_they_served(
    database: Database, pool: Pool, key: PoolKey
) -> None:
    async with database.write() as tx:
        shared = await slot_of(tx, key, 0, SlotState.FINAL)
        open_ = await slot_of(tx, key, 1, SlotState.SENT)
        lost = await slot_of(tx, key, 2, SlotState.LOST)
        await put(tx, make_request(0), State.DONE, slot=shared)
        await put(tx, make_request(1), State.DONE, slot=shared, at=RECENT)
        await put(tx, make_request(2), State.DONE, slot=open_)
        await put(tx, make_request(3), State.CANCELLED, slot=lost)
        await retention.prune(tx, pool, await doomed(tx), MARK)
        assert await counts(tx) == {
            "requests": 2,
            "request_events": 2,
            "transactions": 2,
            "attempts": 2,
            "pruned_requests": 2,
        }
        await tx.execute(table.update().where(table.c.seed_index == 1).values(updated_at=LONG_AGO))
        await retention.prune(tx, pool, await doomed(tx), MARK)
        assert list(await tx.scalars(select(slots.c.id))) == [open_]


async def test_what_is_left_of_a_seed_goes_and_that_it_left_stays(
    database: Database, pool: Pool
) -> None:
    async with database.write() as tx:
        await pool.add(tx, [make_block(number) for number in range(4)])
    await pool.bind(database, *PLACE, range(4))
    async with database.write() as tx:
        await put(tx, make_request(0), State.DONE)
        await put(tx, make_request(1), State.DONE)
        await put(tx, make_request(2), State.ORPHANED)
        await pool.expose(tx, *PLACE, [0])
        await retention.prune(tx, pool, await doomed(tx), MARK)
    async with database.read() as connection:
        for index in (0, 1):
            with pytest.raises(SeedGoneError):
                await pool.seed(connection, *PLACE, index)
        # An index that a reorg took back is its next request's.
        assert len(await pool.seeds(connection, *PLACE, [2, 3])) == 2
        assert list(await connection.scalars(select(reveals.c.seed_index))) == [0]


async def test_a_pass_takes_a_slice_of_the_lowest_blocks(database: Database, pool: Pool) -> None:
    async with database.write() as tx:
        for index in range(7):
            await put(tx, make_request(index, block_number=110 - index), State.DONE)
        sizes = []
        while found := await doomed(tx, limit=3):
            sizes.append([one.block_number for one in found])
            await retention.prune(tx, pool, found, MARK)
    assert sizes == [[104, 105, 106], [107, 108, 109], [110]]


@on_sqlite
async def test_a_slice_is_found_by_its_ids_however_large_it_is(
    database: Database, pool: Pool
) -> None:
    said: dict[str, Any] = {}

    def listen(*told: Any) -> None:
        _, _, statement, parameters, _, many = told
        said[statement] = parameters[0] if many else parameters

    assert isinstance(database, SqliteDatabase)
    engine = database._engine.sync_engine
    async with database.write() as tx:
        for index in range(300):
            await put(tx, make_request(index), State.DONE)
        found = await doomed(tx, limit=300)
        event.listen(engine, "before_cursor_execute", listen)
        await retention.prune(tx, pool, found, MARK)
        event.remove(engine, "before_cursor_execute", listen)
        plans = []
        for statement, parameters in said.items():
            rows = await tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans += [row.detail for row in rows if " request" in row.detail]
    assert len(plans) >= 3
    for plan in plans:
        assert re.search(r"^SEARCH .*(request|transaction)_id=\?", plan), plan


async def test_what_moved_meanwhile_is_not_pruned(database: Database, pool: Pool) -> None:
    request = make_request()
    async with database.write() as tx:
        await put(tx, request, State.DONE)
        found = await doomed(tx)
        await requests.advance(tx, request.key, State.DONE, State.CONFIRMED)
    with pytest.raises(StaleStateError):
        async with database.write() as tx:
            await retention.prune(tx, pool, found, MARK)
    async with database.read() as connection:
        assert (await counts(connection))["pruned_requests"] == 0


async def test_another_request_cannot_claim_the_index_of_a_pruned_one(
    database: Database, pool: Pool
) -> None:
    other = make_request(user_seed=hash32("other"))
    async with database.write() as tx:
        await put(tx, make_request(), State.DONE)
        await retention.prune(tx, pool, await doomed(tx), MARK)
        with pytest.raises(InconsistentChainError, match="two requests claim index 0"):
            await requests.observe(tx, other)
        # Unless the chain that the tombstone is of is gone.
        assert await retention.get_mark(tx, *PLACE) == MARK
        assert await retention.forget(tx, *PLACE) == 1
        assert await retention.get_mark(tx, *PLACE) is None
        assert await requests.observe(tx, other)


async def test_the_mark_never_falls(database: Database, pool: Pool) -> None:
    async with database.write() as tx:
        for index in range(2):
            await put(tx, make_request(index), State.DONE)
            mark = Mark(MARK.number - index, hash32("mark", index))
            await retention.prune(tx, pool, await doomed(tx), mark)
        assert await retention.get_mark(tx, *PLACE) == Mark(MARK.number, hash32("mark", 0))


ends = st.sampled_from(State)
lives = st.lists(st.tuples(ends, st.booleans(), st.integers(0, 150)), max_size=20)


@settings(max_examples=40, deadline=None)
@given(lives, st.integers(0, 250), st.integers(1, 25), st.integers(1, 7))
def test_whatever_is_pruned_the_chain_told_again_changes_nothing(
    ends: list[tuple[State, bool, int]], up_to_block: int, limit: int, span: int
) -> None:
    async def play(folder: Path) -> None:
        path = lay_database(folder / "oracle.db")
        database = await Database.open(path, Access.ACT)
        pool = Pool(PoolKey(bytes(range(32))), EpochFile(folder / "epoch"))
        made = [
            make_request(index, block_number=block) for index, (_, _, block) in enumerate(ends)
        ]
        async with database.write() as tx:
            for request, (state, old, _) in zip(made, ends, strict=True):
                await put(tx, request, state, at=LONG_AGO if old else now())
            before = await dump(tx)
            found = await doomed(tx, up_to_block=up_to_block, limit=limit)
            if found:
                await retention.prune(tx, pool, found, MARK)
        told: list[Any] = []
        for request, (state, _, _) in zip(made, ends, strict=True):
            if state is not State.ORPHANED:
                told.append(request)
            if state in (State.MINED, State.DONE):
                told.append(make_outcome(request, block_number=request.block_number + 5))
            elif state is State.CANCELLED:
                told.append(Cancelled(request.key.request_id, request.seed_index))
        async with database.write() as tx:
            after = await dump(tx)
            for at in range(0, len(told), span):
                assert await store_events(tx, SERVICE, told[at : at + span]) == 0
            assert await dump(tx) == after
        assert bool(found) == (after != before)
        assert len(after["pruned_requests"]) + len(after["requests"]) == len(ends) - sum(
            one.state is State.ORPHANED for one in found
        )
        await database.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))
