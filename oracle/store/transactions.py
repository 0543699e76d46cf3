"""
Slots: which wallet fills which nonce, what for, and how far that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Select, bindparam, insert, literal, select, update

from oracle.errors import StaleStateError
from oracle.store.engine import now
from oracle.store.schema import attempts, transactions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Receipt


class Purpose(StrEnum):
    """
    What a slot is for.
    """

    FULFILL = "fulfill"  #: reveals seeds
    COMMIT = "commit"  #: puts roots on chain
    FEE = "fee"  #: changes what requests to come pay
    WITHDRAW = "withdraw"  #: returns a sponsor's funds
    FILLER = "filler"  #: uses up a nonce whose bytes no longer fit


class SlotState(StrEnum):
    """
    What is durably known about a slot.
    """

    SIGNED = "signed"  #: its newest bytes are stored and have not left the process
    SENT = "sent"  #: bytes may have left
    MINED = "mined"  #: an attempt is in a block
    FINAL = "final"  #: and at the confirmation depth
    LOST = "lost"  #: somebody else used the nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """
    One nonce of one wallet.
    """

    id: int
    chain_id: int
    contract: str
    wallet: str
    nonce: int
    purpose: Purpose
    gas_limit: int
    state: SlotState
    mined_block: int | None
    mined_block_hash: bytes | None


# Statements that every pass needs are made once: that takes longer than to execute them.
_OF_CONTRACT = (
    transactions.c.chain_id == bindparam("chain"),
    transactions.c.contract == bindparam("at"),
)
_HAS_OPEN = (
    select(literal(1))
    .where(
        *_OF_CONTRACT,
        transactions.c.state.in_((SlotState.SIGNED, SlotState.SENT, SlotState.MINED)),
    )
    .limit(1)
)
_PROMISED = (
    select(transactions.c.id, transactions.c.wallet, transactions.c.gas_limit, attempts.c.max_fee)
    .join(attempts, attempts.c.transaction_id == transactions.c.id)
    .where(
        transactions.c.chain_id == bindparam("chain"),
        transactions.c.wallet.in_(bindparam("wallets", expanding=True)),
        transactions.c.state.in_((SlotState.SIGNED, SlotState.SENT)),
    )
)
_ADVANCE = update(transactions).where(
    transactions.c.id.in_(bindparam("ids", expanding=True)),
    transactions.c.state == bindparam("before"),
)


@lru_cache(maxsize=len(SlotState))
def _slots_in(states: int) -> Select[Any]:
    column = transactions.c.state
    wanted = [bindparam(f"state_{place}", type_=column.type) for place in range(states)]
    return select(transactions).where(*_OF_CONTRACT, column.in_(wanted))


# What only a mined slot has.
_NOT_MINED = (
    "mined_hash",
    "mined_block",
    "mined_block_hash",
    "gas_used",
    "gas_price",
    "l1_fee",
    "reverted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSlot:
    """
    A nonce that is taken, and what for.
    """

    chain_id: int
    contract: str
    wallet: str
    nonce: int
    purpose: Purpose
    gas_limit: int


async def open_slots(tx: AsyncConnection, new: Sequence[NewSlot]) -> list[int]:
    """
    Take nonces; return the slots' ids, in the same order. A nonce that is taken already violates a
    constraint.
    """
    at = now()
    rows = await tx.execute(
        insert(transactions).returning(transactions.c.id, sort_by_parameter_order=True),
        [
            {
                "chain_id": one.chain_id,
                "contract": one.contract,
                "wallet": one.wallet,
                "nonce": one.nonce,
                "purpose": one.purpose,
                "gas_limit": one.gas_limit,
                "state": SlotState.SIGNED,
                "created_at": at,
                "updated_at": at,
            }
            for one in new
        ],
    )
    return list(rows.scalars())


async def open_slot(  # noqa: PLR0913, PLR0917 - a slot's columns
    tx: AsyncConnection,
    chain_id: int,
    contract: str,
    wallet: str,
    nonce: int,
    purpose: Purpose,
    gas_limit: int,
) -> int:
    """
    Take a nonce; return the slot's id. A nonce that is taken already violates a constraint.
    """
    new = NewSlot(
        chain_id=chain_id,
        contract=contract,
        wallet=wallet,
        nonce=nonce,
        purpose=purpose,
        gas_limit=gas_limit,
    )
    [slot_id] = await open_slots(tx, [new])
    return slot_id


async def slots_in(
    connection: AsyncConnection,
    chain_id: int,
    contract: str,
    states: Iterable[SlotState],
    *where: ColumnElement[bool],
) -> list[Slot]:
    """
    Return the contract's slots in any of the states, by wallet and nonce.
    """
    wanted = list(states)
    rows = await connection.execute(
        _slots_in(len(wanted)).where(*where) if where else _slots_in(len(wanted)),
        {
            "chain": chain_id,
            "at": contract,
            **{f"state_{place}": state for place, state in enumerate(wanted)},
        },
    )
    # Ordered here: the database would read every nonce in its order to find the few.
    return sorted(map(_slot, rows), key=lambda slot: (slot.wallet, slot.nonce))


async def has_open(connection: AsyncConnection, chain_id: int, contract: str) -> bool:
    """
    Return whether a transaction of a contract is under way, or mined and not settled yet.
    """
    return await connection.scalar(_HAS_OPEN, {"chain": chain_id, "at": contract}) is not None


async def slots_of(
    connection: AsyncConnection, chain_id: int, wallet: str, *where: ColumnElement[bool]
) -> list[Slot]:
    """
    Return the wallet's slots, whatever contract they serve, by nonce.
    """
    rows = await connection.execute(
        select(transactions)
        .where(transactions.c.chain_id == chain_id, transactions.c.wallet == wallet, *where)
        .order_by(transactions.c.nonce)
    )
    return [_slot(row) for row in rows]


async def promised(
    connection: AsyncConnection, chain_id: int, wallets: Collection[str]
) -> dict[str, int]:
    """
    Return the wei that the open slots of wallets may cost at most: gas limits times the highest
    fees that were signed. What they carry beside is not counted.
    """
    rows = await connection.execute(_PROMISED, {"chain": chain_id, "wallets": list(wallets)})
    most: dict[tuple[str, int], int] = {}
    for slot_id, wallet, gas_limit, max_fee in rows:
        one = (wallet, slot_id)
        most[one] = max(most.get(one, 0), gas_limit * max_fee)
    sums = dict.fromkeys(wallets, 0)
    for (wallet, _), cost in most.items():
        sums[wallet] += cost
    return sums


async def get_slot(connection: AsyncConnection, slot_id: int) -> Slot:
    """
    Return a slot by its id.
    """
    row = (
        await connection.execute(select(transactions).where(transactions.c.id == slot_id))
    ).one()
    return _slot(row)


async def advance_slot(
    tx: AsyncConnection,
    slot: Slot,
    after: SlotState,
    *,
    receipt: Receipt | None = None,
    purpose: Purpose | None = None,
) -> None:
    """
    Move a slot from the state that it was read in; `receipt` comes with MINED, `purpose` changes
    what it is for.

    Raises `StaleStateError` when the slot is in another state by now.
    """
    values: dict[str, object] = {
        "state": after,
        "purpose": purpose or slot.purpose,
        "updated_at": now(),
    }
    if receipt is not None:
        values |= _of_receipt(receipt)
    elif after in (SlotState.SIGNED, SlotState.SENT):
        values |= dict.fromkeys(_NOT_MINED)
    moved = await tx.execute(
        update(transactions)
        .where(transactions.c.id == slot.id, transactions.c.state == slot.state)
        .values(**values)
    )
    _check_moved(moved.rowcount, [slot])


async def advance_slots(tx: AsyncConnection, slots: Sequence[Slot], after: SlotState) -> None:
    """
    Move slots that are in the same state, all or none of them, to one that needs no receipt.

    Raises `StaleStateError` when one of them is in another state by now.
    """
    if not slots:
        return
    values: dict[str, object] = {"state": after, "updated_at": now()}
    if after in (SlotState.SIGNED, SlotState.SENT):
        values |= dict.fromkeys(_NOT_MINED)
    moved = await tx.execute(
        _ADVANCE,
        {"ids": [slot.id for slot in slots], "before": slots[0].state, **values},
    )
    _check_moved(moved.rowcount, slots)


async def land_slots(tx: AsyncConnection, landed: Sequence[tuple[Slot, Receipt]]) -> None:
    """
    Write down the receipts of slots, which are MINED from now on; all of them or none.

    Raises `StaleStateError` when one of them is in another state by now.
    """
    if not landed:
        return
    moved = await tx.execute(
        update(transactions)
        .where(
            transactions.c.id == bindparam("slot"),
            transactions.c.state == bindparam("before"),
        )
        .values(state=SlotState.MINED, updated_at=now()),
        [
            {"slot": slot.id, "before": slot.state, **_of_receipt(receipt)}
            for slot, receipt in landed
        ],
    )
    _check_moved(moved.rowcount, [slot for slot, _ in landed])


def _check_moved(moved: int, slots: Sequence[Slot]) -> None:
    if moved != len(slots):
        which = f"the slot of nonce {slots[0].nonce}"
        if len(slots) > 1:
            which += f", or one of {len(slots) - 1} that go with it,"
        raise StaleStateError(f"{which} is not {slots[0].state} any more")


def _of_receipt(receipt: Receipt) -> dict[str, object]:
    return {
        "mined_hash": receipt.transaction_hash,
        "mined_block": receipt.block_number,
        "mined_block_hash": receipt.block_hash,
        "gas_used": receipt.gas_used,
        "gas_price": receipt.gas_price,
        "l1_fee": receipt.l1_fee,
        "reverted": not receipt.ok,
    }


def _slot(row: Row[Any]) -> Slot:
    return Slot(
        id=row.id,
        chain_id=row.chain_id,
        contract=row.contract,
        wallet=row.wallet,
        nonce=row.nonce,
        purpose=Purpose(row.purpose),
        gas_limit=row.gas_limit,
        state=SlotState(row.state),
        mined_block=row.mined_block,
        mined_block_hash=row.mined_block_hash,
    )
