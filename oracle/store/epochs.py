"""
The epoch: a counter in a file and in the database, by which a restored backup is told from the
original, and from what a crash left.

Where several nodes share a database, each has a file of its own, which follows the database.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oracle.errors import PoolKeyError
from oracle.faults import fault_point
from oracle.store.cursors import drop_setting, get_setting, put_setting, settings_under

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.engine import Database
    from oracle.store.seal import EpochFile

_EPOCH = "pool_epoch"
# An epoch that is coming, by the mark that its file gets meanwhile: from before the file is
# advanced until something is bound.
_INTENT = "pool_epoch_intent:"
# The epoch at which the database was last found to be a restored backup.
RESTORED = "restored_epoch"


class Epochs:
    """
    The two counters of a pool.

    Guarantees: a file is ahead of every binding of its node, so that every earlier copy of the
    database is behind it; while the file holds a mark, nothing that was bound under it has been
    used.
    """

    def __init__(self, file: EpochFile) -> None:
        self._file = file
        self._binding = asyncio.Lock()
        # Whether a binding has used up what was prepared.
        self._used_up = False

    async def compare(
        self, connection: AsyncConnection, *, vouched: bool = False
    ) -> tuple[int, int]:
        """
        Return the epochs of the file and of the database; a restored backup is behind its file.
        A file that a crash left one ahead, with this database's mark, counts as not advanced.
        A file that is behind counts as advanced where another node, which lives, has `vouched` for
        the database.

        Raises `PoolKeyError` when the file is not the database's.
        """
        stored = int(await get_setting(connection, _EPOCH) or 0)
        written = self._file.read()
        if (written is None or written.number < stored) and vouched:
            return stored, stored
        if written is None and stored:
            raise PoolKeyError(
                "the epoch file beside the pool key is missing, so a restored backup could not be "
                f"told from the original: put it back, or write {stored} into it if this database "
                "is the original"
            )
        if written is None:
            return 0, 0
        if written.number < stored:
            raise PoolKeyError(
                f"the epoch file says {written.number} and the database {stored}: the file is an "
                "old copy, put the right one beside the pool key; or, where several nodes share "
                f"the database, start one first whose file says {stored}, and if there is none "
                f"left and the database is no restored backup, write {stored} into this one"
            )
        if written.mark is not None and written.number == stored + 1:
            known = await get_setting(connection, _INTENT + written.mark)
            if known == str(written.number):
                return stored, stored
        return written.number, stored

    async def note_restored(self, tx: AsyncConnection, reached: int) -> None:
        """
        Bring a database that is a restored backup to the epoch of the file, and remember that.
        """
        await put_setting(tx, _EPOCH, str(reached))
        await put_setting(tx, RESTORED, str(reached))
        await _drop_intents(tx, reached)

    async def begin_anew(self, database: Database) -> None:
        """
        Bring the file past every database that there was, and an empty one up to it.
        """
        written = self._file.read()
        reached = 1 if written is None else written.number + 1
        await asyncio.to_thread(self._file.write, reached)
        async with database.write() as tx:
            await self.note_restored(tx, reached)

    async def finish(self, reached: int) -> None:
        """
        Take the mark off a file that a crash after a binding left with it, and bring one that is
        behind to the database's epoch.
        """
        written = self._file.read()
        behind = reached > 0 if written is None else written.number < reached
        marked = written is not None and written.mark is not None and written.number == reached
        if behind or marked:
            await asyncio.to_thread(self._file.write, reached)

    async def follow(self, database: Database) -> None:
        """
        Bring the file to the epoch that other nodes have reached.

        Raises `PoolKeyError` when the database has fallen behind the file: a backup was restored
        under the running nodes, or a standby took over that lacked what was acknowledged.
        """
        if self._binding.locked():
            return
        async with self._binding:
            async with database.read() as connection:
                reached, stored = await self.compare(connection, vouched=True)
            if reached > stored:
                raise PoolKeyError(
                    f"the database went back from epoch {reached} to {stored} while this node "
                    "ran: it was restored, or a standby took over that lacked acknowledged "
                    "writes; start the node again, and it treats it as a restored backup"
                )
            await self.finish(reached)

    @asynccontextmanager
    async def binding(self, database: Database) -> AsyncIterator[AsyncConnection]:
        """
        Yield the transaction in which blocks get their purposes: one at a time, each with an epoch
        of its own.
        """
        async with self._binding:
            while True:
                number = await self._advance(database)
                fault_point("epoch-advanced")
                self._used_up = True
                async with database.write() as tx:
                    if int(await get_setting(tx, _EPOCH) or 0) != number - 1:
                        # Another node was faster: this epoch is its.
                        continue
                    await put_setting(tx, _EPOCH, str(number))
                    await _drop_intents(tx, number)
                    yield tx
                break
            fault_point("epoch-bound")
            # Whoever is cancelled here must not leave it undone.
            await asyncio.shield(asyncio.to_thread(self._file.write, number))

    async def prepare(self, database: Database) -> None:
        """
        Do what can be done of the next binding after one, so that it takes less time. What happens
        in between happens as if that binding had been cut off there.

        Does nothing where nodes share the database: another one may bind first, and of two files
        that are as far ahead only one tells that a backup was restored.
        """
        if not self._used_up or self._binding.locked() or database.is_shared:
            return
        async with self._binding:
            await self._advance(database)
            fault_point("epoch-advanced")
            self._used_up = False

    async def _advance(self, database: Database) -> int:
        """
        Bring the file to the epoch that comes, unless that was done already: for a binding that
        failed, or for this one; return the epoch.
        """
        written = self._file.read()
        if written is not None and written.mark is not None:
            async with database.read() as connection:
                stored = int(await get_setting(connection, _EPOCH) or 0)
                known = await get_setting(connection, _INTENT + written.mark)
            if written.number == stored + 1 and known == str(written.number):
                fault_point("epoch-intended")
                return written.number
        async with database.write() as tx:
            number = int(await get_setting(tx, _EPOCH) or 0) + 1
            mark = secrets.token_hex(16)
            await put_setting(tx, _INTENT + mark, str(number))
        fault_point("epoch-intended")
        await asyncio.to_thread(self._file.write, number, mark)
        return number


async def _drop_intents(tx: AsyncConnection, reached: int) -> None:
    """
    Forget the epochs that were to come and have passed, whoever meant them.
    """
    for name, value in (await settings_under(tx, _INTENT)).items():
        if int(value) <= reached:
            await drop_setting(tx, name)
