"""
The power fails at any moment of a life: what is on the disk then starts cleanly, and loses and
repeats nothing; and what goes wrong where less is on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oracle.steps import send
from tests.databases import on_sqlite
from tests.factories import REQUESTER
from tests.model_faults import Crash, Disk, Tripwire, without_threads
from tests.model_life import Living
from tests.model_node import DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oracle.store.engine import Database

pytestmark = pytest.mark.store

# Every so many points the power fails, in a life of its own; the machine meets the others.
STRIDE = 12
# More points than a life has.
NEVER = 1 << 30
# What SQLite calls `synchronous = FULL`.
FULL = 2


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    with without_threads():
        yield


def live(dies_at: int, prepare: Callable[[Living], object] = bool) -> bool:
    """
    Tell the life of two requests from their logs to their ends, with a power cut after so many
    points, and the calm end that every life has to have; return whether it came that far.
    """
    life = Living()
    died = False

    async def pass_through() -> None:
        nonlocal died
        track = life.tracks[0]
        for _ in range(2):
            life.queue(track, REQUESTER)
        life.node.tripwire.left = dies_at
        for _ in range(2 * DEPTH + 4):
            track.chain.mine()
            try:
                await life.pass_of(track)
            except Crash:
                died = True
                await life.node.crash()
            await life.watcher.check_store()
        life.node.tripwire.left = None

    try:
        life.begin(shared=False)
        prepare(life)
        life.loop.run(pass_through())
    finally:
        life.teardown()
    return died


def test_a_power_cut_at_any_point_of_a_life_loses_nothing_and_repeats_nothing() -> None:
    points = 1
    while live(points):
        points += STRIDE
    assert points > 10 * STRIDE, "the life has become too short to show anything"


class Forgetful(Disk):
    """
    A disk that has not got the last commit yet, as with `synchronous = NORMAL`, when the power
    fails right after the first bytes have left.
    """

    def watch(self, tripwire: Tripwire, patch: pytest.MonkeyPatch) -> None:
        failed = False

        def passed(name: str) -> None:
            nonlocal failed
            if name == "before a commit":
                self.cut_power()
            elif name == "broadcast" and not failed:
                failed = True
                raise Crash(name)

        patch.setattr(tripwire, "point", passed)


def test_a_disk_that_loses_the_last_commit_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(life: Living) -> None:
        life.node.disk = disk = Forgetful(life.folder)
        disk.watch(life.node.tripwire, monkeypatch)

    with pytest.raises(AssertionError, match="bytes have left, and the store does not know it"):
        live(NEVER, forget)


def test_bytes_that_leave_before_they_are_written_down_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = send._empty

    async def hasty(service: Any, outbox: Any, head: Any) -> None:
        for queue in outbox.by_wallet.values():
            await send._broadcast(service, queue)
        await empty(service, outbox, head)

    monkeypatch.setattr(send, "_empty", hasty)
    with pytest.raises(AssertionError, match="bytes leave before it is written down"):
        live(NEVER)


@on_sqlite
async def test_what_a_node_commits_is_synced_before_it_acts(database: Database) -> None:
    async with database.write() as tx:
        assert (await tx.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await tx.exec_driver_sql("PRAGMA synchronous")).scalar() == FULL
