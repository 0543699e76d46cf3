"""
Which pool key a database was written under, and which came before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from oracle.errors import PoolKeyError
from oracle.evm import checksum_address
from oracle.store.cursors import get_setting, put_setting
from oracle.store.schema import batches, blocks
from oracle.store.seal import NONCE_BYTES, Sealed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.seal import EpochFile, PoolKey

KEY_CHECK = "pool_key_check"
_DIGEST_KEY = "pool_digest_key"
_RETIRED = "pool_retired_keys"
_BATCH = 256


async def inherit_digests(connection: AsyncConnection, key: PoolKey) -> None:
    """
    Let a key that replaced another recognize what was seen under that.
    """
    stored = await get_setting(connection, _DIGEST_KEY)
    if stored is not None:
        content = bytes.fromhex(stored)
        key.inherit(Sealed(content[:NONCE_BYTES], content[NONCE_BYTES:]))


async def succeed(tx: AsyncConnection, old: PoolKey, new: PoolKey) -> None:
    """
    Make a key the database's, in the transaction that seals everything under it.
    """
    sealed = old.bequeath(new)
    retired = (await get_setting(tx, _RETIRED) or "").split()
    await put_setting(tx, _DIGEST_KEY, (sealed.nonce + sealed.ciphertext).hex())
    await put_setting(tx, _RETIRED, " ".join([*retired, old.check_value()]))
    await put_setting(tx, KEY_CHECK, new.check_value())


async def wrong_key(connection: AsyncConnection, key: PoolKey, epoch: EpochFile) -> PoolKeyError:
    """
    Return the error of a key that is not the database's: an earlier one, a later one, or neither.
    """
    if key.check_value() in (await get_setting(connection, _RETIRED) or "").split():
        return PoolKeyError(
            "the pool key was replaced by a rotation: run `oracle entropy rotate-key` again if it "
            "was interrupted, else give the key that replaced it"
        )
    if await get_setting(connection, KEY_CHECK) not in epoch.retired():
        return PoolKeyError(
            "the pool key is not the one that this database was written with: give that one back"
        )
    lost = await _lost(connection)
    return PoolKeyError(
        "the database was written under an earlier pool key, which a rotation destroyed: it is an "
        "older backup, and none of its entropy can be opened. "
        + (
            f"These seeds, committed and unrevealed as far as it knows, are lost: {lost}. "
            "Discard past them with `oracle coordinator discard` and start the node on a new "
            "database; requests that hold one of them are refunded after their window"
            if lost
            else "It knows of no committed seed that was unrevealed: start on a new database"
        )
    )


async def _lost(connection: AsyncConnection) -> str:
    """
    Name the indices whose seeds are sealed in the database, by coordinator.
    """
    purposes = await connection.scalars(
        select(blocks.c.purpose).where(
            blocks.c.purpose >= "native:",
            blocks.c.purpose <= "native:~",
            blocks.c.ciphertext.is_not(None),
        )
    )
    rows = await connection.execute(
        # A batch that was built when the backup was made may have been committed since.
        select(batches.c.chain_id, batches.c.contract, batches.c.first_index).where(
            batches.c.state.in_(("built", "committed"))
        )
    )
    known = {(row.chain_id, row.contract, row.first_index) for row in rows}
    lost: dict[tuple[int, str], list[int]] = {}
    for purpose in purposes:
        _, chain, contract, index = purpose.split(":")
        place = (int(chain), checksum_address(bytes.fromhex(contract[2:])))
        if (*place, int(index) // _BATCH * _BATCH) in known:
            lost.setdefault(place, []).append(int(index))
    return "; ".join(
        f"{len(indices)} from index {min(indices)} to {max(indices)} of {contract} on chain "
        f"{chain}"
        for (chain, contract), indices in sorted(lost.items())
    )
