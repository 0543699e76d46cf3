from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from oracle.errors import PoolError, PoolKeyError, SeedGoneError
from oracle.request import State
from oracle.store import closing, requests
from oracle.store.pool import Pool
from oracle.store.schema import requests as table
from oracle.store.seal import EpochFile, PoolKey
from tests.factories import (
    CHAIN_ID,
    COORDINATOR,
    REQUESTER,
    make_block,
    make_outcome,
    make_request,
    make_seed,
)

if TYPE_CHECKING:
    from oracle.store.engine import Database
    from oracle.store.seed_blocks import SeedBlock
    from tests.databases import Copy

pytestmark = pytest.mark.store


async def add(database: Database, pool: Pool, *blocks: SeedBlock) -> None:
    async with database.write() as tx:
        await pool.add(tx, blocks)


async def fill(database: Database, pool: Pool, count: int, *, start: int = 0) -> None:
    await add(database, pool, *(make_block(number) for number in range(start, start + count)))


async def fresh(database: Database, pool: Pool) -> int:
    async with database.read() as connection:
        return await pool.fresh(connection)


async def bind(
    database: Database,
    pool: Pool,
    indices: range,
    *,
    chain_id: int = CHAIN_ID,
    contract: str = COORDINATOR,
) -> list[bytes]:
    return await pool.bind(database, chain_id, contract, indices)


async def seed(database: Database, pool: Pool, index: int) -> bytes:
    async with database.read() as connection:
        return await pool.seed(connection, CHAIN_ID, COORDINATOR, index)


async def expose(database: Database, pool: Pool, *indices: int) -> None:
    async with database.write() as tx:
        await pool.expose(tx, CHAIN_ID, COORDINATOR, indices)


async def exposed(database: Database, pool: Pool, *indices: int) -> set[int]:
    async with database.read() as connection:
        return await pool.exposed(connection, CHAIN_ID, COORDINATOR, indices)


async def settle(database: Database, index: int, state: State, *, block_number: int) -> None:
    """
    Store a request in a state that ends it.
    """
    request = make_request(index, block_number=block_number)
    outcome = make_outcome(request)
    async with database.write() as tx:
        await requests.observe(tx, request)
        await tx.execute(
            table.update()
            .where(table.c.request_id == request.key.request_id)
            .values(
                state=state,
                outcome_hash=outcome.transaction_hash,
                outcome_block=outcome.block_number,
                outcome_block_hash=outcome.block_hash,
            )
        )


async def test_oldest_blocks_are_bound_first(database: Database, pool: Pool) -> None:
    for number in (2, 0, 3, 1):
        await fill(database, pool, 1, start=number)
    assert await bind(database, pool, range(100, 103)) == [make_seed(at) for at in range(3)]
    assert await fresh(database, pool) == 1


async def test_every_block_is_bound_once(database: Database, pool: Pool) -> None:
    await fill(database, pool, 8)
    first = await bind(database, pool, range(4))
    second = await bind(database, pool, range(4, 8))
    assert len({*first, *second}) == 8
    assert await fresh(database, pool) == 0


async def test_same_index_of_another_contract_or_chain_gets_another_block(
    database: Database, pool: Pool
) -> None:
    await fill(database, pool, 3)
    here = await bind(database, pool, range(1))
    there = await bind(database, pool, range(1), contract=REQUESTER)
    elsewhere = await bind(database, pool, range(1), chain_id=1)
    assert len({*here, *there, *elsewhere}) == 3


async def test_repeated_bind_returns_the_same_seeds(database: Database, pool: Pool) -> None:
    await fill(database, pool, 8)
    first = await bind(database, pool, range(4))
    assert await bind(database, pool, range(4)) == first
    # Spelled in another case it is the same contract.
    assert await bind(database, pool, range(4), contract=COORDINATOR.lower()) == first
    assert await fresh(database, pool) == 4


async def test_bind_survives_the_process(
    database: Database, pool: Pool, key: PoolKey, epoch: EpochFile
) -> None:
    await fill(database, pool, 4)
    first = await bind(database, pool, range(4))
    again = Pool(key, epoch)
    assert await again.unlock(database) == 0
    assert await again.is_bound(database, CHAIN_ID, COORDINATOR, 3)
    assert not await again.is_bound(database, CHAIN_ID, COORDINATOR, 4)
    assert await bind(database, again, range(4)) == first


