"""
Nodes that share a database, in any order of misfortunes.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

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
from oracle.errors import DatabaseUnavailableError, LeaseLostError
from oracle.membership import LASTS, SharedMembership
from oracle.store.engine import Access, Database
from oracle.store.schema import leases as table
from tests.leased import NAMES, Time, TimedDatabase, held, join, seat_of, write
from tests.model_faults import without_threads

pytestmark = pytest.mark.store


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
