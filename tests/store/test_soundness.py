"""
Rows that something else than a node has changed: it stops, names the table, and sends nothing.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from oracle.errors import InvariantError, PoolKeyError
from tests.factories import REQUESTER
from tests.model_faults import Crash, without_threads
from tests.model_life import Living
from tests.model_node import DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.store


class Life(Living):
    """
    A life with a death at a named point, whose files are changed before the next start.
    """

    def die_at(self, point: str) -> None:
        """
        Let a request come as far as a fault point, and the process die there.
        """
        track, tripwire = self.tracks[0], self.node.tripwire

        def passed(name: str) -> None:
            if name == point:
                raise Crash(name)

        async def walk() -> None:
            for _ in range(DEPTH + 4):
                track.chain.mine()
                await self.pass_of(track)

        self.queue(track, REQUESTER)
        reached, tripwire.point = tripwire.point, passed  # type: ignore[method-assign]
        with pytest.raises(Crash, match=point):
            self.loop.run(walk())
        tripwire.point = reached  # type: ignore[method-assign]
        self.loop.run(self.node.stop())

    def change(self, statement: str) -> None:
        with sqlite3.connect(self.folder / "oracle.db") as store:
            # A disk asks no constraint.
            store.execute("PRAGMA ignore_check_constraints = ON")
            assert store.execute(statement).rowcount > 0
        store.close()

    def start(self) -> None:
        self.loop.run(self.node.start())

    def go_on(self) -> None:
        self.loop.run(self.one_pass(self.tracks[0]))


@pytest.fixture
def life() -> Iterator[Life]:
    with without_threads():
        life = Life()
        life.begin(shared=False)
        yield life
        life.teardown()


@pytest.fixture
def undone(life: Life) -> Callable[[str, str], bytes]:
    """
    Die at a point and change the store; return what it was before.
    """

    def change(point: str, statement: str) -> bytes:
        life.die_at(point)
        before = (life.folder / "oracle.db").read_bytes()
        life.change(statement)
        return before

    return change


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("requests", "UPDATE requests SET state = 'signed'"),
        ("requests", "UPDATE requests SET state = 'confirmed'"),
        ("requests", "UPDATE requests SET state = 'sont'"),
        ("requests", "UPDATE requests SET transaction_id = NULL"),
        ("requests", "DELETE FROM request_events"),
        ("request_events", "UPDATE request_events SET before = 'done' WHERE before = 'drawn'"),
        ("request_events", "UPDATE request_events SET before = NULL WHERE before = 'drawn'"),
        ("attempts", "DELETE FROM attempts WHERE ciphertext IS NOT NULL"),
        ("attempts", "UPDATE attempts SET ciphertext = NULL WHERE ciphertext IS NOT NULL"),
        ("attempts", "UPDATE attempts SET sent_block = NULL"),
    ],
)
def test_a_node_does_not_start_on_rows_that_contradict_each_other(
    life: Life, undone: Callable[[str, str], bytes], table: str, statement: str
) -> None:
    before = undone("sent-recorded", statement)
    with pytest.raises(InvariantError, match=rf"the table {table} is damaged: .*`oracle recover`"):
        life.start()
    assert life.watcher.left == set()
    life.loop.run(life.node.stop())
    # The backup of a moment before is good.
    (life.folder / "oracle.db").write_bytes(before)
    life.start()


@pytest.mark.parametrize(
    ("point", "table", "statement"),
    [
        (
            "sent-recorded",
            "attempts",
            "UPDATE attempts SET ciphertext = zeroblob(200) WHERE ciphertext IS NOT NULL",
        ),
        (
            "confirmed",
            "blocks",
            "UPDATE blocks SET ciphertext = zeroblob(48) WHERE purpose IS NOT NULL",
        ),
        ("confirmed", "blocks", "UPDATE blocks SET sources = 'other'"),
    ],
)
def test_a_node_stops_at_a_record_that_was_changed(
    life: Life, undone: Callable[[str, str], bytes], point: str, table: str, statement: str
) -> None:
    before = undone(point, statement)
    life.start()
    with pytest.raises(PoolKeyError, match=rf"the table {table} .*`oracle recover`"):
        life.go_on()
    assert life.watcher.left == set()
    life.loop.run(life.node.stop())
    (life.folder / "oracle.db").write_bytes(before)
    life.start()


def test_a_node_stops_when_bytes_vanish_under_it(
    life: Life, undone: Callable[[str, str], bytes]
) -> None:
    before = undone("sent-recorded", "UPDATE settings SET value = value")
    life.start()
    life.change("DELETE FROM attempts WHERE ciphertext IS NOT NULL")
    with pytest.raises(InvariantError, match="the table attempts is damaged"):
        life.go_on()
    life.loop.run(life.node.stop())
    (life.folder / "oracle.db").write_bytes(before)
    life.start()
