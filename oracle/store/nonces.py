"""
Lanes: the next nonce of every wallet on every chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update

from oracle.errors import StaleStateError
from oracle.store.schema import lanes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

_NEXT = select(lanes.c.wallet, lanes.c.next_nonce).where(
    lanes.c.chain_id == bindparam("chain"),
    lanes.c.wallet.in_(bindparam("wallets", expanding=True)),
)
_SET = (
    update(lanes)
    .where(lanes.c.chain_id == bindparam("chain"), lanes.c.wallet == bindparam("of"))
    .values(next_nonce=bindparam("nonce"))
)


async def next_nonces(
    connection: AsyncConnection, chain_id: int, wallets: Collection[str]
) -> dict[str, int]:
    """
    Return the next nonces of lanes, but for those that were never used.
    """
    rows = await connection.execute(_NEXT, {"chain": chain_id, "wallets": list(wallets)})
    return {row.wallet: row.next_nonce for row in rows}


async def set_next_nonces(tx: AsyncConnection, chain_id: int, nonces: Mapping[str, int]) -> None:
    """
    Set the next nonces of lanes that have one.
    """
    moved = await tx.execute(
        _SET,
        [{"chain": chain_id, "of": wallet, "nonce": nonce} for wallet, nonce in nonces.items()],
    )
    if moved.rowcount != len(nonces):
        raise StaleStateError("a lane is not there any more")


async def skip_nonces(tx: AsyncConnection, chain_id: int, used: Mapping[str, int]) -> None:
    """
    Agree with the chain on how many nonces wallets have `used`.

    A nonce that the chain has used and the store has not given out was used by somebody else: it
    is skipped.
    """
    stored = await next_nonces(tx, chain_id, used.keys())
    behind = {
        wallet: nonce
        for wallet, nonce in used.items()
        if wallet in stored and stored[wallet] < nonce
    }
    if behind:
        await set_next_nonces(tx, chain_id, behind)
    if new := [
        {"chain_id": chain_id, "wallet": wallet, "next_nonce": nonce}
        for wallet, nonce in used.items()
        if wallet not in stored
    ]:
        await tx.execute(insert(lanes), new)
