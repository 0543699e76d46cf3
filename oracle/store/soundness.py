"""
Whether the rows that a node goes on from agree with each other: what a disk, a tool or a person
changed is found before anything is done by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Select, Table, and_, exists, func, literal, or_, select

from oracle.errors import InvariantError
from oracle.request import TRANSITIONS, State
from oracle.store.schema import (
    airnode_requests,
    attempts,
    request_events,
    requests,
    transactions,
)
from oracle.store.transactions import SlotState

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection

# What may still lead to an act.
_OPEN = (
    State.OBSERVED,
    State.CONFIRMED,
    State.DRAWN,
    State.SIGNED,
    State.SENT,
    State.MINED,
)


def damaged(table: str, what: str) -> InvariantError:
    """
    Return the error for a row that no node has written, which says what to do.
    """
    return InvariantError(
        f"the table {table} is damaged: {what}. Something else than a node changed the database, "
        "or its disk did: nothing is sent; restore the newest backup, or build a new database "
        "from the chain with `oracle recover`"
    )


async def check_sound(connection: AsyncConnection) -> None:
    """
    Raise `InvariantError`, which names the table, where rows of open work contradict each other.

    Guarantees: every request has a known state; an open one's is what its history ends with, and
    its history goes along edges of the transition table; whatever is signed or sent has its
    transaction, and every open nonce the bytes that go with it.

    Does not: look at what is finished, which `oracle audit` holds against the chain; or open what
    is sealed, which fails where it is used.
    """
    for table in (requests, airnode_requests):
        await _check(connection, table, "a state that there is none of", _unknown(table))
        await _check(connection, table, "a state that its history does not end with", _torn(table))
        await _check(
            connection, request_events, "a step that no request can take", _impossible(table)
        )
        await _check(
            connection, table, "bytes signed or sent and no transaction", _without_slot(table)
        )
    await _check(connection, attempts, "an open nonce without the bytes for it", _without_bytes())
    await _check(
        connection,
        attempts,
        "a nonce that counts as sent, none of whose bytes ever left",
        _never_sent(),
    )


async def _check(connection: AsyncConnection, table: Table, what: str, wrong: Select[Any]) -> None:
    found = (await connection.execute(wrong.limit(1))).first()
    if found is not None:
        which = found[0]
        name = f"request 0x{which.hex()}" if isinstance(which, bytes) else f"transaction {which}"
        raise damaged(table.name, f"{name} has {what}")


def _is_open(table: Table) -> Any:
    return table.c.state.in_(_OPEN)


def _of(table: Table) -> Any:
    return and_(
        request_events.c.chain_id == table.c.chain_id,
        request_events.c.contract == table.c.contract,
        request_events.c.request_id == table.c.request_id,
    )


def _unknown(table: Table) -> Select[Any]:
    return select(table.c.request_id).where(table.c.state.not_in(list(State)))


def _torn(table: Table) -> Select[Any]:
    last = (
        select(request_events.c.after)
        .where(_of(table))
        .order_by(request_events.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(table.c.request_id).where(
        _is_open(table), func.coalesce(last, literal("")) != table.c.state
    )


def _impossible(table: Table) -> Select[Any]:
    before, after = request_events.c.before, request_events.c.after
    possible = or_(
        and_(before.is_(None), after == State.OBSERVED),
        # A word that is no transition.
        before == after,
        *(and_(before == state, after.in_(list(to))) for state, to in TRANSITIONS.items()),
    )
    return (
        select(table.c.request_id)
        .join(request_events, _of(table))
        .where(_is_open(table), ~func.coalesce(possible, literal(False)))  # noqa: FBT003
    )


def _without_slot(table: Table) -> Select[Any]:
    there = exists().where(
        transactions.c.id == table.c.transaction_id, transactions.c.state != SlotState.LOST
    )
    return select(table.c.request_id).where(table.c.state.in_([State.SIGNED, State.SENT]), ~there)


def _without_bytes() -> Select[Any]:
    newest = (
        select(attempts.c.ciphertext)
        .where(attempts.c.transaction_id == transactions.c.id)
        .order_by(attempts.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(transactions.c.id).where(
        transactions.c.state.in_([SlotState.SIGNED, SlotState.SENT]), newest.is_(None)
    )


def _never_sent() -> Select[Any]:
    sent = exists().where(
        attempts.c.transaction_id == transactions.c.id, attempts.c.sent_block.is_not(None)
    )
    return select(transactions.c.id).where(transactions.c.state == SlotState.SENT, ~sent)
