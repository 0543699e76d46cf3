"""
SQLite is asked on the event loop, which is never held up by what waits.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from oracle.store.engine import Access
from oracle.store.inline import InlineConnection
from oracle.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


pytestmark = pytest.mark.store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE words (word TEXT)")
    return path


@pytest.fixture
async def connection(path: Path) -> AsyncIterator[InlineConnection]:
    connection = InlineConnection(
        lambda: sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    )
    async with connection:
        yield connection


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    """
    Another process's connection, which is writing.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield writer


async def thread_of(connection: InlineConnection, statement: str) -> int:
    found: list[int] = []
    await connection.set_trace_callback(lambda _: found.append(threading.get_ident()))
    await (await connection.execute(statement)).close()
    return found[0]


async def test_queries_are_made_by_the_loop_and_what_waits_by_another_thread(
    connection: InlineConnection,
) -> None:
    here = threading.get_ident()
    assert await thread_of(connection, "BEGIN IMMEDIATE") == here  # nobody holds it up
    assert await thread_of(connection, "INSERT INTO words VALUES ('a')") == here
    assert await thread_of(connection, "SELECT word FROM words") == here
    assert await thread_of(connection, "COMMIT") != here
    assert await thread_of(connection, "PRAGMA wal_checkpoint") != here


async def test_the_end_of_a_transaction_that_wrote_alone_waits_for_the_disk(
    connection: InlineConnection,
) -> None:
    here, found = threading.get_ident(), []
    await connection.set_trace_callback(lambda said: found.append((said, threading.get_ident())))
    for statements in (["BEGIN", "SELECT 1"], ["BEGIN", "INSERT INTO words VALUES ('a')"]):
        for one in statements:
            await (await connection.execute(one)).close()
        await connection.commit()
    ends = [thread for said, thread in found if said == "COMMIT"]
    assert [thread == here for thread in ends] == [True, False]


async def test_the_loop_goes_on_while_another_process_writes(
    connection: InlineConnection, writer: sqlite3.Connection
) -> None:
    waiting = asyncio.create_task(thread_of(connection, "BEGIN IMMEDIATE"))
    await asyncio.sleep(0.05)
    # Were the loop held up, nobody would get here, and the one that waits would give up.
    writer.execute("COMMIT")
    await waiting


async def test_nothing_overtakes_a_call_that_was_cancelled_while_it_waits(
    connection: InlineConnection, writer: sqlite3.Connection
) -> None:
    beginning = asyncio.create_task(thread_of(connection, "BEGIN IMMEDIATE"))
    await asyncio.sleep(0.05)
    beginning.cancel()
    ending = asyncio.create_task(connection.rollback())
    await asyncio.sleep(0.05)
    assert beginning.cancelled()
    assert not ending.done()
    writer.execute("COMMIT")
    await ending
    assert not connection.in_transaction
    # The rollback came after the beginning, so that the next one is a beginning again.
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("COMMIT")


async def test_a_write_that_is_cancelled_while_it_waits_leaves_the_store_to_others(
    tmp_path: Path,
) -> None:
    database = await SqliteDatabase.open_file(tmp_path / "oracle.db", Access.SOLE)
    try:

        async def write() -> None:
            async with database.write():
                pass

        with closing(sqlite3.connect(tmp_path / "oracle.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(write())
            await asyncio.sleep(0.05)
            writing.cancel()
            await asyncio.sleep(0)
            other.execute("COMMIT")
            with pytest.raises(asyncio.CancelledError):
                await writing
            await write()
            other.execute("BEGIN IMMEDIATE")
            other.execute("COMMIT")
    finally:
        await database.close()


async def test_whatever_holds_up_a_beginning_is_waited_for_elsewhere(
    connection: InlineConnection,
) -> None:
    threads: list[int] = []

    def begin(_: str) -> str:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            # As while another process mends the log of one that crashed.
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            raise error
        return "begun"

    assert await connection._execute(begin, "BEGIN IMMEDIATE") == "begun"
    assert threads[0] == threading.get_ident() != threads[1]
