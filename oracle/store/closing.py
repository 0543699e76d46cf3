"""
Seeds that nothing needs any more: of requests that are settled for good, whoever fulfilled them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Text, cast, exists, func, literal, select

from oracle.request import OPEN_STATES, State
from oracle.store.cursors import get_setting, put_setting
from oracle.store.schema import blocks, requests, reveals
from oracle.store.seed_blocks import native_purpose

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

_ROWS_AT_ONCE = 1000
_INDICES_AT_ONCE = 500  # a statement holds only so many parameters
# A request in one of these needs its seed no more once its window has passed.
_CLOSED = {State.DONE, State.CANCELLED, State.EXPIRED, State.FAILED}


async def closed_seeds(
    tx: AsyncConnection, chain_id: int, contract: str, before_block: int
) -> tuple[list[int], list[int]]:
    """
    Return the indices of requests that were made before a block and are settled for good whose
    seeds are still here: those whose seed may have left the process, and the others.
    """
    place = (chain_id, contract)
    closed = (
        requests.c.chain_id == chain_id,
        requests.c.contract == contract,
        requests.c.block_number < before_block,
    )
    # The few that are kept come first: what is done piles up, and most of it is erased.
    kept = await tx.execute(
        select(reveals.c.chain_id, reveals.c.contract, reveals.c.seed_index).where(
            reveals.c.ciphertext.is_not(None)
        )
    )
    ours = [row.seed_index for row in kept if (row.chain_id, row.contract) == place]
    revealed: list[int] = []
    for at in range(0, len(ours), _INDICES_AT_ONCE):
        revealed += await tx.scalars(
            select(requests.c.seed_index).where(
                requests.c.seed_index.in_(ours[at : at + _INDICES_AT_ONCE]),
                requests.c.state != State.ORPHANED,
                requests.c.state.in_(_CLOSED),
                *closed,
            )
        )
    unrevealed = await tx.scalars(
        select(requests.c.seed_index).where(
            requests.c.state.in_(_CLOSED - {State.DONE}),
            exists().where(
                blocks.c.purpose == _purpose_of(chain_id, contract),
                blocks.c.ciphertext.is_not(None),
            ),
            *closed,
        )
    )
    elsewhere = await unrevealed_done(
        tx, chain_id, contract, before_block, _purpose_of(chain_id, contract)
    )
    return revealed, [*unrevealed, *elsewhere]


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
            requests.c.state.in_(OPEN_STATES),
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


def _purpose_of(chain_id: int, contract: str) -> ColumnElement[str]:
    prefix = native_purpose(chain_id, contract, 0)[:-1]
    return literal(prefix) + cast(requests.c.seed_index, Text)
