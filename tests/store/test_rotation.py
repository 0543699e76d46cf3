"""
A new pool key: everything opens with it, nothing with the old one, wherever it is interrupted.
"""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from oracle.errors import DatabaseLockedError, PoolKeyError, SeedGoneError
from oracle.store import batches, rotation, transactions
from oracle.store.attempts import Attempt, add_attempt, attempt_context, attempts_of
from oracle.store.backup import back_up
from oracle.store.batches import Batch, BatchState
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.rotation import rotate
from oracle.store.schema import attempts, blocks, reveals
from oracle.store.seal import EpochFile, PoolKey
from oracle.store.transactions import Purpose
from tests.databases import Copy, content_of, on_sqlite, path_of
from tests.factories import CHAIN_ID, COORDINATOR, WALLET, hash32, make_block, make_seed

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.database_url import DatabaseUrl

pytestmark = pytest.mark.store

OLD = bytes(range(32))
SIGNED = b"".join(hash32("signed", at) for at in range(20))
POINTS = (
    "rotation-key-written",
    "rotation-noted",
    "rotation-uncommitted",
    "rotation-sealed",
    "rotation-wiped",
    "rotation-linked",
    "rotation-in-place",
    "rotation-overwritten",
)


class PowerCutError(Exception):
    """
    The process is dead from here on.
    """


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """
    The file of the key that the pool is written under.
    """
    path = tmp_path / "pool.key"
    path.touch(0o600)
    path.write_text(OLD.hex() + "\n")
    return path


@pytest.fixture
async def used(database: Database, pool: Pool, key: PoolKey) -> Pool:
    """
    A pool with everything that is ever sealed: fresh, bound and revealed seeds, signed bytes.
    """
    async with database.write() as tx:
        await pool.add(tx, [make_block(number) for number in range(300)])
    await pool.bind(database, CHAIN_ID, COORDINATOR, range(256))
    async with database.write() as tx:
        batch = Batch(
            chain_id=CHAIN_ID,
            contract=COORDINATOR,
            first_index=0,
            root=hash32("root"),
            leaves=[hash32("leaf", at) for at in range(256)],
            state=BatchState.COMMITTED,
        )
        await batches.add(tx, batch)
        await pool.expose(tx, CHAIN_ID, COORDINATOR, range(5))
        slot = await transactions.open_slot(
            tx, CHAIN_ID, COORDINATOR, WALLET, 0, Purpose.FULFILL, 100_000
        )
        attempt = Attempt(
            transaction_hash=hash32("transaction"),
            slot_id=slot,
            max_fee=100,
            priority_fee=1,
            sealed=key.seal(SIGNED, attempt_context(hash32("transaction"))),
        )
        await add_attempt(tx, attempt)
    await pool.wipe(database)
    return pool


async def ciphertexts(database: Database) -> list[bytes]:
    async with database.read() as connection:
        return [
            value
            for table in (blocks, reveals, attempts)
            for value in await connection.scalars(
                select(table.c.ciphertext).where(table.c.ciphertext.is_not(None))
            )
        ]


async def check_all(database: Database, key_file: Path, epoch: EpochFile) -> None:
    """
    Check that the key of the file opens everything that `used` holds.
    """
    key = PoolKey.from_text(key_file.read_text())
    pool = Pool(key, epoch)
    assert await pool.unlock(database) == 0
    async with database.read() as connection:
        assert await pool.fresh(connection) == 44
        for index in (0, 4, 5, 255):
            assert await pool.seed(connection, CHAIN_ID, COORDINATOR, index) == make_seed(index)
        [attempt] = await attempts_of(connection, 1)
    assert attempt.sealed is not None
    assert key.open(attempt.sealed, attempt_context(attempt.transaction_hash)) == SIGNED


async def test_all_that_lives_is_sealed_anew_and_the_old_key_is_gone(
    database: Database, used: Pool, key_file: Path, epoch: EpochFile
) -> None:
    before = await ciphertexts(database)
    done = await rotate(database, key_file, epoch)
    # 44 fresh, 251 bound, 5 revealed, one transaction.
    assert (done.records, done.resumed, len(before)) == (301, False, 301)
    await check_all(database, key_file, epoch)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    files = {path.name: path.read_bytes() for path in key_file.parent.glob("pool*")}
    assert set(files) == {"pool.key", "pool.key.epoch", "pool.key.epoch.retired"}
    content = b"\0".join([await content_of(database), *files.values()])
    assert not [one for one in before if one in content]
    assert OLD.hex().encode() not in content
    with pytest.raises(PoolKeyError, match=r"was replaced by a rotation: run .* again if it was"):
        await Pool(PoolKey(OLD), epoch).unlock(database)


