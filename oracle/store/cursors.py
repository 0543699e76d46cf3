"""
How far each contract has been scanned, and settings that belong to the whole database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from oracle.store.schema import cursors, settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


async def get_cursor(
    connection: AsyncConnection, chain_id: int, contract: str
) -> tuple[int, bytes] | None:
    """
    Return number and hash of the last block that was scanned; nothing before the first scan.
    """
    row = (
        await connection.execute(
            select(cursors.c.block_number, cursors.c.block_hash).where(
                cursors.c.chain_id == chain_id, cursors.c.contract == contract
            )
        )
    ).one_or_none()
    return None if row is None else (row.block_number, row.block_hash)


async def move_cursor(
    tx: AsyncConnection, chain_id: int, contract: str, number: int, block_hash: bytes
) -> None:
    """
    Record a scan, in the transaction that holds what the scan found.
    """
    values = {"block_number": number, "block_hash": block_hash}
    moved = await tx.execute(
        update(cursors)
        .where(cursors.c.chain_id == chain_id, cursors.c.contract == contract)
        .values(**values)
    )
    if not moved.rowcount:
        await tx.execute(insert(cursors).values(chain_id=chain_id, contract=contract, **values))


async def get_setting(connection: AsyncConnection, name: str) -> str | None:
    """
    Return a setting of this database.
    """
    return await connection.scalar(select(settings.c.value).where(settings.c.name == name))


async def put_setting(tx: AsyncConnection, name: str, value: str) -> None:
    """
    Set a setting of this database.
    """
    updated = await tx.execute(update(settings).where(settings.c.name == name).values(value=value))
    if not updated.rowcount:
        await tx.execute(insert(settings).values(name=name, value=value))
