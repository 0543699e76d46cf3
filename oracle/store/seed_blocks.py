"""
The blocks of the pool: what one is made of, what it is for, and how it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select

from oracle.store.schema import block_inputs, blocks
from oracle.store.seal import Sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.seal import PoolKey

SEED_BYTES = 32

_KEPT = select(
    blocks.c.id,
    blocks.c.sources,
    blocks.c.received_at,
    blocks.c.nonce,
    blocks.c.ciphertext,
    blocks.c.purpose,
).where(
    blocks.c.purpose.in_(bindparam("purposes", expanding=True)), blocks.c.ciphertext.is_not(None)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedInput:
    """
    What one source gave to a block: the keyed 32-byte digest of so many bytes of a draw.
    """

    source: str
    draw_id: int
    n_bytes: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedBlock:
    """
    A new 32-byte block for the pool: `id` 16 bytes, `received_at` in milliseconds since 1970.
    """

    id: bytes
    sources: tuple[str, ...]
    simulated: bool
    received_at: int
    seed: bytes = field(repr=False)
    inputs: tuple[SeedInput, ...] = ()


def native_purpose(chain_id: int, contract: str, index: int) -> str:
    """
    Name the one use of a block that is the seed of an index.
    """
    return f"native:{chain_id}:{contract.lower()}:{index}"


def block_context(block_id: bytes, sources: str, received_at: int) -> bytes:
    """
    Return what a block's ciphertext is bound to.
    """
    return b"|".join(
        [b"block", block_id.hex().encode(), sources.encode(), str(received_at).encode()]
    )


async def add_blocks(tx: AsyncConnection, key: PoolKey, new: Sequence[SeedBlock]) -> None:
    """
    Encrypt and store new blocks. A block that was ever seen before violates a constraint and
    stores none.
    """
    rows = []
    for block in new:
        sources = ",".join(block.sources)
        sealed = key.seal(block.seed, block_context(block.id, sources, block.received_at))
        rows.append(
            {
                "id": block.id,
                "sources": sources,
                "simulated": block.simulated,
                "received_at": block.received_at,
                "digest": key.digest(block.seed),
                "nonce": sealed.nonce,
                "ciphertext": sealed.ciphertext,
            }
        )
    await tx.execute(insert(blocks), rows)
    inputs = [
        {
            "block_id": block.id,
            "source": item.source,
            "draw_id": item.draw_id,
            "bytes": item.n_bytes,
            "digest": item.digest,
        }
        for block in new
        for item in block.inputs
    ]
    if inputs:
        await tx.execute(insert(block_inputs), inputs)


async def open_blocks(
    connection: AsyncConnection, key: PoolKey, purposes: Iterable[str]
) -> dict[str, bytes]:
    """
    Return the 32-byte seeds of purposes; those that never had one, or whose is erased, are left
    out.
    """
    wanted = list(purposes)
    if not wanted:
        return {}
    rows = await connection.execute(_KEPT, {"purposes": wanted})
    return {
        row.purpose: key.open(
            Sealed(row.nonce, row.ciphertext),
            block_context(row.id, row.sources, row.received_at),
        )
        for row in rows
    }
