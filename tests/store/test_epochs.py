"""
What a crash leaves and what a restored backup is, told apart by the epoch.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.errors import PoolError, PoolKeyError
from oracle.store import epochs
from oracle.store.cursors import get_setting
from oracle.store.engine import Access, Database
from oracle.store.epochs import RESTORED
from oracle.store.pool import Pool
from oracle.store.replies import Replies
from oracle.store.seal import Epoch, EpochFile, PoolKey
from tests.databases import Copy, path_of
from tests.factories import make_block
from tests.migrated import lay_database

pytestmark = pytest.mark.store

BLOCKS = 40
POINTS = ("epoch-intended", "epoch-advanced", "epoch-bound")


class Crash(BaseException):
    """
    The end of the process, at a fault point.
    """


class Fuse:
    """
    Crashes at the next pass over a point.
    """

    point: str | None = None

    def __call__(self, name: str) -> None:
        if name == self.point:
            self.point = None
            raise Crash


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    fuse = Fuse()
    monkeypatch.setattr(epochs, "fault_point", fuse)
    return fuse


@pytest.fixture
async def filled(database: Database, pool: Pool) -> Pool:
    async with database.write() as tx:
        await pool.add(tx, [make_block(number) for number in range(BLOCKS)])
    return pool


async def crash(fuse: Fuse, point: str, database: Database, pool: Pool, purpose: str) -> None:
    fuse.point = point
    with pytest.raises(Crash):
        await pool.bind_purposes(database, [purpose])


async def fresh(database: Database, pool: Pool) -> int:
    async with database.read() as connection:
        return await pool.fresh(connection)


async def is_restored(database: Database) -> bool:
    async with database.read() as connection:
        return await get_setting(connection, RESTORED) is not None


async def test_epoch_file_is_ahead_before_anything_is_bound(
    database: Database, filled: Pool, epoch: EpochFile
) -> None:
    assert epoch.read() is None
    for count in (1, 2, 3):
        await filled.bind_purposes(database, [f"use {count}"])
        assert epoch.read() == Epoch(count)


async def test_bindings_at_once_have_an_epoch_each(
    database: Database, filled: Pool, epoch: EpochFile
) -> None:
    replies = Replies(database, filled)
    await asyncio.gather(
        *(filled.bind_purposes(database, [f"use {number}"]) for number in range(4)),
        replies.reserve(3),
    )
    assert epoch.read() == Epoch(5)
    async with database.read() as connection:
        assert await filled.epochs(connection) == (5, 5)


async def test_a_binding_that_was_prepared_is_one_like_others(
    database: Database, filled: Pool, epoch: EpochFile, copied: Copy
) -> None:
    await filled.prepare(database)
    assert epoch.read() is None  # there is no need before the first one
    await filled.bind_purposes(database, ["use 1"])
    for count in (2, 3):
        before = epoch.read()
        await filled.prepare(database)
        reached = epoch.read()
        if database.is_shared:
            assert reached == before
            return
        assert reached is not None
        assert (reached.number, reached.mark is not None) == (count, True)
        backup = await copied(database)
        assert await Pool(filled.key, epoch).unlock(backup) == 0
        await filled.prepare(database)
        assert epoch.read() == reached  # once is enough
        await filled.bind_purposes(database, [f"use {count}"])
        assert epoch.read() == Epoch(count)
        assert await Pool(filled.key, epoch).unlock(backup) == BLOCKS - count + 1


async def test_what_another_node_prepared_or_bound_first_is_no_crash(
    database: Database, filled: Pool, epoch: EpochFile, tmp_path: Path
) -> None:
    other_file = EpochFile(tmp_path / "other.epoch")
    other = Pool(filled.key, other_file)
    purposes = ["ours", "theirs", "theirs too", "ours too"]
    for pool, purpose in zip([filled, other, other, filled], purposes, strict=True):
        await pool.bind_purposes(database, [purpose])
        await pool.prepare(database)
    reached = [one.number for one in (epoch.read(), other_file.read()) if one is not None]
    # One is ahead of the last binding at most.
    assert (max(reached) in (4, 5), min(reached) in (3, 4)) == (True, True)
    async with database.read() as connection:
        assert await filled.bound_among(connection, purposes) == {*purposes}


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("point", POINTS)
async def test_crash_costs_nothing_and_is_no_restore(
    database: Database,
    filled: Pool,
    epoch: EpochFile,
    fuse: Fuse,
    point: str,
    before: int,
) -> None:
    bound = point == "epoch-bound"
    for number in range(before):
        await filled.bind_purposes(database, [f"before {number}"])
    for attempt in range(3):
        await crash(fuse, point, database, filled, f"use {attempt}")
        filled = Pool(filled.key, epoch)
        async with database.read() as connection:
            reached, stored = await filled.epochs(connection)
            assert reached == stored
        assert await filled.unlock(database) == 0
        assert not await is_restored(database)
    left = BLOCKS - before - 3 * bound
    assert await fresh(database, filled) == left
    await filled.bind_purposes(database, ["after"])
    assert await Pool(filled.key, epoch).unlock(database) == 0
    assert epoch.read() == Epoch(before + 3 * bound + 1)


@pytest.mark.parametrize("point", POINTS[:2])
async def test_backup_of_the_moment_before_a_binding_is_recognized(
    database: Database,
    filled: Pool,
    epoch: EpochFile,
    fuse: Fuse,
    copied: Copy,
    point: str,
) -> None:
    await filled.bind_purposes(database, ["before"])
    await crash(fuse, point, database, filled, "use")
    backup = await copied(database)
    # The original goes on with the same intent, and what it binds is used.
    await filled.bind_purposes(database, ["use"])
    assert epoch.read() == Epoch(2)
    assert await Pool(filled.key, epoch).unlock(backup) == BLOCKS - 1
    assert await is_restored(backup)
    assert await Pool(filled.key, epoch).unlock(backup) == 0


async def test_backup_is_recognized_after_the_original_crashed_behind_a_binding(
    database: Database,
    filled: Pool,
    epoch: EpochFile,
    fuse: Fuse,
    copied: Copy,
) -> None:
    await crash(fuse, "epoch-advanced", database, filled, "use")
    backup = await copied(database)
    await crash(fuse, "epoch-bound", database, filled, "use")
    # The original is started again: now what it bound may be used.
    assert await Pool(filled.key, epoch).unlock(database) == 0
    assert await Pool(filled.key, epoch).unlock(backup) == BLOCKS


async def test_mark_of_another_database_is_no_crash(
    database: Database,
    filled: Pool,
    epoch: EpochFile,
    fuse: Fuse,
    copied: Copy,
) -> None:
    await filled.bind_purposes(database, ["before"])
    other = await copied(database)
    await crash(fuse, "epoch-advanced", database, filled, "use")
    assert await Pool(filled.key, epoch).unlock(other) == BLOCKS - 1


@pytest.mark.parametrize("known", [False, True])
async def test_file_one_ahead_without_a_mark_is_a_restored_backup(
    database: Database, filled: Pool, epoch: EpochFile, fuse: Fuse, *, known: bool
) -> None:
    await filled.bind_purposes(database, ["before"])
    if known:
        await crash(fuse, "epoch-intended", database, filled, "use")
    epoch.write(2)
    assert await Pool(filled.key, epoch).unlock(database) == BLOCKS - 1


async def test_binding_that_failed_leaves_no_trace(
    database: Database, filled: Pool, epoch: EpochFile, fuse: Fuse
) -> None:
    with pytest.raises(PoolError, match="are in the pool") as caught:
        await filled.bind_purposes(database, [f"use {n}" for n in range(BLOCKS + 1)])
    # Others bound what was counted a moment before: no reason to stop.
    assert caught.value.retryable
    # A crash in the next one finds the mark of the first in the file.
    await crash(fuse, "epoch-intended", database, filled, "use")
    assert await Pool(filled.key, epoch).unlock(database) == 0
    assert await fresh(database, filled) == BLOCKS


async def test_old_epoch_file_is_refused(
    database: Database, filled: Pool, epoch: EpochFile
) -> None:
    await filled.bind_purposes(database, ["a"])
    await filled.bind_purposes(database, ["b"])
    epoch.write(1)
    with pytest.raises(PoolKeyError, match="the epoch file says 1 and the database 2") as caught:
        await Pool(filled.key, epoch).unlock(database)
    assert "put the right one beside the pool key" in str(caught.value)


async def test_missing_epoch_file_is_refused_until_its_number_is_written_into_it(
    database: Database, filled: Pool, fuse: Fuse, tmp_path: Path
) -> None:
    await filled.bind_purposes(database, ["a"])
    await crash(fuse, "epoch-advanced", database, filled, "b")
    path = tmp_path / "nowhere"
    with pytest.raises(PoolKeyError, match=r"the epoch file .* is missing") as caught:
        await Pool(filled.key, EpochFile(path)).unlock(database)
    assert "put it back, or write 1 into it" in str(caught.value)
    path.write_text("1", encoding="ascii")
    assert await Pool(filled.key, EpochFile(path)).unlock(database) == 0
    assert not await is_restored(database)


ACTS = st.one_of(
    st.just("bind"),
    st.just("prepare"),
    st.sampled_from(POINTS),
    st.just("backup"),
    st.tuples(st.just("restore"), st.integers(0, 5)),
)


@settings(max_examples=16)
@given(acts=st.lists(ACTS, min_size=1, max_size=14))
def test_no_block_is_used_twice_and_no_crash_costs_one(
    acts: list[str | tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fuse = Fuse()
        patch.setattr(epochs, "fault_point", fuse)
        asyncio.run(live(Path(folder), fuse, acts))


async def live(folder: Path, fuse: Fuse, acts: list[str | tuple[str, int]]) -> None:
    epoch = EpochFile(folder / "epoch")
    database = await Database.open(lay_database(folder / "0.db"), Access.NODE)
    pool = Pool(PoolKey(bytes(32)), epoch)
    await pool.unlock(database)
    async with database.write() as tx:
        await pool.add(tx, [make_block(number) for number in range(BLOCKS)])
    used: dict[bytes, str] = {}
    backups: list[tuple[Path, int]] = []
    for number, act in enumerate(acts):
        purpose = f"use {number}"
        if act == "backup":
            assert await database.wipe()
            backups.append((folder / f"backup {number}", len(used)))
            shutil.copy(path_of(database), backups[-1][0])
            continue
        if act == "prepare":
            await pool.prepare(database)
            continue
        if isinstance(act, tuple):
            if not backups:
                continue
            backup, behind = backups[act[1] % len(backups)]
            await database.close()
            shutil.copy(backup, folder / f"{number}.db")
            database = await Database.open(folder / f"{number}.db", Access.NODE)
            pool = Pool(pool.key, epoch)
            left = await fresh(database, pool)
            dropped = await pool.unlock(database)
            assert dropped == left or (dropped == 0 and behind == len(used))
            continue
        fuse.point = None if act == "bind" else act
        try:
            seeds = await pool.bind_purposes(database, [purpose])
        except PoolError:
            continue
        except Crash:
            left = await fresh(database, pool)
            pool = Pool(pool.key, epoch)
            assert await pool.unlock(database) == 0
            assert await fresh(database, pool) == left
            async with database.read() as connection:
                # What was bound is used from now on.
                seeds = await pool.seeds_for(connection, [purpose])
        finally:
            fuse.point = None
        for seed in seeds.values():
            assert used.setdefault(seed, purpose) == purpose
    await database.close()
