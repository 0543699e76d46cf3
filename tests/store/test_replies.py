from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from oracle.errors import ConfigError, InvariantError
from oracle.store import clients
from oracle.store.pool import Pool
from oracle.store.replies import Replies
from oracle.store.schema import blocks, gateway_clients
from tests.databases import Copy, content_of
from tests.factories import CHAIN_ID, COORDINATOR, make_block, make_seed

if TYPE_CHECKING:
    from oracle.store.engine import Database
    from oracle.store.replies import ReservedBlock
    from oracle.store.seal import EpochFile, PoolKey

pytestmark = pytest.mark.store


@pytest.fixture
async def replies(database: Database, pool: Pool) -> Replies:
    """
    The replies of a pool of 600 blocks.
    """
    async with database.write() as tx:
        await pool.add(tx, [make_block(number) for number in range(600)])
    return Replies(database, pool)


async def spend(
    database: Database, replies: Replies, reply: str, reserved: list[ReservedBlock]
) -> bytes:
    async with database.write() as tx:
        await replies.spend(tx, [(reply, reserved)])
    return replies.open(reserved)


async def fresh(database: Database, pool: Pool) -> int:
    async with database.read() as connection:
        return await pool.fresh(connection)


async def test_oldest_blocks_are_spent_first_and_leave_no_ciphertext(
    database: Database, pool: Pool, replies: Replies
) -> None:
    reserved = await replies.reserve(3)
    async with database.read() as connection:
        before = list(await connection.scalars(select(blocks.c.ciphertext).limit(10**6)))
    assert await spend(database, replies, "a", reserved) == b"".join(map(make_seed, range(3)))
    await pool.wipe(database)
    content = await content_of(database)
    gone = [one for one in before if one not in content]
    assert len(gone) == 3
    assert await fresh(database, pool) == 597


async def test_reservation_takes_what_there_is(
    database: Database, pool: Pool, replies: Replies
) -> None:
    assert len(await replies.reserve(1_000)) == 600
    assert await replies.reserve(1) == []
    assert await fresh(database, pool) == 0


async def test_block_is_never_spent_twice(database: Database, replies: Replies) -> None:
    reserved = await replies.reserve(4)
    await spend(database, replies, "a", reserved[:2])
    with pytest.raises(InvariantError):
        await spend(database, replies, "b", reserved[1:3])
    # The one that was still there stays unspent: the transaction did not commit.
    assert await spend(database, replies, "c", reserved[2:]) == make_seed(2) + make_seed(3)


async def test_one_reply_has_each_place_once(database: Database, replies: Replies) -> None:
    reserved = await replies.reserve(2)
    await spend(database, replies, "a", reserved[:1])
    with pytest.raises(IntegrityError):
        await spend(database, replies, "a", reserved[1:])


async def test_reserved_blocks_are_no_seeds(
    database: Database, pool: Pool, replies: Replies
) -> None:
    await replies.reserve(300)
    seeds = await pool.bind(database, CHAIN_ID, COORDINATOR, range(256))
    assert seeds == [make_seed(number) for number in range(300, 556)]


async def test_what_a_dead_process_reserved_is_destroyed_and_nothing_else(
    database: Database, pool: Pool, replies: Replies, key: PoolKey, epoch: EpochFile
) -> None:
    reserved = await replies.reserve(10)
    await spend(database, replies, "a", reserved[:4])
    again = Pool(key, epoch)
    assert await again.unlock(database) == 0
    after = Replies(database, again)
    assert await after.drop_reserved() == 6
    assert await after.drop_reserved() == 0
    with pytest.raises(InvariantError):
        await spend(database, after, "b", reserved[4:])
    assert await fresh(database, again) == 590


async def test_restored_backup_serves_nothing_that_the_original_served(
    database: Database,
    replies: Replies,
    key: PoolKey,
    epoch: EpochFile,
    copied: Copy,
) -> None:
    await replies.reserve(4)
    backup = await copied(database)
    await replies.reserve(10)
    restored = Pool(key, epoch)
    assert await restored.unlock(backup) == 596
    assert await Replies(backup, restored).drop_reserved() == 4
    assert await fresh(backup, restored) == 0


async def test_simulated_blocks_are_noticed_until_they_are_gone(
    database: Database, pool: Pool
) -> None:
    replies = Replies(database, pool)
    async with database.write() as tx:
        await pool.add(tx, [replace(make_block(1), simulated=False)])
    assert not await replies.hold_simulated()
    async with database.write() as tx:
        await pool.add(tx, [make_block(0)])
    assert await replies.hold_simulated()
    await spend(database, replies, "a", await replies.reserve(1))
    assert not await replies.hold_simulated()


async def test_key_is_not_in_the_database_and_is_known_by_its_digest(database: Database) -> None:
    async with database.write() as tx:
        key = await clients.create(
            tx, "ci", ["anu", "qci"], rate=clients.Rate(30, 10), quota_bytes=1000
        )
    assert key is not None
    assert len(key) >= 43
    content = await content_of(database)
    assert key.encode() not in content
    async with database.read() as connection:
        known = await clients.by_digest(connection)
    client = known[clients.digest_of(key)]
    assert (client.name, client.scopes) == ("ci", frozenset({"anu", "qci"}))
    assert (client.rate, client.quota_bytes) == (clients.Rate(30, 10), 1000)


async def test_name_is_free_again_once_its_client_is_revoked(database: Database) -> None:
    async with database.write() as tx:
        first = await clients.create(tx, "ci", ["anu"], rate=None, quota_bytes=None)
    with pytest.raises(ConfigError, match="already"):
        async with database.write() as tx:
            await clients.create(tx, "ci", ["anu"], rate=None, quota_bytes=None)
    async with database.write() as tx:
        await clients.revoke(tx, "ci")
        second = await clients.create(tx, "ci", ["anu"], rate=None, quota_bytes=None)
    async with database.write() as tx:
        known = await clients.by_digest(tx)
        assert set(known) == {clients.digest_of(second or "")}
        assert len(await clients.everyone(tx)) == 2
    assert first != second
    with pytest.raises(ConfigError, match="no client"):
        async with database.write() as tx:
            await clients.revoke(tx, "nobody")


async def test_anonymous_has_no_key_and_no_other_client_lacks_one(database: Database) -> None:
    async with database.write() as tx:
        key = await clients.create(tx, "anonymous", ["anu"], rate=None, quota_bytes=None)
        assert key is None
        assert (await clients.by_digest(tx))[None].anonymous
    with pytest.raises(IntegrityError):
        async with database.write() as tx:
            await tx.execute(gateway_clients.insert().values(name="x", scopes="anu", created_at=0))


async def test_usage_adds_up_by_day(database: Database) -> None:
    async with database.write() as tx:
        await clients.create(tx, "ci", ["anu"], rate=None, quota_bytes=None)
        [client] = await clients.everyone(tx)
        for day, n_bytes in (((4, 30), 7), ((5, 1), 10), ((5, 1), 5), ((5, 31), 1)):
            await clients.debit(tx, client.id, date(2026, *day), requests=1, n_bytes=n_bytes)
        assert await clients.drawn_since(tx, date(2026, 5, 1)) == {client.id: 16}
        assert await clients.drawn_by(tx, client.id, date(2026, 4, 30), date(2026, 5, 30)) == 22
        assert await clients.drawn_by(tx, client.id, date(2025, 1, 1), date(2025, 2, 1)) == 0
