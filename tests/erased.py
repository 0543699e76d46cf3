"""
What the files of a database hold, byte by byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from oracle.store.schema import blocks
from tests.databases import content_of

if TYPE_CHECKING:
    from oracle.store.engine import Database


async def found_in_files(database: Database, *needles: bytes) -> list[bytes]:
    """
    Return those of the needles that are in any byte of any file of the database.
    """
    content = await content_of(database)
    return [needle for needle in needles if needle in content]


async def block_ciphertexts(database: Database, *purposes: str) -> list[bytes]:
    """
    Return the ciphertexts of the blocks with these purposes, or of all, the oldest first.
    """
    query = (
        select(blocks.c.ciphertext)
        .where(blocks.c.ciphertext.is_not(None))
        .order_by(blocks.c.received_at)
    )
    if purposes:
        query = query.where(blocks.c.purpose.in_(purposes))
    async with database.read() as connection:
        return list(await connection.scalars(query))
