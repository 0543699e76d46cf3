"""
How far each contract has been scanned, and settings that belong to the whole database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, exists, insert, select, update

from oracle.store.schema import cursors, settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_PLACE = (cursors.c.chain_id == bindparam("chain"), cursors.c.contract == bindparam("at"))
_CURSOR, _MOVE = select(cursors).where(*_PLACE), update(cursors).where(*_PLACE)
_SETTING = select(settings.c.value).where(settings.c.name == bindparam("of"))
_SET = update(settings).where(settings.c.name == bindparam("of"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    The last block that was scanned, and the anchor: a block below everything that is scanned
    again.
    """

    number: int
    hash: bytes
    anchor_number: int
    anchor_hash: bytes


async def get_cursor(connection: AsyncConnection, chain_id: int, contract: str) -> Cursor | None:
    """
    Return how far a contract has been scanned; nothing before the first scan.
    """
    found = await connection.execute(_CURSOR, {"chain": chain_id, "at": contract})
    row = found.one_or_none()
    if row is None:
        return None
    return Cursor(
        number=row.block_number,
        hash=row.block_hash,
        anchor_number=row.anchor_number,
        anchor_hash=row.anchor_hash,
    )


async def move_cursor(tx: AsyncConnection, chain_id: int, contract: str, cursor: Cursor) -> None:
    """
    Record a scan, in the transaction that holds what the scan found.
    """
    values = {
        "block_number": cursor.number,
        "block_hash": cursor.hash,
        "anchor_number": cursor.anchor_number,
        "anchor_hash": cursor.anchor_hash,
    }
    moved = await tx.execute(_MOVE, {"chain": chain_id, "at": contract, **values})
    if not moved.rowcount:
        await tx.execute(insert(cursors).values(chain_id=chain_id, contract=contract, **values))


async def get_setting(connection: AsyncConnection, name: str) -> str | None:
    """
    Return a setting of this database.
    """
    value: str | None = await connection.scalar(_SETTING, {"of": name})
    return value


async def settings_under(connection: AsyncConnection, prefix: str) -> dict[str, str]:
    """
    Return the settings whose names begin with a prefix.
    """
    rows = await connection.execute(
        select(settings.c.name, settings.c.value).where(
            settings.c.name.startswith(prefix, autoescape=True)
        )
    )
    return {row.name: row.value for row in rows}


async def put_setting(tx: AsyncConnection, name: str, value: str) -> None:
    """
    Set a setting of this database.
    """
    updated = await tx.execute(_SET, {"of": name, "value": value})
    if not updated.rowcount:
        await tx.execute(insert(settings).values(name=name, value=value))


async def drop_setting(tx: AsyncConnection, name: str) -> None:
    """
    Forget a setting of this database.
    """
    await tx.execute(delete(settings).where(settings.c.name == name))


async def get_window(connection: AsyncConnection, chain_id: int, contract: str) -> int | None:
    """
    Return how many blocks a coordinator's requests can be fulfilled in; nothing before a node has
    served it.
    """
    window = await get_setting(connection, f"window:{chain_id}:{contract}")
    return None if window is None else int(window)


async def put_window(tx: AsyncConnection, chain_id: int, contract: str, window: int) -> None:
    """
    Keep it for those that read the store without asking the chain.
    """
    await put_setting(tx, f"window:{chain_id}:{contract}", str(window))


async def knows_a_chain(connection: AsyncConnection) -> bool:
    """
    Return whether a node has worked on this database.
    """
    return bool(
        await connection.scalar(select(exists().where(settings.c.name.startswith("genesis:"))))
    )
