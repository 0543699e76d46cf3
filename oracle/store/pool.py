"""
The durable pool of entropy: encrypted, every block bound to one purpose, erased after use.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, update

from oracle.errors import PoolError, PoolLowError, SeedGoneError
from oracle.store.closing import closed_seeds
from oracle.store.cursors import get_setting, put_setting
from oracle.store.engine import now
from oracle.store.epochs import Epochs
from oracle.store.lineage import KEY_CHECK, inherit_digests, wrong_key
from oracle.store.reveals import add_reveals, open_reveals, reveal_of
from oracle.store.schema import blocks, reveals
from oracle.store.seed_blocks import SeedBlock, add_blocks, native_purpose, open_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.engine import Database
    from oracle.store.seal import EpochFile, PoolKey

_IS_FRESH = (blocks.c.purpose.is_(None), blocks.c.ciphertext.is_not(None))
_COUNT_FRESH = select(func.count()).select_from(blocks).where(*_IS_FRESH)
_OLDEST_FRESH = (
    select(blocks.c.id)
    .where(*_IS_FRESH)
    .order_by(blocks.c.received_at, blocks.c.id)
    .limit(bindparam("many"))
)
_BIND = (
    update(blocks)
    .where(blocks.c.id == bindparam("block_id"), blocks.c.purpose.is_(None))
    .values(purpose=bindparam("use"))
)
_BOUND_AMONG = select(blocks.c.purpose).where(
    blocks.c.purpose.in_(bindparam("purposes", expanding=True))
)


class Pool:
    """
    Entropy that waits for its use.

    Guarantees: a block serves one purpose, ever, through crashes and restored backups; nothing is
    in the database in clear; an erased block is in no file of the database once `Database.wipe`
    has returned true.

    Does not: draw or mix entropy; know what a purpose is good for.
    """

    def __init__(self, key: PoolKey, epoch: EpochFile) -> None:
        self.key = key
        self._epoch = epoch
        self._epochs = Epochs(epoch)
        # What was erased lives on in the write-ahead log until it is truncated: at the start
        # nobody knows.
        self._unwiped = True

    def note_erasure(self) -> None:
        """
        Have the next `wipe` truncate the log: something secret was erased elsewhere.
        """
        self._unwiped = True

    async def wipe(self, database: Database) -> None:
        """
        Make what was erased vanish from the files; what a reader holds up is tried again at the
        next call.
        """
        if self._unwiped and await database.wipe():
            self._unwiped = False

    async def unlock(self, database: Database, *, vouched: bool = False) -> int:
        """
        Check the key and the epoch; return how many blocks had to be dropped because of a restored
        backup. With `vouched`, other nodes live that know the database, and an epoch file that is
        behind follows it.

        Raises `PoolKeyError` when the database was written with another key.
        """
        dropped = 0
        async with database.write() as tx:
            reached, stored = await self.epochs(tx, vouched=vouched)
            if await get_setting(tx, KEY_CHECK) is None:
                await put_setting(tx, KEY_CHECK, self.key.check_value())
            await inherit_digests(tx, self.key)
            if reached != stored:
                # A backup. What is bound has its purpose in every copy of this database and may
                # keep it; what looks fresh here may have been used by the original.
                gone = await tx.execute(
                    update(blocks)
                    .where(blocks.c.purpose.is_(None), blocks.c.ciphertext.is_not(None))
                    .values(ciphertext=None, destroyed_at=now())
                )
                dropped = gone.rowcount
                await self._epochs.note_restored(tx, reached)
        await self._epochs.finish(reached)
        return dropped

    async def begin_anew(self, database: Database) -> None:
        """
        Begin a database in the place of one that was lost: it counts as restored from a backup
        that held nothing, and the lost one, if it is found, as a backup of it.
        """
        async with database.write() as tx:
            await put_setting(tx, KEY_CHECK, self.key.check_value())
        await self._epochs.begin_anew(database)

    async def follow(self, database: Database) -> None:
        """
        Keep up with the epochs of other nodes, see `Epochs.follow`.
        """
        await self._epochs.follow(database)

    async def prepare(self, database: Database) -> None:
        """
        Have the next binding wait for less, see `Epochs.prepare`.
        """
        await self._epochs.prepare(database)

    async def epochs(
        self, connection: AsyncConnection, *, vouched: bool = False
    ) -> tuple[int, int]:
        """
        Return the epochs of the file and of the database; a restored backup is behind its file.

        Raises `PoolKeyError` when the key or the file is not the database's.
        """
        check = await get_setting(connection, KEY_CHECK)
        if check not in (None, self.key.check_value()):
            raise await wrong_key(connection, self.key, self._epoch)
        return await self._epochs.compare(connection, vouched=vouched)

    async def add(self, tx: AsyncConnection, new: Sequence[SeedBlock]) -> None:
        """
        Encrypt and store new blocks. A block that was ever seen before violates a constraint and
        stores none.
        """
        await add_blocks(tx, self.key, new)

    async def fresh(self, connection: AsyncConnection) -> int:
        """
        Count the blocks that have no purpose yet.
        """
        count: int | None = await connection.scalar(_COUNT_FRESH)
        return count or 0

    async def is_bound(self, database: Database, chain_id: int, contract: str, index: int) -> bool:
        """
        Return whether an index has its block already, as after a crash in the middle of building a
        batch.
        """
        async with database.read() as connection:
            found = await connection.scalar(
                select(blocks.c.id).where(
                    blocks.c.purpose == native_purpose(chain_id, contract, index)
                )
            )
        return found is not None

    async def bind(
        self, database: Database, chain_id: int, contract: str, indices: Sequence[int]
    ) -> list[bytes]:
        """
        Bind one block to each index, the oldest first, and return their 32-byte seeds in that
        order.

        Guarantees: the epoch file is ahead of the binding; repeated after a crash it returns the
        same seeds. Raises `PoolLowError` when the pool holds too few blocks: none is bound then.
        """
        purposes = [native_purpose(chain_id, contract, index) for index in indices]
        async with database.read() as connection:
            bound = await open_blocks(connection, self.key, purposes)
        if bound and len(bound) < len(purposes):
            raise PoolError("a batch is bound in part, which no crash explains: stop and inspect")
        if not bound:
            bound = await self.bind_purposes(database, purposes)
        return [bound[purpose] for purpose in purposes]

    async def bind_purposes(self, database: Database, purposes: Sequence[str]) -> dict[str, bytes]:
        """
        Bind one block to each purpose, the oldest first, all or none; return the 32-byte seeds.

        Guarantees: as `binding` gives them. A purpose that has a block already violates a
        constraint. Raises `PoolLowError` when there are too few blocks; none is bound then.
        """
        async with self.binding(database) as tx:
            await self.bind_oldest(tx, purposes)
            return await open_blocks(tx, self.key, purposes)

    @staticmethod
    async def bind_oldest(tx: AsyncConnection, purposes: Sequence[str]) -> None:
        """
        Bind one block to each purpose, in a transaction of `binding`, see `bind_purposes`.
        """
        ids = list(await tx.scalars(_OLDEST_FRESH, {"many": len(purposes)}))
        if len(ids) < len(purposes):
            raise PoolLowError(f"{len(purposes)} blocks are needed and {len(ids)} are in the pool")
        await tx.execute(
            _BIND,
            [
                {"block_id": block_id, "use": purpose}
                for block_id, purpose in zip(ids, purposes, strict=True)
            ],
        )

    @staticmethod
    async def holds_simulated(connection: AsyncConnection) -> bool:
        """
        Return whether there are blocks of a simulator that nobody had yet, bound or not.
        """
        found = await connection.scalar(
            select(blocks.c.id)
            .where(blocks.c.simulated.is_(True), blocks.c.ciphertext.is_not(None))
            .limit(1)
        )
        return found is not None

    async def bound_among(self, connection: AsyncConnection, purposes: Sequence[str]) -> set[str]:
        """
        Return those of the purposes that have a block, erased or not.
        """
        if not purposes:
            return set()
        return set(await connection.scalars(_BOUND_AMONG, {"purposes": list(purposes)}))

    async def seeds_for(
        self, connection: AsyncConnection, purposes: Iterable[str]
    ) -> dict[str, bytes]:
        """
        Return the 32-byte seeds of purposes; those that never had one, or whose is erased, are
        left out.
        """
        return await open_blocks(connection, self.key, purposes)

    async def erase_purposes(self, tx: AsyncConnection, purposes: Sequence[str]) -> int:
        """
        Erase the seeds of purposes that are served, or never will be; return how many.
        """
        self._unwiped = True
        result = await tx.execute(
            update(blocks)
            .where(blocks.c.purpose.in_(list(purposes)), blocks.c.ciphertext.is_not(None))
            .values(ciphertext=None, destroyed_at=now())
        )
        return result.rowcount

    @asynccontextmanager
    async def binding(self, database: Database) -> AsyncIterator[AsyncConnection]:
        """
        Yield the transaction in which blocks get their purposes, see `Epochs.binding`.
        """
        async with self._epochs.binding(database) as tx:
            yield tx

    async def seed(
        self, connection: AsyncConnection, chain_id: int, contract: str, index: int
    ) -> bytes:
        """
        Return the 32-byte seed of an index, revealed already or not.

        Raises `SeedGoneError` when it was never here or is erased.
        """
        found = await self.seeds(connection, chain_id, contract, [index])
        if index not in found:
            raise SeedGoneError(f"the seed of index {index} is not in this pool, or no longer")
        return found[index]

    async def seeds(
        self, connection: AsyncConnection, chain_id: int, contract: str, indices: Sequence[int]
    ) -> dict[int, bytes]:
        """
        Return the 32-byte seeds of indices, revealed already or not; those that were never here,
        or are erased, are left out.
        """
        index_of = {native_purpose(chain_id, contract, index): index for index in indices}
        unrevealed = await open_blocks(connection, self.key, index_of)
        found = {index_of[purpose]: seed for purpose, seed in unrevealed.items()}
        missing = [one for one in indices if one not in found]
        return found | await open_reveals(connection, self.key, chain_id, contract, missing)

    async def exposed(
        self, connection: AsyncConnection, chain_id: int, contract: str, indices: Sequence[int]
    ) -> set[int]:
        """
        Return those of the indices whose seed may have left the process.
        """
        return await exposed_among(connection, chain_id, contract, indices)

    async def expose(
        self, tx: AsyncConnection, chain_id: int, contract: str, indices: Sequence[int]
    ) -> None:
        """
        Write down that these seeds leave the process now, and erase them from the pool.

        The revealed copy stays, encrypted, until `erase_closed`. Seeds that were exposed before
        are left alone.
        """
        self._unwiped = True
        known = await self.exposed(tx, chain_id, contract, indices)
        leaving = [index for index in indices if index not in known]
        if not leaving:
            return
        seeds = await self.seeds(tx, chain_id, contract, leaving)
        for index in leaving:
            if index not in seeds:
                raise SeedGoneError(f"the seed of index {index} is not in this pool, or no longer")
        await add_reveals(tx, self.key, chain_id, contract, seeds)
        await self.erase_unrevealed(tx, chain_id, contract, leaving)

    async def erase_closed(
        self, tx: AsyncConnection, chain_id: int, contract: str, before_block: int
    ) -> int:
        """
        Erase every seed of the requests that were made before a block and are settled for good,
        whoever fulfilled them; return how many.

        The caller knows that the windows of those requests have passed, and passed finally.
        """
        revealed, unrevealed = await closed_seeds(tx, chain_id, contract, before_block)
        erased = 0
        if revealed:
            erased += await self.erase_revealed(tx, chain_id, contract, revealed)
        if unrevealed:
            erased += await self.erase_unrevealed(tx, chain_id, contract, unrevealed)
        return erased

    async def erase_revealed(
        self, tx: AsyncConnection, chain_id: int, contract: str, indices: Sequence[int]
    ) -> int:
        """
        Erase the last copies of seeds that may have left the process; return how many.
        """
        self._unwiped = True
        result = await tx.execute(
            update(reveals)
            .where(*reveal_of(chain_id, contract, indices), reveals.c.ciphertext.is_not(None))
            .values(ciphertext=None, erased_at=now())
        )
        return result.rowcount

    async def erase_unrevealed(
        self, tx: AsyncConnection, chain_id: int, contract: str, indices: Sequence[int]
    ) -> int:
        """
        Erase seeds that will never be revealed: cancelled, expired, discarded or lost; return how
        many.
        """
        return await self.erase_purposes(
            tx, [native_purpose(chain_id, contract, index) for index in indices]
        )


async def exposed_among(
    connection: AsyncConnection, chain_id: int, contract: str, indices: Sequence[int]
) -> set[int]:
    """
    Return those of the indices whose seed may have left the process.
    """
    rows = await connection.scalars(
        select(reveals.c.seed_index).where(*reveal_of(chain_id, contract, indices))
    )
    return set(rows)


async def exposed_after(
    connection: AsyncConnection, chain_id: int, contract: str, index: int, limit: int
) -> list[int]:
    """
    Return the next indices after one whose seeds may have left the process, in their order.
    """
    rows = await connection.scalars(
        select(reveals.c.seed_index)
        .where(
            reveals.c.chain_id == chain_id,
            reveals.c.contract == contract,
            reveals.c.seed_index > index,
        )
        .order_by(reveals.c.seed_index)
        .limit(limit)
    )
    return list(rows)


async def bound_twice(connection: AsyncConnection, limit: int) -> list[str]:
    """
    Return purposes that more than one block serves, and digests that more than one block has:
    the constraints forbid both, so there are none unless the file was tampered with.
    """
    found: list[str] = []
    for column in (blocks.c.purpose, blocks.c.digest):
        rows = await connection.scalars(
            select(column)
            .where(column.is_not(None))
            .group_by(column)
            .having(func.count() > 1)
            .limit(limit)
        )
        found += [
            f"purpose {row}" if isinstance(row, str) else f"digest {row.hex()}" for row in rows
        ]
    return found
