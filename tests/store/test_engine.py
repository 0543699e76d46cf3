from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from oracle.errors import (
    ConfigError,
    DatabaseFailedError,
    DatabaseLockedError,
    DatabaseUnavailableError,
)
from oracle.store.cursors import get_setting, put_setting
from oracle.store.engine import Access, Database
from oracle.store.schema import attempts, settings
from tests.databases import on_sqlite, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.store.pool import Pool

pytestmark = pytest.mark.store

# Opens the database as a node does, says so, and stays until its input ends.
NODE = """
import asyncio, sys
from pathlib import Path
from oracle.errors import DatabaseLockedError
from oracle.store.engine import Access, Database

async def main():
    try:
        await Database.open(Path(sys.argv[1]), Access.NODE)
    except DatabaseLockedError as error:
        print("refused:", error, flush=True)
    else:
        print("open", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


def another_node(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", NODE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@on_sqlite
async def test_second_node_on_one_file_is_refused(database: Database) -> None:
    with another_node(path_of(database)) as process:
        assert first_line(process) == (
            f"refused: another node runs on {path_of(database)}: stop it first, SQLite serves one "
            "node"
        )


async def test_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "oracle.db"
    with another_node(path) as process:
        assert first_line(process) == "open"
        with pytest.raises(DatabaseLockedError):
            await Database.open(path, Access.NODE)
        process.kill()
        process.wait()
        database = await Database.open(path, Access.NODE)
        await database.close()


async def test_closed_database_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        database = await Database.open(tmp_path / "oracle.db", Access.NODE)
        await database.close()


@on_sqlite
async def test_reader_opens_while_a_node_runs(database: Database) -> None:
    async with database.write() as tx:
        await put_setting(tx, "name", "value")
    reader = await Database.open(path_of(database), Access.VISIT)
    async with reader.read() as connection:
        assert await get_setting(connection, "name") == "value"
    await reader.close()


@pytest.mark.parametrize("name", ["oracle.db", "an odd #1 100% name?.db"])
async def test_reader_reads_what_a_node_left_and_cannot_write(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    database = await Database.open(path, Access.NODE)
    async with database.write() as tx:
        await put_setting(tx, "name", "value")
    await database.close()
    reader = await Database.open(path, Access.READ)
    async with reader.read() as connection:
        assert await get_setting(connection, "name") == "value"
    with pytest.raises(DatabaseFailedError, match="it is read-only"):
        async with reader.write() as tx:
            await put_setting(tx, "name", "another")
    await reader.close()


async def test_reader_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no database at .*oracle run"):
        await Database.open(tmp_path / "oracle.db", Access.VISIT)
    assert list(tmp_path.iterdir()) == []


async def test_missing_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "oracle.db"
    with pytest.raises(ConfigError, match=r"the database folder .*nowhere cannot be written"):
        await Database.open(path, Access.NODE)


async def test_file_that_is_no_database_is_refused_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "oracle.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigError, match="cannot be opened as a SQLite database"):
        await Database.open(path, Access.NODE)
    path.unlink()
    database = await Database.open(path, Access.NODE)
    await database.close()


@on_sqlite
async def test_files_are_for_their_owner_alone(database: Database) -> None:
    async with database.write() as tx:
        await put_setting(tx, "name", "value")
    names = {path.name for path in path_of(database).parent.iterdir()}
    assert {"oracle.db", "oracle.db-wal", "oracle.db.lock"} <= names
    for path in path_of(database).parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


async def test_failed_write_leaves_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as tx:
            await put_setting(tx, "name", "value")
            raise LookupError("stop")

    with pytest.raises(LookupError, match="stop"):
        await fail()
    async with database.read() as connection:
        assert await get_setting(connection, "name") is None


async def test_reader_sees_one_snapshot(database: Database) -> None:
    async with database.read() as connection:
        assert await get_setting(connection, "name") is None
        async with database.write() as tx:
            await put_setting(tx, "name", "value")
        assert await get_setting(connection, "name") is None
    async with database.read() as connection:
        assert await get_setting(connection, "name") == "value"


async def test_foreign_keys_are_enforced(database: Database) -> None:
    async def attempt_without_slot() -> None:
        async with database.write() as tx:
            await tx.execute(
                insert(attempts).values(
                    transaction_hash=bytes(32),
                    transaction_id=99,
                    max_fee=0,
                    priority_fee=0,
                    nonce=bytes(12),
                    created_at=0,
                )
            )

    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        await attempt_without_slot()


@on_sqlite
async def test_wipe_empties_the_log(database: Database) -> None:
    async with database.write() as tx:
        await put_setting(tx, "name", "value")
    log = path_of(database).with_name("oracle.db-wal")
    assert log.stat().st_size > 0
    assert await database.wipe()
    assert log.stat().st_size == 0


@on_sqlite
async def test_wipe_that_a_reader_holds_up_is_made_up_for(database: Database, pool: Pool) -> None:
    log = path_of(database).with_name("oracle.db-wal")
    async with database.read() as reader:
        await get_setting(reader, "name")
        async with database.write() as tx:
            await put_setting(tx, "name", "value")
        assert not await database.wipe()
        await pool.wipe(database)
        assert log.stat().st_size > 0
    await pool.wipe(database)
    assert log.stat().st_size == 0


@on_sqlite
@pytest.mark.parametrize(
    ("pragma", "sentence"),
    [("max_page_count = 1", "its disk is full"), ("query_only = ON", "it is read-only")],
)
async def test_a_disk_that_takes_nothing_more_is_said_in_a_sentence(
    database: Database, pragma: str, sentence: str
) -> None:
    async with database.read() as connection:
        await connection.exec_driver_sql(f"PRAGMA {pragma}")

    async def fill() -> None:
        async with database.write() as tx:
            for number in range(1000):
                await put_setting(tx, f"name {number}", 1000 * "x")

    for _ in range(2):
        with pytest.raises(
            DatabaseFailedError, match=f"fails: {sentence}.* start again"
        ) as caught:
            await fill()
        assert not caught.value.retryable
    async with database.read() as connection:
        assert await get_setting(connection, "name 0") is None


@on_sqlite
async def test_a_file_that_others_hold_up_can_be_tried_again(database: Database) -> None:
    async with database.read() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path_of(database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError, match="others hold it up"):
            async with database.write() as tx:
                await put_setting(tx, "name", "value")
    async with database.write() as tx:
        await put_setting(tx, "name", "value")


@on_sqlite
async def test_a_damaged_file_is_said_in_a_sentence(database: Database, place: Path) -> None:
    async with database.write() as tx:
        for number in range(1000):
            await put_setting(tx, f"name {number}", 1000 * "x")
    assert await database.wipe()
    await database.close()
    with place.open("r+b") as file:
        file.seek(-500_000, os.SEEK_END)
        file.write(bytes(400_000))
    damaged = await Database.open(place, Access.VISIT)
    with pytest.raises(DatabaseFailedError, match="the file is damaged: restore a backup"):
        async with damaged.read() as connection:
            await connection.execute(select(settings))
    await damaged.close()


@on_sqlite
async def test_a_text_that_is_none_is_damage_and_not_repeated(database: Database) -> None:
    async with database.write() as tx:
        await tx.exec_driver_sql("INSERT INTO settings VALUES ('name', CAST(x'78ff78' AS TEXT))")
    with pytest.raises(DatabaseFailedError, match="the file is damaged") as caught:
        async with database.read() as connection:
            await get_setting(connection, "name")
    assert "x\ufffdx" not in str(caught.value)
