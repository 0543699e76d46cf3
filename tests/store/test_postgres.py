"""
What only a database on a server can do, and have done to it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from oracle.database_url import DatabaseUrl
from oracle.errors import (
    ConfigError,
    DatabaseLockedError,
    DatabaseTakenError,
    DatabaseUnavailableError,
    InvariantError,
    NoDatabaseError,
)
from oracle.store import postgres_hold, postgres_server
from oracle.store.cursors import get_setting, put_setting
from oracle.store.engine import Access, Database
from oracle.store.schema import settings
from tests.postgres import BLANK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.postgres import Postgres

pytestmark = pytest.mark.store


@pytest.fixture
def place(postgres: Postgres) -> DatabaseUrl:
    """
    An empty database with the newest schema.
    """
    return postgres.blank()


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_hold, "_PATIENCE", "100ms")


@pytest.fixture
async def other(database: Database, place: DatabaseUrl) -> AsyncIterator[Database]:
    """
    A second node on the same database.
    """
    other = await Database.open(place, Access.NODE)
    yield other
    await other.close()


async def put(database: Database, value: str) -> None:
    async with database.write() as tx:
        await put_setting(tx, "name", value)


async def got(database: Database) -> str | None:
    async with database.read() as connection:
        return await get_setting(connection, "name")


async def test_writes_of_several_nodes_come_one_after_the_other(
    database: Database, other: Database
) -> None:
    async def count(node: Database) -> None:
        async with node.write() as tx:
            known = await get_setting(tx, "name") or "0"
            await asyncio.sleep(0)
            await put_setting(tx, "name", str(int(known) + 1))

    await asyncio.gather(*(count(node) for node in (database, other) for _ in range(25)))
    assert await got(database) == "50"


async def test_a_claim_waits_for_no_writer_and_passes_over_what_is_locked(
    database: Database, other: Database
) -> None:
    async with database.write() as tx:
        for name in ("a", "b"):
            await put_setting(tx, name, "free")
    free = select(settings.c.name).where(settings.c.value == "free").order_by(settings.c.name)
    async with database.write() as tx:
        await put_setting(tx, "name", "value")
        async with database.claim() as first:
            mine = await first.scalar(free.limit(1).with_for_update(skip_locked=True))
            async with other.claim() as second:
                theirs = await second.scalar(free.limit(1).with_for_update(skip_locked=True))
    assert (mine, theirs) == ("a", "b")


async def test_the_clock_is_the_servers(database: Database, other: Database) -> None:
    async with database.claim() as one, other.claim() as two:
        first = await database.clock(one)
        second = await other.clock(two)
        assert first <= second <= await database.clock(one)


@pytest.mark.parametrize("access", [Access.SOLE, Access.ACT])
async def test_who_has_to_be_alone_keeps_nodes_away_and_they_it(
    database: Database, place: DatabaseUrl, access: Access
) -> None:
    assert await database.is_held()
    with pytest.raises(DatabaseLockedError, match=r"a node or gateway runs on .*: stop it first"):
        await Database.open(place, access)
    await database.close()
    alone = await Database.open(place, access)
    for wanted in (Access.NODE, access):
        with pytest.raises(DatabaseLockedError):
            await Database.open(place, wanted)
    visitor = await Database.open(place, Access.VISIT)
    await put(visitor, "visited")
    assert await got(alone) == "visited"
    await alone.close()
    assert not await visitor.is_held()
    await visitor.close()


async def test_who_reads_cannot_write(database: Database, place: DatabaseUrl) -> None:
    reader = await Database.open(place, Access.READ)
    with pytest.raises(DatabaseUnavailableError, match="read-only"):
        await put(reader, "written")
    assert await got(reader) is None
    await reader.close()


async def test_lost_sessions_come_back_by_themselves(
    database: Database, postgres: Postgres
) -> None:
    await put(database, "before")
    postgres.end_sessions(BLANK)
    await put(database, "after")
    assert await got(database) == "after"
    assert await database.is_held()


async def test_a_session_that_ends_inside_a_transaction_leaves_nothing(
    database: Database, postgres: Postgres
) -> None:
    async def interrupted() -> None:
        async with database.write() as tx:
            await put_setting(tx, "name", "half")
            postgres.end_sessions(BLANK)
            await put_setting(tx, "name", "whole")

    with pytest.raises(DatabaseUnavailableError, match="cannot be used now") as caught:
        await interrupted()
    assert caught.value.retryable
    assert await got(database) is None
    await put(database, "again")
    assert await got(database) == "again"


async def test_a_session_that_ends_before_the_commit_leaves_nothing(
    database: Database, postgres: Postgres
) -> None:
    async def interrupted() -> None:
        async with database.write() as tx:
            await put_setting(tx, "name", "half")
            postgres.end_sessions(BLANK)

    with pytest.raises(DatabaseUnavailableError):
        await interrupted()
    assert await got(database) is None


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_restarts_is_used_again(
    database: Database, other: Database, postgres: Postgres, mode: str
) -> None:
    await put(database, "before")
    postgres.control("stop", "-m", mode)
    try:
        for node in (database, other):
            with pytest.raises(DatabaseUnavailableError, match="cannot be used now"):
                await put(node, "meanwhile")
            with pytest.raises(DatabaseUnavailableError):
                await got(node)
    finally:
        postgres.start()
    assert await got(other) == "before"
    await asyncio.gather(put(database, "after"), put(other, "after"))
    assert await got(database) == "after"


async def test_a_process_that_pauses_inside_a_transaction_holds_nobody_up_for_long(
    place: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "IDLE_SECONDS", 1)
    paused, awake = [await Database.open(place, Access.NODE) for _ in range(2)]

    async def pause() -> None:
        async with paused.write() as tx:
            await put_setting(tx, "name", "paused")
            # It waits until the server has ended the transaction of the other.
            await put(awake, "awake")
            await put_setting(tx, "name", "paused")

    with pytest.raises(DatabaseUnavailableError):
        await pause()
    assert await got(paused) == "awake"
    await put(paused, "paused")
    for node in (paused, awake):
        await node.close()


async def test_who_waits_too_long_for_its_turn_is_told_so(
    database: Database, place: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "_LOCK_SECONDS", 0.2)
    hasty = await Database.open(place, Access.VISIT)
    async with database.write() as tx:
        await put_setting(tx, "name", "value")
        with pytest.raises(DatabaseUnavailableError, match="others hold it up"):
            await put(hasty, "hasty")
    await put(hasty, "later")
    assert await got(database) == "later"
    await hasty.close()


async def test_a_node_that_lost_the_database_to_an_act_writes_nothing_afterwards(
    database: Database, place: DatabaseUrl, postgres: Postgres
) -> None:
    postgres.end_sessions(BLANK)
    act = await Database.open(place, Access.ACT)
    with pytest.raises(DatabaseUnavailableError, match="who has to be alone"):
        await put(database, "during")
    await put(act, "acted")
    await act.close()
    for _ in range(2):
        with pytest.raises(DatabaseTakenError, match="start the process again") as caught:
            await put(database, "after")
        with pytest.raises(DatabaseTakenError):
            async with database.claim() as tx:
                await put_setting(tx, "name", "claimed")
    assert not caught.value.retryable
    assert await got(database) == "acted"
    again = await Database.open(place, Access.NODE)
    await put(again, "again")
    await again.close()


async def test_an_act_that_lost_the_database_to_a_node_writes_nothing_afterwards(
    database: Database, place: DatabaseUrl, postgres: Postgres
) -> None:
    await database.close()
    act = await Database.open(place, Access.ACT)
    postgres.end_sessions(BLANK)
    node = await Database.open(place, Access.NODE)
    await put(node, "node")
    with pytest.raises(DatabaseUnavailableError, match="a node or gateway runs"):
        await put(act, "act")
    await node.close()
    with pytest.raises(DatabaseTakenError):
        await put(act, "act")
    await act.close()


async def test_nodes_that_come_and_go_take_nothing_from_each_other(
    database: Database, place: DatabaseUrl
) -> None:
    for number in range(3):
        passing = await Database.open(place, Access.NODE)
        await put(passing, f"passing {number}")
        await passing.close()
        await put(database, f"staying {number}")


async def test_an_error_that_was_swallowed_commits_nothing(database: Database) -> None:
    async def swallow() -> None:
        async with database.write() as tx:
            await put_setting(tx, "name", "value")
            with pytest.raises(IntegrityError):
                await tx.execute(settings.insert().values(name="name", value="again"))

    with pytest.raises(InvariantError, match="none of it was written"):
        await swallow()
    assert await got(database) is None


async def test_nodes_that_start_together_make_one_schema(postgres: Postgres) -> None:
    url = postgres.create()
    assert not await Database.exists(url)
    assert await Database.find(url, Access.VISIT) is None
    with pytest.raises(NoDatabaseError, match="start a node with `oracle run` first"):
        await Database.open(url, Access.ACT)
    nodes = await asyncio.gather(*(Database.open(url, Access.NODE) for _ in range(3)))
    assert await Database.exists(url)
    for node in nodes:
        await put(node, "value")
    for node in nodes:
        await node.close()


async def test_no_commit_may_be_lost_and_no_text(postgres: Postgres) -> None:
    off = postgres.create()
    postgres.execute(f"ALTER DATABASE {name_of(off)} SET synchronous_commit = off")
    with pytest.raises(ConfigError, match=r"synchronous_commit is off in .*: set it to on"):
        await Database.open(off, Access.NODE)
    ascii_ = postgres.create("ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError, match="is not UTF8: create the database with"):
        await Database.open(ascii_, Access.NODE)


async def test_a_standby_serves_readers_alone(
    database: Database, place: DatabaseUrl, postgres: Postgres
) -> None:
    await put(database, "value")
    postgres.execute(f"ALTER DATABASE {BLANK} SET default_transaction_read_only = on")
    try:
        with pytest.raises(DatabaseUnavailableError, match="a read-only standby"):
            await Database.open(place, Access.NODE)
        reader = await Database.open(place, Access.READ)
        assert await got(reader) == "value"
        await reader.close()
    finally:
        postgres.execute(
            "SET default_transaction_read_only = off",
            f"ALTER DATABASE {BLANK} RESET default_transaction_read_only",
        )


async def test_what_is_wrong_with_a_url_is_said_without_its_password(
    place: DatabaseUrl, postgres: Postgres
) -> None:
    postgres.execute("CREATE ROLE guest LOGIN PASSWORD 'right-horse'")
    postgres.ask_for_passwords("guest")
    here = f"host={postgres.folder}"
    wrong = {
        f"postgresql+psycopg://guest:battery-staple@/{BLANK}?{here}": "refuses the user or the",
        f"postgresql+psycopg://guest@/{BLANK}?{here}": "refuses the user or the password",
        f"postgresql+psycopg://nobody:battery-staple@/{BLANK}?{here}": "no user of the name",
        f"postgresql+psycopg://guest:right-horse@/nowhere?{here}": "there is no database",
        f"postgresql+psycopg://guest:right-horse@/{BLANK}?{here}&sslmod=1": "sslmod",
    }
    for url, sentence in wrong.items():
        with pytest.raises(ConfigError, match=sentence) as caught:
            await Database.open(DatabaseUrl.parse(url), Access.NODE)
        assert "horse" not in str(caught.value)
        assert "staple" not in str(caught.value)


async def test_a_user_without_rights_is_told_what_it_lacks(postgres: Postgres) -> None:
    postgres.execute("CREATE ROLE stranger LOGIN")
    url = postgres.create()
    with pytest.raises(ConfigError, match=r"lacks rights there \(permission denied .* owner"):
        await Database.open(postgres.url(name_of(url), "stranger"), Access.NODE)


def test_whatever_an_error_says_the_password_is_not_in_it() -> None:
    url = DatabaseUrl.parse("postgresql+psycopg://guest:battery-staple@db/oracle")
    server = postgres_server.Server(url, Access.NODE)
    said = server.translated(psycopg.errors.lookup("08006")("no battery-staple today"))
    assert str(said) == (
        "the database postgresql+psycopg://guest@db/oracle cannot be used now: no *** today"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://guest:battery-staple@127.0.0.1:1/oracle",
        "postgresql+psycopg://guest:battery-staple@/oracle?host=/nowhere",
        "postgresql+psycopg://guest:battery-staple@no-such-host.invalid/oracle",
    ],
)
async def test_a_server_out_of_reach_can_be_tried_again(url: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match="cannot be used now: ") as caught:
        await Database.open(DatabaseUrl.parse(url), Access.NODE)
    assert "staple" not in str(caught.value)


async def test_an_old_server_and_a_pooler_are_refused(
    place: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(postgres_server, "_OLDEST", 99)
        with pytest.raises(ConfigError, match=r"is PostgreSQL \d+: 99 is the oldest that works"):
            await Database.open(place, Access.NODE)
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
        with pytest.raises(ConfigError, match="a connection pooler stands before"):
            await Database.open(place, Access.NODE)


def test_a_missing_driver_is_named(place: DatabaseUrl) -> None:
    code = (
        "import asyncio, sys; sys.modules['psycopg'] = None\n"
        "from oracle.database_url import DatabaseUrl\n"
        "from oracle.store.engine import Access, Database\n"
        f"asyncio.run(Database.open(DatabaseUrl.parse({place.text!r}), Access.NODE))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "ConfigError: PostgreSQL needs a driver that is not installed" in ended.stderr


async def test_purposes_are_compared_by_their_bytes(database: Database) -> None:
    # The order of a language passes over punctuation, which purposes are made of.
    async with database.read() as connection:
        collation = await connection.scalar(
            text(
                "SELECT collation_name FROM information_schema.columns"
                " WHERE table_name = 'blocks' AND column_name = 'purpose'"
            )
        )
    assert collation == "C"


def name_of(url: DatabaseUrl) -> str:
    return url.shown.partition("://")[2].partition("/")[2].partition("?")[0]
