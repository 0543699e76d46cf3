from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from oracle.entropy import merkle
from oracle.request import State
from oracle.store import batches, discards, requests
from oracle.store.batches import Batch
from oracle.store.discards import Discard
from tests.factories import (
    CHAIN_ID,
    COORDINATOR,
    PROTOCOL,
    REQUESTER,
    hash32,
    make_block,
    make_request,
    make_seed,
)

if TYPE_CHECKING:
    from oracle.store.engine import Database
    from oracle.store.pool import Pool

pytestmark = pytest.mark.store

SIZE = 256
DISCARD = Discard(
    chain_id=CHAIN_ID,
    contract=COORDINATOR,
    first_index=3,
    up_to=10,
    block_number=100,
    block_hash=hash32("block", 100),
)


async def slices(database: Database, first: int, up_to: int) -> list[object]:
    discard = replace(DISCARD, first_index=first, up_to=up_to)
    async with database.read() as connection:
        return list(await discards.slices(connection, discard, SIZE))


async def test_only_indices_of_this_store_are_looked_at(database: Database) -> None:
    leaves = [merkle.leaf(PROTOCOL.domain, index, make_seed(index)) for index in range(SIZE)]
    async with database.write() as tx:
        for first, contract in ((0, COORDINATOR), (512, COORDINATOR), (256, REQUESTER)):
            batch = Batch(
                chain_id=CHAIN_ID,
                contract=contract,
                first_index=first,
                root=merkle.root(leaves),
                leaves=leaves,
            )
            await batches.add(tx, batch)
    assert await slices(database, 3, 10) == [range(3, 10)]
    assert await slices(database, 255, 256) == [range(255, 256)]
    assert await slices(database, 255, 513) == [range(255, 256), range(512, 513)]
    assert await slices(database, 256, 512) == []
    assert await slices(database, 0, 2**63 - 1) == [range(256), range(512, 768)]


async def test_what_no_request_holds_is_erased_exposed_or_not(
    database: Database, pool: Pool
) -> None:
    async with database.write() as tx:
        await pool.add(tx, [make_block(number) for number in range(8)])
    await pool.bind(database, CHAIN_ID, COORDINATOR, range(8))
    held, orphan = make_request(4), make_request(5)
    async with database.write() as tx:
        await requests.observe_all(tx, [held, orphan])
        await pool.expose(tx, CHAIN_ID, COORDINATOR, [5, 6])
        await requests.advance(tx, orphan.key, State.OBSERVED, State.ORPHANED)
        assert await discards.erase(tx, pool, CHAIN_ID, COORDINATOR, range(3, 7)) == 3
        assert await discards.erase(tx, pool, CHAIN_ID, COORDINATOR, range(3, 7)) == 0
        found = await pool.seeds(tx, CHAIN_ID, COORDINATOR, range(8))
    assert sorted(found) == [0, 1, 2, 4, 7]


async def test_a_discard_is_pending_in_every_block_that_holds_it(database: Database) -> None:
    moved = replace(DISCARD, block_number=101, block_hash=hash32("block", 101))
    async with database.write() as tx:
        assert await discards.observe(tx, DISCARD)
        assert not await discards.observe(tx, DISCARD)
        assert await discards.observe(tx, moved)
        assert await discards.pending(tx, CHAIN_ID, COORDINATOR, 100) == [DISCARD]
        await discards.forget(tx, DISCARD)
        await discards.mark_erased(tx, moved)
        assert await discards.pending(tx, CHAIN_ID, COORDINATOR, 200) == []
        # Read again, it is no news.
        assert not await discards.observe(tx, moved)
        assert await discards.pending(tx, CHAIN_ID, COORDINATOR, 200) == []