async def test_too_few_blocks_bind_nothing(database: Database, pool: Pool) -> None:
    await fill(database, pool, 3)
    with pytest.raises(PoolError, match="4 blocks are needed and 3 are in the pool"):
        await bind(database, pool, range(4))
    assert await fresh(database, pool) == 3
    assert not await pool.is_bound(database, CHAIN_ID, COORDINATOR, 0)
    await fill(database, pool, 1, start=3)
    assert await bind(database, pool, range(4)) == [make_seed(at) for at in range(4)]


async def test_batch_that_is_bound_in_part_is_not_completed(
    database: Database, pool: Pool
) -> None:
    await fill(database, pool, 8)
    await bind(database, pool, range(2))
    with pytest.raises(PoolError, match="bound in part"):
        await bind(database, pool, range(4))
    assert await fresh(database, pool) == 6


async def test_two_blocks_with_one_seed_are_refused_together(
    database: Database, pool: Pool
) -> None:
    twins = [make_block(0), make_block(1, seed=make_seed(0))]
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await add(database, pool, *twins)
    assert await fresh(database, pool) == 0


async def test_seed_that_was_ever_here_is_refused_for_ever(database: Database, pool: Pool) -> None:
    await fill(database, pool, 1)
    await bind(database, pool, range(1))
    await expose(database, pool, 0)
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await add(database, pool, make_block(9, seed=make_seed(0)))


async def test_seed_is_at_hand_before_and_after_its_exposure(
    database: Database, pool: Pool
) -> None:
    await fill(database, pool, 2)
    await bind(database, pool, range(2))
    assert await seed(database, pool, 1) == make_seed(1)
    assert await exposed(database, pool, 0, 1) == set()
    await expose(database, pool, 1)
    assert await seed(database, pool, 1) == make_seed(1)
    assert await exposed(database, pool, 0, 1) == {1}


async def test_exposure_moves_the_seed_in_one_transaction(database: Database, pool: Pool) -> None:
    await fill(database, pool, 1)
    await bind(database, pool, range(1))

    async def interrupted() -> None:
        async with database.write() as tx:
            await pool.expose(tx, CHAIN_ID, COORDINATOR, [0])
            raise LookupError("stop")

    with pytest.raises(LookupError):
        await interrupted()
    assert await exposed(database, pool, 0) == set()
    assert await seed(database, pool, 0) == make_seed(0)


async def test_second_exposure_changes_nothing(database: Database, pool: Pool) -> None:
    await fill(database, pool, 2)
    await bind(database, pool, range(2))
    await expose(database, pool, 0)
    await expose(database, pool, 0, 1)
    assert await exposed(database, pool, 0, 1) == {0, 1}
    assert await seed(database, pool, 0) == make_seed(0)


async def test_foreign_index_has_no_seed(database: Database, pool: Pool) -> None:
    with pytest.raises(SeedGoneError, match="the seed of index 7 is not in this pool"):
        await seed(database, pool, 7)
    with pytest.raises(SeedGoneError):
        await expose(database, pool, 7)


async def test_erased_seed_is_gone(database: Database, pool: Pool) -> None:
    await fill(database, pool, 1)
    await bind(database, pool, range(1))
    async with database.write() as tx:
        assert await pool.erase_unrevealed(tx, CHAIN_ID, COORDINATOR, [0, 1]) == 1
        assert await pool.erase_unrevealed(tx, CHAIN_ID, COORDINATOR, [0, 1]) == 0
    with pytest.raises(SeedGoneError):
        await seed(database, pool, 0)


async def test_seeds_of_closed_windows_are_erased_and_no_others(
    database: Database, pool: Pool
) -> None:
    await fill(database, pool, 8)
    await bind(database, pool, range(8))
    await expose(database, pool, 0, 1, 2)
    await settle(database, 0, State.DONE, block_number=100)
    await settle(database, 1, State.DONE, block_number=101)
    await settle(database, 2, State.MINED, block_number=100)
    await settle(database, 3, State.CANCELLED, block_number=100)
    await settle(database, 4, State.EXPIRED, block_number=100)
    await settle(database, 5, State.CONFIRMED, block_number=100)
    await settle(database, 6, State.ORPHANED, block_number=100)
    async with database.write() as tx:
        assert await pool.erase_closed(tx, CHAIN_ID, COORDINATOR, 101) == 3
        assert await pool.erase_closed(tx, CHAIN_ID, COORDINATOR, 101) == 0
    for index in (0, 3, 4):
        with pytest.raises(SeedGoneError):
            await seed(database, pool, index)
    for index in (1, 2, 5, 6, 7):
        assert await seed(database, pool, index) == make_seed(index)
    # That it left is remembered for ever.
    assert await exposed(database, pool, 0) == {0}


