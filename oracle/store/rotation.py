"""
A new pool key for all that is sealed, and the end of the old one.

The order is what makes it survive a crash at any point: the new key is on disk before anything is
sealed under it; every record and the check value change hands in one transaction; the old key is
destroyed when nothing that it opens is left in the database's files. `rotate` repeated goes on
where it was cut off.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from oracle.errors import DatabaseLockedError, PoolKeyError
from oracle.faults import fault_point
from oracle.store.attempts import attempt_context
from oracle.store.cursors import get_setting
from oracle.store.lineage import KEY_CHECK, succeed, wrong_key
from oracle.store.pool import Pool
from oracle.store.reveals import reveal_context
from oracle.store.schema import attempts, blocks, reveals
from oracle.store.seal import PoolKey, Sealed, sync_folder
from oracle.store.seed_blocks import block_context

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.engine import Database
    from oracle.store.seal import EpochFile


@dataclass(frozen=True, slots=True)
class Rotated:
    """
    How many records were sealed anew, and whether an earlier rotation was finished by this.
    """

    records: int
    resumed: bool


async def rotate(database: Database, key_file: Path, epoch: EpochFile) -> Rotated:
    """
    Replace the key in a file by a new one, and seal everything in the database under that.

    Guarantees: killed anywhere, the database opens with a key that is on disk, and `rotate`
    repeated finishes; afterwards the old key is overwritten and removed, nothing in the database's
    files opens with it, and repeats are recognized as before.

    Does not: reach copies of the old key that are elsewhere, or what a disk keeps of overwritten
    blocks.

    Raises `PoolKeyError` when the key is not the database's, and `DatabaseLockedError` while
    something reads the database.
    """
    key_file = key_file.resolve()
    following = key_file.with_name(key_file.name + ".rotating")
    leaving = key_file.with_name(key_file.name + ".retiring")
    old = _read(key_file)
    resumed = following.exists() or leaving.exists()
    records = 0
    if following.exists() or not leaving.exists():
        async with database.read() as connection:
            check = await get_setting(connection, KEY_CHECK)
            if check is None:
                raise PoolKeyError("the database holds no pool yet: there is nothing to rotate")
            new = _read(following) if following.exists() else None
            holders = {key.check_value() for key in (old, new) if key is not None}
            if check not in holders:
                raise await wrong_key(connection, old, epoch)
        if new is None:
            new = PoolKey.from_text(await asyncio.to_thread(_write_next, key_file, following))
            fault_point("rotation-key-written")
        if check == old.check_value():
            # As at every start: what a restored backup left fresh is dropped, not carried on.
            await Pool(old, epoch).unlock(database)
            await asyncio.to_thread(epoch.retire, check)
            fault_point("rotation-noted")
            records = await _seal_anew(database, old, new)
            fault_point("rotation-sealed")
        if not await database.wipe():
            raise DatabaseLockedError(
                f"something reads {database.name}: end it, and run `oracle entropy rotate-key` "
                "again, which finishes"
            )
        fault_point("rotation-wiped")
        await asyncio.to_thread(_take_place, key_file, following, leaving)
        fault_point("rotation-in-place")
    async with database.read() as connection:
        if await get_setting(connection, KEY_CHECK) != _read(key_file).check_value():
            raise PoolKeyError(
                f"{leaving} is there, and {key_file} is not the database's key: put that one back"
            )
    await asyncio.to_thread(_destroy, leaving)
    return Rotated(records, resumed)


async def _seal_anew(database: Database, old: PoolKey, new: PoolKey) -> int:
    """
    Seal every record under the new key, all or none; return how many.
    """
    async with database.write() as tx:
        records = await _blocks(tx, old, new)
        records += await _reveals(tx, old, new)
        records += await _attempts(tx, old, new)
        await succeed(tx, old, new)
        fault_point("rotation-uncommitted")
    return records


async def _blocks(tx: AsyncConnection, old: PoolKey, new: PoolKey) -> int:
    rows = await tx.execute(
        select(
            blocks.c.id,
            blocks.c.sources,
            blocks.c.received_at,
            blocks.c.nonce,
            blocks.c.ciphertext,
        ).where(blocks.c.ciphertext.is_not(None))
    )
    changed = [
        {"of_id": row.id}
        | _again(row, block_context(row.id, row.sources, row.received_at), old, new)
        for row in rows
    ]
    if changed:
        await tx.execute(
            update(blocks).where(blocks.c.id == bindparam("of_id")).values(_SEALED), changed
        )
    return len(changed)


async def _reveals(tx: AsyncConnection, old: PoolKey, new: PoolKey) -> int:
    rows = await tx.execute(select(reveals).where(reveals.c.ciphertext.is_not(None)))
    changed = [
        {"of_chain": row.chain_id, "of_contract": row.contract, "of_index": row.seed_index}
        | _again(row, reveal_context(row.chain_id, row.contract, row.seed_index), old, new)
        for row in rows
    ]
    if changed:
        await tx.execute(
            update(reveals)
            .where(
                reveals.c.chain_id == bindparam("of_chain"),
                reveals.c.contract == bindparam("of_contract"),
                reveals.c.seed_index == bindparam("of_index"),
            )
            .values(_SEALED),
            changed,
        )
    return len(changed)


async def _attempts(tx: AsyncConnection, old: PoolKey, new: PoolKey) -> int:
    rows = await tx.execute(
        select(
            attempts.c.id, attempts.c.transaction_hash, attempts.c.nonce, attempts.c.ciphertext
        ).where(attempts.c.ciphertext.is_not(None))
    )
    changed = [
        {"of_id": row.id} | _again(row, attempt_context(row.transaction_hash), old, new)
        for row in rows
    ]
    if changed:
        await tx.execute(
            update(attempts).where(attempts.c.id == bindparam("of_id")).values(_SEALED), changed
        )
    return len(changed)


_SEALED: dict[str, Any] = {
    "nonce": bindparam("new_nonce"),
    "ciphertext": bindparam("new_ciphertext"),
}


def _again(row: Any, context: bytes, old: PoolKey, new: PoolKey) -> dict[str, Any]:
    sealed = new.seal(old.open(Sealed(row.nonce, row.ciphertext), context), context)
    return {"new_nonce": sealed.nonce, "new_ciphertext": sealed.ciphertext}


def _read(path: Path) -> PoolKey:
    try:
        return PoolKey.from_text(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        raise PoolKeyError(f"{path} cannot be read: check its owner and mode") from None


def _write_next(key_file: Path, following: Path) -> str:
    """
    Write a new key beside the one in use, for the same eyes, and return it.
    """
    text = PoolKey.generate()
    draft = following.with_name(following.name + ".new")
    try:
        known = key_file.stat()
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            if (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(handle, known.st_uid, known.st_gid)
            os.fchmod(handle, stat.S_IMODE(known.st_mode) & 0o660)
            os.fsync(handle)
        draft.replace(following)
        sync_folder(following.parent)
    except OSError as error:
        raise PoolKeyError(
            f"no new key can be written beside {key_file}: {error.strerror}: nothing was changed"
        ) from None
    return text


def _take_place(key_file: Path, following: Path, leaving: Path) -> None:
    """
    Put the new key where the old one was; at every moment there is a key in that place.
    """
    if not leaving.exists():
        os.link(key_file, leaving)
        sync_folder(leaving.parent)
    fault_point("rotation-linked")
    following.replace(key_file)
    sync_folder(key_file.parent)


def _destroy(leaving: Path) -> None:
    """
    Overwrite a key and remove it.
    """
    with leaving.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.write(b"\0" * size)
        file.flush()
        os.fsync(file.fileno())
    fault_point("rotation-overwritten")
    leaving.unlink()
    sync_folder(leaving.parent)