@pytest.mark.parametrize("point", POINTS)
async def test_cut_off_anywhere_it_opens_or_finishes(
    place: Path | DatabaseUrl,
    database: Database,
    used: Pool,
    key_file: Path,
    epoch: EpochFile,
    *,
    point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed: list[str] = []

    def cut(name: str) -> None:
        passed.append(name)
        if name == point:
            raise PowerCutError

    monkeypatch.setattr(rotation, "fault_point", cut)
    with pytest.raises(PowerCutError):
        await rotate(database, key_file, epoch)
    assert passed[-1] == point
    await database.close()
    monkeypatch.undo()
    again = await Database.open(place, Access.NODE)
    try:
        # Until the records have changed hands the old key works on; then the new one is on disk.
        keys = [path for path in key_file.parent.glob("pool.key*") if "epoch" not in path.name]
        texts = {path.read_text().strip("\0\n") for path in keys}
        opens = 0
        for text in texts - {""}:
            try:
                await Pool(PoolKey.from_text(text), epoch).unlock(again)
                opens += 1
            except PoolKeyError:
                continue
        assert opens == 1
        done = await rotate(again, key_file, epoch)
        assert done.resumed
        await check_all(again, key_file, epoch)
        left = {path.name for path in key_file.parent.glob("pool.key*")}
        assert left == {"pool.key", "pool.key.epoch", "pool.key.epoch.retired"}
        files = [path.read_bytes() for path in key_file.parent.iterdir() if path.is_file()]
        content = b"\0".join([await content_of(again), *files])
        assert OLD.hex().encode() not in content
        with pytest.raises(PoolKeyError):
            await Pool(PoolKey(OLD), epoch).unlock(again)
    finally:
        await again.close()


async def test_repeats_are_recognized_through_rotations(
    database: Database, used: Pool, key_file: Path, epoch: EpochFile, key: PoolKey
) -> None:
    for _ in range(2):
        await rotate(database, key_file, epoch)
    after = Pool(PoolKey.from_text(key_file.read_text()), epoch)
    await after.unlock(database)
    assert after.key.digest(b"seen") == key.digest(b"seen")
    async with database.write() as tx:
        await after.add(tx, [make_block(1000)])
    for spent in (2, 290):
        with pytest.raises(IntegrityError, match=r"(?i)unique"):
            async with database.write() as tx:
                await after.add(tx, [make_block(2000, seed=make_seed(spent))])
    # Two keys that never met have nothing in common.
    assert PoolKey(bytes(32)).digest(b"seen") != key.digest(b"seen")


async def test_an_older_backup_says_which_seeds_are_lost(
    database: Database,
    used: Pool,
    key_file: Path,
    epoch: EpochFile,
    copied: Copy,
) -> None:
    restored = await copied(database)
    await rotate(database, key_file, epoch)
    current = await copied(database)
    key = PoolKey.from_text(key_file.read_text())
    with pytest.raises(PoolKeyError) as refused:
        await Pool(key, epoch).unlock(restored)
    # A rotation does not touch it either.
    with pytest.raises(PoolKeyError, match="an older backup"):
        await rotate(restored, key_file, epoch)
    assert f"lost: 251 from index 5 to 255 of {COORDINATOR} on chain {CHAIN_ID}" in str(
        refused.value
    )
    assert "Discard past them with `oracle coordinator discard`" in str(refused.value)
    await check_all(current, key_file, epoch)


@on_sqlite
async def test_backup_is_for_its_owner_alone(database: Database, tmp_path: Path) -> None:
    back_up(path_of(database), tmp_path / "new.db")
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600


async def test_a_restored_backup_is_not_carried_on_by_a_rotation(
    database: Database,
    used: Pool,
    key_file: Path,
    epoch: EpochFile,
    copied: Copy,
) -> None:
    restored = await copied(database)
    await used.bind(database, CHAIN_ID, COORDINATOR, range(256, 260))
    assert (await rotate(restored, key_file, epoch)).records == 301 - 44
    pool = Pool(PoolKey.from_text(key_file.read_text()), epoch)
    await pool.unlock(restored)
    async with restored.read() as connection:
        assert await pool.fresh(connection) == 0
        with pytest.raises(SeedGoneError):
            await pool.seed(connection, CHAIN_ID, COORDINATOR, 256)


@on_sqlite
async def test_a_reader_holds_the_end_up_and_a_repetition_brings_it(
    database: Database, used: Pool, key_file: Path, epoch: EpochFile
) -> None:
    async with database.read() as connection:
        await used.fresh(connection)
        with pytest.raises(DatabaseLockedError, match="end it, and run"):
            await rotate(database, key_file, epoch)
        # The old key is not destroyed while its records may be in the files.
        assert key_file.read_text().strip() == OLD.hex()
    assert (await rotate(database, key_file, epoch)).resumed
    await check_all(database, key_file, epoch)


async def test_another_key_and_an_empty_database_rotate_nothing(
    database: Database, used: Pool, key_file: Path, epoch: EpochFile, tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    shutil.copy(key_file, other)
    other.write_text(bytes(32).hex())
    with pytest.raises(PoolKeyError, match="not the one that this database was written with"):
        await rotate(database, other, epoch)
    assert other.read_text() == bytes(32).hex()
    empty = await Database.open(tmp_path / "empty.db", Access.NODE)
    try:
        with pytest.raises(PoolKeyError, match="nothing to rotate"):
            await rotate(empty, key_file, epoch)
    finally:
        await empty.close()
    await check_all(database, key_file, epoch)
