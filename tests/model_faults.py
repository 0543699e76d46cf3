"""
Where a node can die in the middle of what it does, without its process.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import aiosqlite.core
import pytest
from sqlalchemy import event

from oracle import faults
from oracle.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path
    from queue import SimpleQueue

    from sqlalchemy.ext.asyncio import AsyncConnection


class Crash(BaseException):
    """
    The process dies here.
    """


class Tripwire:
    """
    Counts the points at which a process can die, and lets it die at one of them.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        #: Told at the moment of a death, before anything of the process comes to its end.
        self.died: Callable[[], object] = bool

    def point(self, name: str) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            self.died()
            raise Crash(name)


class Disk:
    """
    What a folder's files hold at the moment of a power cut: every commit so far, since each is
    synced before anything acts on it, and none of what closing the files would have done.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, bytes] = {}

    def cut_power(self) -> None:
        """
        Keep the files as they are now.
        """
        self.files = {path.name: path.read_bytes() for path in self._folder.iterdir()}

    def is_cut(self) -> bool:
        return bool(self.files)

    def start(self) -> None:
        """
        Give the files back as the next process finds them: without the shared memory of SQLite,
        which no disk holds, and with a frame that was being written behind its log.
        """
        for path in self._folder.iterdir():
            path.unlink()
        for name, content in self.files.items():
            if not name.endswith("-shm"):
                (self._folder / name).write_bytes(content)
        self.files.clear()
        tear_log(self._folder)


def tear_log(folder: Path) -> None:
    """
    Leave half a frame behind the write-ahead log of a folder's database, as a power cut in the
    middle of writing does.
    """
    for path in folder.glob("*.db-wal"):
        with path.open("ab") as file:
            file.write(bytes(range(256)) * 9)


class Points(dict[str, int]):
    """
    In place of the armed fault points: every point that is passed trips the wire.
    """

    def __init__(self, tripwire: Tripwire) -> None:
        super().__init__()
        self._tripwire = tripwire

    def __contains__(self, name: object) -> bool:
        self._tripwire.point(str(name))
        return False


class FragileDatabase(SqliteDatabase):
    """
    A store whose process can die right before and right after every commit.
    """

    tripwire: Tripwire

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        # What was written is read back from memory: nothing here cuts the power of a real disk.
        event.listen(self._engine.sync_engine, "connect", _without_sync)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with super().write() as tx:
            yield tx
            self.tripwire.point("before a commit")
        self.tripwire.point("after a commit")


class Inline:
    """
    In place of the queue of aiosqlite's thread: what is asked of the database is done at once.

    A pass has some hundred statements, and takes half the time without two threads that wake each
    other.
    """

    def __init__(self, queue: SimpleQueue[Any]) -> None:
        self._queue = queue

    def put_nowait(self, asked: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, do = asked
        try:
            result = do()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            if future is not None:
                future.set_exception(error)
            return
        if future is not None:
            future.set_result(result)
        if result is aiosqlite.core._STOP_RUNNING_SENTINEL:
            self._queue.put_nowait((None, lambda: result))


@contextmanager
def without_threads() -> Iterator[None]:
    """
    Let SQLite run in the caller's thread.
    """
    made = aiosqlite.core.Connection.__init__

    def make(self: aiosqlite.core.Connection, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self._tx = Inline(self._tx)  # type: ignore[assignment]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiosqlite.core.Connection, "__init__", make)
        yield


def _without_sync(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF").close()


@contextmanager
def tripped_at_fault_points(tripwire: Tripwire) -> Iterator[None]:
    """
    Let every fault point trip the wire.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "_armed", Points(tripwire))
        yield