async def erase_closed(database: Database, pool: Pool, before_block: int) -> int:
    async with database.write() as tx:
        return await pool.erase_closed(tx, CHAIN_ID, COORDINATOR, before_block)


async def test_seed_that_somebody_else_revealed_is_erased_with_its_window(
    database: Database, pool: Pool
) -> None:
    await fill(database, pool, 4)
    await bind(database, pool, range(4))
    for index in range(3):
        await settle(database, index, State.DONE, block_number=100 + index)
    assert await erase_closed(database, pool, 100) == 0
    assert await erase_closed(database, pool, 101) == 1
    assert await erase_closed(database, pool, 103) == 2
    for index in range(3):
        with pytest.raises(SeedGoneError):
            await seed(database, pool, index)
    # Nobody may take it for a reveal of this node: that is how a leak is told.
    assert await exposed(database, pool, 0, 1, 2) == set()
    assert await seed(database, pool, 3) == make_seed(3)


async def test_seed_of_a_request_that_is_done_late_is_erased_too(
    database: Database, pool: Pool
) -> None:
    await fill(database, pool, 3)
    await bind(database, pool, range(3))
    await settle(database, 0, State.DONE, block_number=100)
    await settle(database, 1, State.MINED, block_number=101)
    assert await erase_closed(database, pool, 200) == 1
    async with database.write() as tx:
        await tx.execute(table.update().where(table.c.seed_index == 1).values(state=State.DONE))
    assert await erase_closed(database, pool, 200) == 1
    # A devnet was rolled back, and its new blocks have old numbers.
    assert await erase_closed(database, pool, 50) == 0
    await settle(database, 2, State.DONE, block_number=60)
    assert await erase_closed(database, pool, 70) == 1


async def test_seeds_of_many_requests_are_erased_bit_by_bit(
    database: Database, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "_ROWS_AT_ONCE", 2)
    await fill(database, pool, 7)
    await bind(database, pool, range(7))
    for index, block in enumerate((100, 100, 100, 100, 101, 102, 103)):
        await settle(database, index, State.DONE, block_number=block)
    # A block is never split.
    assert [await erase_closed(database, pool, 200) for _ in range(3)] == [4, 3, 0]


async def test_another_key_is_refused(database: Database, pool: Pool, epoch: EpochFile) -> None:
    with pytest.raises(PoolKeyError, match="the pool key is not the one"):
        await Pool(PoolKey(bytes(32)), epoch).unlock(database)


async def test_changed_block_does_not_become_a_seed(database: Database, pool: Pool) -> None:
    await add(database, pool, make_block(0))
    await bind(database, pool, range(1))
    async with database.write() as tx:
        await tx.exec_driver_sql("UPDATE blocks SET sources = 'another'")
    with pytest.raises(PoolKeyError, match="does not open"):
        await seed(database, pool, 0)


async def test_restored_backup_loses_what_is_unbound_and_keeps_what_is_bound(
    database: Database,
    pool: Pool,
    key: PoolKey,
    epoch: EpochFile,
    copied: Copy,
) -> None:
    await fill(database, pool, 8)
    bound = await bind(database, pool, range(4))
    backup = await copied(database)
    await bind(database, pool, range(4, 8))

    restored = Pool(key, epoch)
    assert await restored.unlock(backup) == 4
    assert await fresh(backup, restored) == 0
    assert await bind(backup, restored, range(4)) == bound
    # Recognized once: what comes in later is fresh.
    await fill(backup, restored, 2, start=100)
    assert await Pool(key, epoch).unlock(backup) == 0
    assert await fresh(backup, restored) == 2


def test_seed_is_not_in_the_representation_of_a_block() -> None:
    block = make_block(0)
    assert repr(block.seed) not in repr(block)
    assert replace(block, seed=bytes(32)) != block
