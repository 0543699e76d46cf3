"""
Several nodes on one database: who does what, and what a node that lost its lease cannot do.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from oracle import membership
from oracle.errors import LeaseLostError, PoolKeyError
from oracle.membership import LASTS, SharedMembership
from oracle.store import leases
from oracle.store.cursors import put_setting
from oracle.store.leases import POOL, Peer, allowance, to_give_back
from oracle.store.schema import leases as table
from oracle.store.seal import Epoch, EpochFile
from tests.leased import NAMES, Time, TimedDatabase, held, join, seat_of, write, written

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.store.engine import Database

pytestmark = pytest.mark.store


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(membership, "time", SimpleNamespace(monotonic=time.monotonic))
    return time


@pytest.fixture
def shared(database: Database, time: Time) -> TimedDatabase:
    return TimedDatabase(database, time)


async def test_a_node_that_wakes_with_an_old_lease_writes_nothing(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    old = await join(shared, tmp_path / "a")
    assert await old.seat(POOL).enter()
    await write(old, POOL, "old")
    time.now += LASTS + 1
    new = await join(shared, tmp_path / "b")
    assert await new.seat(POOL).enter()
    await write(new, POOL, "new")
    with pytest.raises(LeaseLostError, match="nothing is written"):
        await write(old, POOL, "old again")
    assert await written(shared) == "new"


async def test_what_was_begun_before_another_nodes_term_is_not_written_after_it(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    old = await join(shared, tmp_path / "a", (POOL,))
    assert await old.seat(POOL).enter()
    time.now += LASTS + 1
    new = await join(shared, tmp_path / "b", (POOL,))
    assert await new.seat(POOL).enter()
    await write(new, POOL, "new")
    time.now += LASTS + 1
    await old.beat()
    assert seat_of(old, POOL).held
    # The pass that was begun under the first lease still runs.
    with pytest.raises(LeaseLostError):
        await write(old, POOL, "old again")
    assert await old.seat(POOL).enter()
    await write(old, POOL, "begun anew")
    assert await written(shared) == "begun anew"


async def test_fence_holds_without_a_clock(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    """
    A machine that slept may believe in its lease: the database does not.
    """
    old = await join(shared, tmp_path / "a", (POOL,))
    assert await old.seat(POOL).enter()
    async with shared.write() as tx:
        assert await leases.claim(tx, "another", [POOL], 1, time.now + LASTS, time.now + 9 * LASTS)
    assert seat_of(old, POOL).held
    with pytest.raises(LeaseLostError, match="another node does pool now"):
        await write(old, POOL, "late")
    assert await written(shared) is None


async def test_a_lease_that_nobody_took_goes_on(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    node = await join(shared, tmp_path / "a")
    token = await token_of(shared, POOL)
    time.now += 10 * LASTS
    assert not await node.seat(POOL).enter()
    await node.beat()
    assert await node.seat(POOL).enter()
    assert await token_of(shared, POOL) == token


async def test_work_is_shared_with_a_node_that_joins_and_taken_over_when_it_dies(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    first = await join(shared, tmp_path / "a")
    assert held(first) == set(NAMES)
    second = await join(shared, tmp_path / "b")
    assert held(second) == set()
    for _ in range(4):
        await first.beat()
        for name in NAMES:
            await first.seat(name).enter()
        await second.beat()
        time.now += 1000
    assert (len(held(first)), len(held(second))) == (2, 2)
    assert POOL in held(first)
    time.now += LASTS - 1000
    await first.beat()
    time.now += 1001
    await first.beat()
    assert held(first) == set(NAMES)


async def test_work_of_a_dead_node_is_taken_over_after_the_databases_clock_went_back(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    await join(shared, tmp_path / "dead")
    time.now -= 100 * LASTS
    heir = await join(shared, tmp_path / "heir")
    assert held(heir) == set(NAMES)


async def test_a_lease_that_lives_is_not_taken_by_a_clock_that_is_a_little_behind(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    await join(shared, tmp_path / "a")
    time.now -= LASTS // 2
    newcomer = await join(shared, tmp_path / "b")
    assert held(newcomer) == set()


async def test_a_node_that_leaves_frees_its_work_at_once(
    shared: TimedDatabase, tmp_path: Path
) -> None:
    first = await join(shared, tmp_path / "a")
    second = await join(shared, tmp_path / "b")
    await first._leave()
    await second.beat()
    assert held(second) == set(NAMES)


async def test_work_that_only_one_can_do_stays_with_it(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    first = await join(shared, tmp_path / "a", NAMES[:3])
    await join(shared, tmp_path / "b", (POOL,))
    for _ in range(3):
        await first.beat()
        time.now += 1000
    assert held_of(first, NAMES[:3]) == set(NAMES[:3])
    assert not any(seat_of(first, name).leaving for name in NAMES[:3])


def held_of(node: SharedMembership, names: tuple[str, ...]) -> set[str]:
    return {name for name in names if seat_of(node, name).held}


async def token_of(database: Database, name: str) -> int:
    async with database.read() as connection:
        token = await connection.scalar(select(table.c.token).where(table.c.name == name))
    return int(token or 0)


async def test_a_node_without_an_epoch_file_needs_another_to_vouch_for_the_database(
    shared: TimedDatabase, time: Time, tmp_path: Path
) -> None:
    first = await join(shared, tmp_path / "a")
    async with first.pool.binding(shared):
        pass
    second = await join(shared, tmp_path / "b")
    assert EpochFile(tmp_path / "b").read() == Epoch(1)
    async with second.pool.binding(shared):
        pass
    await first.beat()
    assert EpochFile(tmp_path / "a").read() == Epoch(2)
    time.now += LASTS + 1
    with pytest.raises(PoolKeyError, match=r"write 2 into it"):
        await join(shared, tmp_path / "c")
    (tmp_path / "c").write_text("1", encoding="ascii")
    with pytest.raises(PoolKeyError, match="start one first whose file says 2"):
        await join(shared, tmp_path / "c")


async def test_bindings_of_two_nodes_at_once_have_an_epoch_each(
    shared: TimedDatabase, tmp_path: Path
) -> None:
    nodes = [await join(shared, tmp_path / name) for name in "ab"]

    async def bind(node: SharedMembership) -> None:
        for _ in range(5):
            async with node.pool.binding(shared):
                await asyncio.sleep(0)

    await asyncio.gather(*map(bind, nodes))
    async with shared.read() as connection:
        assert await nodes[0].pool.epochs(connection, vouched=True) == (10, 10)
        assert await nodes[1].pool.epochs(connection, vouched=True) == (10, 10)


async def test_a_database_that_goes_back_under_a_running_node_stops_it(
    shared: TimedDatabase, tmp_path: Path
) -> None:
    node = await join(shared, tmp_path / "a")
    for _ in range(2):
        async with node.pool.binding(shared):
            pass
    async with shared.write() as tx:
        await put_setting(tx, "pool_epoch", "1")
    with pytest.raises(PoolKeyError, match="went back from epoch 2 to 1"):
        await node.beat()


def test_two_nodes_cannot_share_an_epoch_file(tmp_path: Path) -> None:
    EpochFile(tmp_path / "epoch").hold()
    with pytest.raises(PoolKeyError, match="give every node one of its own"):
        EpochFile(tmp_path / "epoch").hold()


def peer(wants: str, has: str = "", id_: str = "p") -> Peer:
    return Peer(id=id_, wants=frozenset(wants), held=frozenset(has))


def test_work_goes_where_there_is_less() -> None:
    assert allowance("abc", []) == 3
    assert allowance("abc", [peer("xyz")]) == 3
    assert allowance("abc", [peer("abc")]) == 2
    assert to_give_back("abc", "abc", []) is None
    assert to_give_back("abc", "abc", [peer("ab")]) == "b"
    assert to_give_back("ab", "abc", [peer("abc", "c")]) is None
    assert to_give_back("abc", "abc", [peer("abc", "xy")]) is None
    assert to_give_back([POOL, "a"], [POOL, "a"], [peer("a")]) == "a"
