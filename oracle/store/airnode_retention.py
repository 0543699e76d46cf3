"""
Airnode requests that were finished long ago: their rows go, and a tombstone stays for ever.

An id can come again in another block, after a reorg or where blocks are read anew, and it must
never get a second number: its tombstone stays whatever the chain does, and so does the block of
the pool that was bound to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists

from oracle.request import State
from oracle.store import retention
from oracle.store.airnode import airnode_purpose
from oracle.store.airnode_evidence import FOREIGN
from oracle.store.retention import Finish
from oracle.store.schema import airnode_requests as table
from oracle.store.schema import request_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.pool import Pool
    from oracle.store.retention import Finished


async def finished(  # noqa: PLR0913
    connection: AsyncConnection,
    chain_id: int,
    contract: str,
    *,
    up_to_block: int,
    before: int,
    drawn_before: int,
    limit: int,
) -> list[Finished]:
    """
    Return requests that can be pruned, made and settled up to a block, finished before a time in
    milliseconds since 1970, with a number drawn before another, and with no transaction under way.

    Does not: return what was answered with another store's number, which is evidence; what counts
    for its sponsor's numbers of a day; or an orphaned request that keeps its number.
    """
    rules: dict[State, tuple[ColumnElement[bool], ...]] = {
        State.DONE: (
            table.c.outcome_block <= up_to_block,
            table.c.drawn_at.is_(None) | (table.c.drawn_at < drawn_before),
            ~exists().where(
                request_events.c.chain_id == table.c.chain_id,
                request_events.c.contract == table.c.contract,
                request_events.c.request_id == table.c.request_id,
                request_events.c.reason == FOREIGN,
            ),
        ),
        State.REJECTED: (table.c.drawn_at.is_(None),),
        State.ORPHANED: (table.c.drawn_at.is_(None), table.c.exposed_at.is_(None)),
    }
    found: list[Finished] = []
    for state, where in rules.items():
        if len(found) < limit:
            wanted = Finish(chain_id, contract, state, up_to_block, before)
            found += await retention.finished_in(
                connection, table, wanted, limit - len(found), *where
            )
    return found


async def prune(tx: AsyncConnection, pool: Pool, doomed: Sequence[Finished]) -> None:
    """
    Replace requests of one contract by their tombstones, and drop their history and transactions.

    Guarantees: what is left of their numbers is erased. Raises `StaleStateError` when one of them
    is in another state by now.

    The caller knows that all of it lies below what is read again with every head.
    """
    await pool.erase_purposes(tx, [airnode_purpose(one.key) for one in doomed])
    await retention.bury(tx, table, doomed)
