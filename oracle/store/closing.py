"""
Seeds of requests that were done by somebody else: never revealed from here, and public by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, func, select

from oracle.request import State
from oracle.store.cursors import get_setting, put_setting
from oracle.store.schema import blocks, requests

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

_ROWS_AT_ONCE = 1000
_OPEN = (State.OBSERVED, State.CONFIRMED, State.DRAWN, State.SIGNED, State.SENT, State.MINED)


async def unrevealed_done(
    tx: AsyncConnection,
    chain_id: int,
    contract: str,
    before_block: int,
    purpose: ColumnElement[str],
) -> list[int]:
    """
    Return the indices of done requests that were made before a block, and whose seeds the pool
    still holds under a purpose; the caller erases them in the same transaction.

    Guarantees: every such request is returned once its turn comes, about a thousand at a time;
    what is done piles up, so where one call stopped, the next begins. A request that is not done
    yet holds that place back, and a head that was rolled back takes it back.
    """
    name = f"closed:{chain_id}:{contract}"
    stored = await get_setting(tx, name)
    start = min(int(stored or 0), before_block)
    here = (requests.c.chain_id == chain_id, requests.c.contract == contract)
    unfinished = await tx.scalar(
        select(func.min(requests.c.block_number)).where(
            *here,
            requests.c.state.in_(_OPEN),
            requests.c.block_number.between(0, before_block - 1),
        )
    )
    end = before_block if unfinished is None else max(start, unfinished)
    done = (*here, requests.c.state == State.DONE, requests.c.block_number >= start)
    found_any = await tx.scalar(
        select(func.min(requests.c.block_number)).where(*done, requests.c.block_number < end)
    )
    if found_any is None and end >= int(stored or 0):
        # Most blocks have none, and are no reason to write: the place can stay behind them.
        return []
    full = await tx.scalar(
        select(requests.c.block_number)
        .where(*done, requests.c.block_number < end)
        .order_by(requests.c.block_number)
        .offset(_ROWS_AT_ONCE)
        .limit(1)
    )
    if full is not None:
        end = full + 1
    found = await tx.scalars(
        select(requests.c.seed_index).where(
            *done,
            requests.c.block_number < end,
            exists().where(blocks.c.purpose == purpose, blocks.c.ciphertext.is_not(None)),
        )
    )
    if str(end) != stored:
        await put_setting(tx, name, str(end))
    return list(found)
