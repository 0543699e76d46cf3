"""
Sponsors that want back what their sponsor wallets hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, bindparam, delete, insert, select, update

from oracle import log
from oracle.airnode_request import WithdrawalFulfilled, WithdrawalRequested
from oracle.store import transactions
from oracle.store.engine import now
from oracle.store.schema import airnode_withdrawals as table
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.transactions import Slot


_OF_SLOT = and_(
    table.c.transaction_id == bindparam("slot"),
    table.c.state.in_(bindparam("states", expanding=True)),
)
# Slots whose bytes a reorg puts back.
_SAME_BYTES = (SlotState.SIGNED, SlotState.SENT, SlotState.MINED)


class WithdrawalState(StrEnum):
    """
    What is durably known about a withdrawal.
    """

    REQUESTED = "requested"  #: its log was seen
    SIGNED = "signed"  #: a transaction that returns the funds is stored
    DONE = "done"  #: the chain says that the funds were returned
    REFUSED = "refused"  #: nothing will be returned: its reason says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """
    A sponsor's wish to have its funds back; `created_at` in milliseconds since 1970.
    """

    chain_id: int
    contract: str
    withdrawal_id: bytes
    sponsor: str
    sponsor_wallet: str
    block_number: int
    block_hash: bytes
    state: WithdrawalState
    #: Why it was refused.
    reason: str | None
    #: The slot that returns the funds, or was to and is not settled.
    transaction_id: int | None
    #: The block in which they were returned; of those of old versions it is not known.
    done_block: int | None
    done_block_hash: bytes | None
    created_at: int


@lru_cache(maxsize=16)
def _find(where: tuple[ColumnElement[bool], ...]) -> Select[Any]:
    return (
        select(table)
        .where(table.c.chain_id == bindparam("chain"), table.c.contract == bindparam("at"), *where)
        .order_by(table.c.block_number, table.c.withdrawal_id)
    )


async def observe(
    tx: AsyncConnection, chain_id: int, contract: str, events: Sequence[object]
) -> int:
    """
    Record the withdrawals that the canonical chain holds; return how many are news.

    One that was refused and is in another block now is judged again.
    """
    found = [event for event in events if isinstance(event, WithdrawalRequested)]
    if not found:
        return 0
    ids = [one.withdrawal_id for one in found]
    known = {
        one.withdrawal_id: one
        for one in await find(tx, chain_id, contract, table.c.withdrawal_id.in_(ids))
    }
    moved = 0
    for one in found:
        place = {"block_number": one.place.block_number, "block_hash": one.place.block_hash}
        old = known.get(one.withdrawal_id)
        if old is None:
            await tx.execute(
                insert(table).values(
                    chain_id=chain_id,
                    contract=contract,
                    withdrawal_id=one.withdrawal_id,
                    sponsor=one.sponsor,
                    sponsor_wallet=one.sponsor_wallet,
                    state=WithdrawalState.REQUESTED,
                    created_at=now(),
                    updated_at=now(),
                    **place,
                )
            )
        elif old.block_hash != one.place.block_hash:
            again = old.state is WithdrawalState.REFUSED
            await tx.execute(
                update(table)
                .where(_is(chain_id, contract, one.withdrawal_id))
                .values(
                    state=WithdrawalState.REQUESTED if again else old.state,
                    reason=None,
                    updated_at=now(),
                    **place,
                )
            )
        else:
            continue
        moved += 1
    return moved


async def find(
    connection: AsyncConnection,
    chain_id: int,
    contract: str,
    *where: ColumnElement[bool],
    **values: object,
) -> list[Withdrawal]:
    """
    Return withdrawals, the oldest first.

    As `Catalog.in_states` does, it makes the statement for conditions that are the same once.
    """
    rows = await connection.execute(_find(where), {"chain": chain_id, "at": contract, **values})
    return [_read(row) for row in rows]


async def newest(connection: AsyncConnection, limit: int) -> list[Withdrawal]:
    """
    Return the newest withdrawals first, of every chain.
    """
    rows = await connection.execute(
        select(table)
        .order_by(table.c.created_at.desc(), table.c.block_number.desc(), table.c.withdrawal_id)
        .limit(limit)
    )
    return [_read(row) for row in rows]


async def of_slot(
    connection: AsyncConnection, slot: Slot, *states: WithdrawalState
) -> list[Withdrawal]:
    """
    Return the withdrawals in these states that a slot returns.
    """
    return await find(
        connection,
        slot.chain_id,
        slot.contract,
        _OF_SLOT,
        slot=slot.id,
        states=list(states),
    )


async def finish(
    tx: AsyncConnection, chain_id: int, contract: str, events: Sequence[object]
) -> int:
    """
    Write down which withdrawals the chain says are done, and in which block; return how many of
    them are news.
    """
    moved = 0
    for event in events:
        if not isinstance(event, WithdrawalFulfilled):
            continue
        done = await tx.execute(
            update(table)
            .where(
                _is(chain_id, contract, event.withdrawal_id),
                (table.c.state != WithdrawalState.DONE)
                | table.c.done_block_hash.is_distinct_from(event.place.block_hash),
            )
            .values(
                state=WithdrawalState.DONE,
                reason=None,
                done_block=event.place.block_number,
                done_block_hash=event.place.block_hash,
                updated_at=now(),
            )
        )
        moved += done.rowcount
    return moved


async def forget(tx: AsyncConnection, one: Withdrawal) -> None:
    """
    Forget a withdrawal whose request the chain no longer holds where it was seen; if it comes
    back it is a new one.
    """
    await tx.execute(
        delete(table).where(
            _is(one.chain_id, one.contract, one.withdrawal_id),
            table.c.state == WithdrawalState.REQUESTED,
            table.c.block_hash == one.block_hash,
        )
    )


async def move(
    tx: AsyncConnection,
    one: Withdrawal,
    after: WithdrawalState,
    *,
    transaction_id: int | None,
    reason: str | None = None,
) -> None:
    """
    Write down how far a withdrawal is, before it is done.
    """
    await tx.execute(
        update(table)
        .where(_is(one.chain_id, one.contract, one.withdrawal_id))
        .values(
            state=after,
            reason=reason,
            transaction_id=transaction_id,
            done_block=None,
            done_block_hash=None,
            updated_at=now(),
        )
    )


async def undo(tx: AsyncConnection, one: Withdrawal) -> None:
    """
    Take back that a withdrawal is done: the block that returned the funds was replaced.
    """
    after = WithdrawalState.REQUESTED
    if one.transaction_id is not None:
        slot = await transactions.get_slot(tx, one.transaction_id)
        if slot.purpose is Purpose.WITHDRAW and slot.state in _SAME_BYTES:
            after = WithdrawalState.SIGNED
    await move(tx, one, after, transaction_id=one.transaction_id)
    log.get().warning("withdrawal_undone", sponsor=one.sponsor, block=one.done_block)


async def reopen(tx: AsyncConnection, slot: Slot, *, transaction_id: int | None) -> None:
    """
    Have the withdrawals of a slot judged again: its transaction does not return the funds. They
    keep the transaction that is given.
    """
    for one in await of_slot(tx, slot, WithdrawalState.SIGNED):
        await move(tx, one, WithdrawalState.REQUESTED, transaction_id=transaction_id)


def _read(row: Row[Any]) -> Withdrawal:
    return Withdrawal(
        chain_id=row.chain_id,
        contract=row.contract,
        withdrawal_id=row.withdrawal_id,
        sponsor=row.sponsor,
        sponsor_wallet=row.sponsor_wallet,
        block_number=row.block_number,
        block_hash=row.block_hash,
        state=WithdrawalState(row.state),
        reason=row.reason,
        transaction_id=row.transaction_id,
        done_block=row.done_block,
        done_block_hash=row.done_block_hash,
        created_at=row.created_at,
    )


def _is(chain_id: int, contract: str, withdrawal_id: bytes) -> ColumnElement[bool]:
    return and_(
        table.c.chain_id == chain_id,
        table.c.contract == contract,
        table.c.withdrawal_id == withdrawal_id,
    )
