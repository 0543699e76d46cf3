"""
Measured in the files themselves: what is destroyed is in none of their bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from oracle.request import State
from oracle.store import requests, transactions
from oracle.store.attempts import Attempt, add_attempt, attempt_context, erase_attempts
from oracle.store.pool import Pool
from oracle.store.schema import attempts, reveals
from oracle.store.schema import requests as table
from oracle.store.transactions import Purpose
from tests.databases import on_sqlite
from tests.erased import block_ciphertexts, found_in_files
from tests.factories import (
    CHAIN_ID,
    COORDINATOR,
    WALLET,
    hash32,
    make_block,
    make_outcome,
    make_request,
    make_seed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.store.engine import Database
    from oracle.store.seal import EpochFile, PoolKey

pytestmark = [pytest.mark.store, on_sqlite]

BLOCKS, BATCH, REFILL = 600, 256, 16
SEEDS = [make_seed(number) for number in range(BLOCKS)]


async def reveal_ciphertexts(database: Database) -> list[bytes]:
    async with database.read() as connection:
        rows = await connection.scalars(
            select(reveals.c.ciphertext).where(reveals.c.ciphertext.is_not(None))
        )
        return list(rows)


@pytest.fixture
async def filled(database: Database, pool: Pool) -> Pool:
    """
    A pool with blocks for two batches, come in as a source delivers them.
    """
    for start in range(0, BLOCKS, REFILL):
        stop = min(start + REFILL, BLOCKS)
        async with database.write() as tx:
            await pool.add(tx, [make_block(number) for number in range(start, stop)])
    return pool


async def test_seeds_are_never_in_clear_in_any_file(database: Database, filled: Pool) -> None:
    # The search itself finds what is there.
    ciphertexts = await block_ciphertexts(database)
    assert await found_in_files(database, *ciphertexts) == ciphertexts
    await filled.bind(database, CHAIN_ID, COORDINATOR, range(BATCH))
    assert await found_in_files(database, *SEEDS) == []
    async with database.write() as tx:
        await filled.expose(tx, CHAIN_ID, COORDINATOR, range(100))
    assert await found_in_files(database, *SEEDS) == []
    assert await database.wipe()
    assert await found_in_files(database, *SEEDS) == []


async def test_exposed_block_is_in_no_file_after_the_wipe(
    database: Database, filled: Pool
) -> None:
    before = await block_ciphertexts(database)
    await filled.bind(database, CHAIN_ID, COORDINATOR, range(BATCH))
    for start in range(0, BATCH, 10):
        async with database.write() as tx:
            indices = range(start, min(start + 10, BATCH))
            await filled.expose(tx, CHAIN_ID, COORDINATOR, indices)
    await filled.wipe(database)
    assert await found_in_files(database, *before[:BATCH], *SEEDS) == []
    rest = before[BATCH:]
    assert await found_in_files(database, *rest) == rest


async def test_single_blocks_exposed_among_others_are_in_no_file(
    database: Database, filled: Pool
) -> None:
    before = await block_ciphertexts(database)
    await filled.bind(database, CHAIN_ID, COORDINATOR, range(BATCH))
    for index in range(0, BATCH, 7):
        async with database.write() as tx:
            await filled.expose(tx, CHAIN_ID, COORDINATOR, [index])
        await filled.wipe(database)
        assert await found_in_files(database, before[index]) == []


async def test_revealed_seeds_are_in_no_file_once_their_windows_are_closed(
    database: Database, filled: Pool
) -> None:
    await filled.bind(database, CHAIN_ID, COORDINATOR, range(BATCH))
    for index in range(60):
        request = make_request(index)
        outcome = make_outcome(request)
        async with database.write() as tx:
            await requests.observe(tx, request)
            await filled.expose(tx, CHAIN_ID, COORDINATOR, [index])
            await tx.execute(
                table.update()
                .where(table.c.request_id == request.key.request_id)
                .values(
                    state=State.DONE,
                    outcome_hash=outcome.transaction_hash,
                    outcome_block=outcome.block_number,
                    outcome_block_hash=outcome.block_hash,
                )
            )
    before = await reveal_ciphertexts(database)
    assert len(before) == 60
    async with database.write() as tx:
        assert await filled.erase_closed(tx, CHAIN_ID, COORDINATOR, 101) == 60
    await filled.wipe(database)
    assert await found_in_files(database, *before, *SEEDS) == []


async def test_unrevealed_seeds_that_are_given_up_are_in_no_file(
    database: Database, filled: Pool
) -> None:
    before = await block_ciphertexts(database)
    await filled.bind(database, CHAIN_ID, COORDINATOR, range(BATCH))
    async with database.write() as tx:
        erased = await filled.erase_unrevealed(tx, CHAIN_ID, COORDINATOR, range(BATCH))
    assert erased == BATCH
    await filled.wipe(database)
    assert await found_in_files(database, *before[:BATCH]) == []


async def test_blocks_of_a_restored_backup_are_in_no_file(
    database: Database, filled: Pool, key: PoolKey, epoch: EpochFile
) -> None:
    before = await block_ciphertexts(database)
    await filled.bind(database, CHAIN_ID, COORDINATOR, range(BATCH))
    reached = epoch.read()
    assert reached is not None
    epoch.write(reached.number + 1)
    again = Pool(key, epoch)
    assert await again.unlock(database) == BLOCKS - BATCH
    await again.wipe(database)
    assert await found_in_files(database, *before[BATCH:]) == []


@pytest.mark.parametrize("size", [300, 3_000, 30_000])
async def test_signed_bytes_are_in_no_file_once_they_are_erased(
    database: Database, key: PoolKey, size: int
) -> None:
    slots = []
    signed = []
    for nonce in range(4):
        async with database.write() as tx:
            slot_id = await transactions.open_slot(
                tx, CHAIN_ID, COORDINATOR, WALLET, nonce, Purpose.FULFILL, 100_000
            )
            for max_fee in (100, 113):
                transaction_hash = hash32(nonce, max_fee)
                signed.append(b"".join(hash32(nonce, max_fee, at) for at in range(size // 32)))
                attempt = Attempt(
                    transaction_hash=transaction_hash,
                    slot_id=slot_id,
                    max_fee=max_fee,
                    priority_fee=1,
                    sealed=key.seal(signed[-1], attempt_context(transaction_hash)),
                    sent_block=None,
                )
                await add_attempt(tx, attempt)
        slots.append(slot_id)
    async with database.read() as connection:
        sealed = list(await connection.scalars(select(attempts.c.ciphertext)))
    # A record may be spread over several pages: look for pieces that none of them can split.
    pieces = [item[at : at + 32] for item in sealed for at in range(0, len(item) - 32, 32)]
    assert len(await found_in_files(database, *pieces)) > len(pieces) * 9 // 10
    assert await found_in_files(database, *(item[:32] for item in signed)) == []
    for slot_id in slots:
        async with database.write() as tx:
            assert await erase_attempts(tx, [slot_id]) == 2
    assert await database.wipe()
    assert await found_in_files(database, *pieces) == []


async def test_key_is_in_no_file(database: Database, filled: Pool, tmp_path: Path) -> None:
    raw = bytes(range(32))
    await filled.bind(database, CHAIN_ID, COORDINATOR, range(BATCH))
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert raw not in content
        assert raw.hex().encode() not in content
