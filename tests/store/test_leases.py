"""
Several nodes on one database: who does what, and what a node that lost its lease cannot do.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from oracle import membership
from oracle.errors import DatabaseUnavailableError, LeaseLostError, PoolKeyError
from oracle.membership import LASTS, Leased, SharedMembership
from oracle.store import leases
from oracle.store.cursors import get_setting, put_setting
from oracle.store.engine import Access, Database
from oracle.store.fenced import FencedDatabase
from oracle.store.leases import POOL, Peer, allowance, to_give_back
from oracle.store.pool import Pool
from oracle.store.schema import leases as table
from oracle.store.seal import Epoch, EpochFile, PoolKey
from tests.model_faults import without_threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

pytestmark = pytest.mark.store

NAMES = ("native:1:0xaa", "native:2:0xbb", "airnode:1:0xcc", POOL)


class Time:
    """
    The time of the database and of every node, in milliseconds.
    """

    now = 1_000_000

    def monotonic(self) -> float:
        return self.now / 1000


class TimedDatabase(FencedDatabase):
    """
    A database whose clock is the test's, and that can be out of reach.
    """

    def __init__(self, database: Database, time: Time) -> None:
        super().__init__(database, self._pass)
        self.time = time
        self.down = False

    async def _pass(self, _: AsyncConnection) -> None:
        return

    async def clock(self, connection: AsyncConnection) -> int:
        del connection
        return self.time.now

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[AsyncConnection]:
        self._reach()
        async with super().claim() as tx:
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        self._reach()
        async with super().read() as connection:
            yield connection

    def _reach(self) -> None:
        if self.down:
            raise DatabaseUnavailableError("down")


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(membership, "time", SimpleNamespace(monotonic=time.monotonic))
    return time


@pytest.fixture
def shared(database: Database, time: Time) -> TimedDatabase:
    return TimedDatabase(database, time)


async def join(
    database: Database, epoch: Path, names: tuple[str, ...] = NAMES
) -> SharedMembership:
    pool = Pool(PoolKey(bytes(32)), EpochFile(epoch))
    node = SharedMembership(database, pool)
    await pool.unlock(database, vouched=await node.is_vouched())
    for name in names:
        node.seat(name)
    async with database.write() as tx:
        await leases.register(tx, names)
    await node.beat()
    return node


def held(node: SharedMembership) -> set[str]:
    return {name for name in NAMES if (seat := seat_of(node, name)).held and not seat.leaving}


def seat_of(node: SharedMembership, name: str) -> Leased:
    seat = node.seat(name)
    assert isinstance(seat, Leased)
    return seat


async def write(node: SharedMembership, name: str, text: str) -> None:
    async with node.seat(name).database.write() as tx:
        await put_setting(tx, "work", text)


async def written(database: Database) -> str | None:
    async with database.read() as connection:
        return await get_setting(connection, "work")


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


@dataclass
class Process:
    """
    A node of the machine: what it entered last, by name of the seat.
    """

    membership: SharedMembership
    epoch: Path
    paused: bool = False
    entered: dict[str, int] = field(default_factory=dict)


nodes = st.integers(0, 3)
names = st.sampled_from(NAMES)


class Nodes(RuleBasedStateMachine):
    """
    Nodes that start, die, pause, lose the database and come back, in any order.

    The rules: one node at most believes in a lease; a write lands only under the newest token, by
    the node that it was given to, for work that was begun under it; what lives takes over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.loop = asyncio.Runner()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.time = Time()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(membership, "time", SimpleNamespace(monotonic=self.time.monotonic))
        self.processes: dict[int, Process] = {}
        self.started = 0
        #: By name: the token and node of the last write.
        self.last: dict[str, tuple[int, str]] = {}

    @initialize()
    def begin(self) -> None:
        self.file = self.loop.run(Database.open(self.folder / "oracle.db", Access.NODE))
        self.database = TimedDatabase(self.file, self.time)
        self.start(0)

    def teardown(self) -> None:
        failed = sys.exc_info()[1] is not None
        try:
            if not failed and hasattr(self, "database"):
                self.loop.run(self.calm())
        finally:
            if hasattr(self, "database"):
                self.loop.run(self.file.close())
            self.stack.close()
            self.loop.close()

    @rule(which=nodes)
    def start(self, which: int) -> None:
        if which in self.processes or self.database.down:
            return
        # Whoever is new on a machine of its own has no epoch file; nothing is bound here.
        self.started += 1
        epoch = self.folder / f"epoch-{self.started}"
        node = self.loop.run(join(self.database, epoch))
        self.processes[which] = Process(node, epoch)

    @rule(which=nodes)
    def kill(self, which: int) -> None:
        self.processes.pop(which, None)

    @precondition(lambda self: not self.database.down)
    @rule(which=nodes)
    def leave(self, which: int) -> None:
        process = self.processes.get(which)
        if process is not None and not process.paused:
            self.loop.run(process.membership._leave())
            del self.processes[which]

    @rule(which=nodes)
    def pause(self, which: int) -> None:
        if which in self.processes:
            self.processes[which].paused ^= True

    @rule()
    def lose_database(self) -> None:
        self.database.down = not self.database.down

    @rule(ms=st.one_of(st.integers(1, 1500), st.integers(1, 2 * LASTS)))
    def pass_time(self, ms: int) -> None:
        self.time.now += ms

    @rule(which=nodes)
    def beat(self, which: int) -> None:
        process = self.processes.get(which)
        if process is None or process.paused:
            return
        try:
            self.loop.run(process.membership.beat())
        except DatabaseUnavailableError:
            assert self.database.down

    @rule(which=nodes, name=names)
    def enter(self, which: int, name: str) -> None:
        process = self.processes.get(which)
        if process is None or process.paused:
            return
        try:
            entered = self.loop.run(process.membership.seat(name).enter())
        except DatabaseUnavailableError:
            return
        if entered:
            seat = seat_of(process.membership, name)
            assert seat._entered is not None
            process.entered[name] = seat._entered.token

    @rule(which=nodes, name=names)
    def write(self, which: int, name: str) -> None:
        """
        Paused or not: a process can be woken in the middle of a pass.
        """
        process = self.processes.get(which)
        if process is None or self.database.down:
            return
        token, holder = self.loop.run(self.row(name))
        may = (token, holder) == (process.entered.get(name), process.membership.node)
        try:
            self.loop.run(write(process.membership, name, process.membership.node))
        except LeaseLostError:
            return
        assert may, "a write under a lease that is somebody else's"
        before = self.last.get(name, (0, ""))
        assert before[0] < token or before == (token, holder)
        self.last[name] = (token, holder)

    @invariant()
    def one_believes(self) -> None:
        for name in NAMES:
            believing = [
                which
                for which, process in self.processes.items()
                if seat_of(process.membership, name).held
            ]
            assert len(believing) <= 1, f"{believing} all hold {name}"

    async def row(self, name: str) -> tuple[int, str]:
        async with self.database.read() as connection:
            row = (
                await connection.execute(
                    select(table.c.token, table.c.holder).where(table.c.name == name)
                )
            ).one()
        return row.token, row.holder

    async def calm(self) -> None:
        self.database.down = False
        for process in self.processes.values():
            process.paused = False
        if not self.processes:
            self.processes[0] = Process(
                await join(self.database, self.folder / "calm"), self.folder / "calm"
            )
        self.time.now += 1
        living = [process.membership for process in self.processes.values()]
        # The dead are missed after two terms; then work moves one piece a beat.
        for _ in range(3 * LASTS // 1500 + 2 * len(NAMES)):
            for node in living:
                await node.beat()
                for name in NAMES:
                    await node.seat(name).enter()
            self.time.now += 1500
        for node in living:
            await node.beat()
        shares = [len(held(node)) for node in living]
        assert sum(shares) == len(NAMES), "work that nobody does"
        assert max(shares) <= -(-len(NAMES) // len(living)), "work that is not shared"


def test_one_node_at_a_time_whatever_happens() -> None:
    with without_threads():
        run_state_machine_as_test(
            Nodes,
            settings=settings(
                max_examples=20,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
