"""
Seeds that may have left the process: their copies, encrypted, until nothing needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from oracle.store.engine import now
from oracle.store.schema import reveals
from oracle.store.seal import Sealed
from oracle.store.seed_blocks import native_purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.seal import PoolKey


def reveal_context(chain_id: int, contract: str, index: int) -> bytes:
    """
    Return what a revealed seed's ciphertext is bound to.
    """
    return b"reveal|" + native_purpose(chain_id, contract, index).encode()


def reveal_of(
    chain_id: int, contract: str, indices: Sequence[int]
) -> tuple[ColumnElement[bool], ...]:
    """
    Return what holds of the rows of indices.
    """
    return (
        reveals.c.chain_id == chain_id,
        reveals.c.contract == contract,
        reveals.c.seed_index.in_(indices),
    )


async def open_reveals(
    connection: AsyncConnection,
    key: PoolKey,
    chain_id: int,
    contract: str,
    indices: Sequence[int],
) -> dict[int, bytes]:
    """
    Return the 32-byte seeds of indices that are kept here.
    """
    rows = await connection.execute(
        select(reveals.c.seed_index, reveals.c.nonce, reveals.c.ciphertext).where(
            *reveal_of(chain_id, contract, indices), reveals.c.ciphertext.is_not(None)
        )
    )
    return {
        row.seed_index: key.open(
            Sealed(row.nonce, row.ciphertext), reveal_context(chain_id, contract, row.seed_index)
        )
        for row in rows
    }


async def add_reveals(
    tx: AsyncConnection, key: PoolKey, chain_id: int, contract: str, seeds: Mapping[int, bytes]
) -> None:
    """
    Write down that seeds leave the process now, and keep them, encrypted.
    """
    rows = []
    for index, seed in seeds.items():
        sealed = key.seal(seed, reveal_context(chain_id, contract, index))
        rows.append(
            {
                "chain_id": chain_id,
                "contract": contract,
                "seed_index": index,
                "nonce": sealed.nonce,
                "ciphertext": sealed.ciphertext,
                "exposed_at": now(),
            }
        )
    await tx.execute(insert(reveals), rows)
