"""
Slots and attempts: which wallet fills which nonce, with which signed bytes.

A slot is one nonce of one wallet. Its attempts are the signed transactions that may fill it: the
first one, and its replacements at a higher fee. The chain takes exactly one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, delete, insert, select, update

from oracle.errors import StaleStateError
from oracle.store.engine import now
from oracle.store.schema import attempts, transactions
from oracle.store.seal import Sealed

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    Signed bytes for a slot, sealed; fees in wei per gas.
    """

    transaction_hash: bytes
    slot_id: int
    max_fee: int
    priority_fee: int
    sealed: Sealed | None = None
    #: The head when they first left, and when they last did.
    sent_block: int | None = None
    tried_block: int | None = None
    #: What the endpoint last said to them.
    verdict: str | None = None


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


def attempt_context(transaction_hash: bytes) -> bytes:
    """
    Return what binds sealed bytes to their transaction hash.
    """
    return b"attempt|" + transaction_hash.hex().encode()


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


async def add_attempt(tx: AsyncConnection, attempt: Attempt) -> None:
    """
    Store signed bytes for a slot; see `add_attempts`.
    """
    await add_attempts(tx, [attempt])


async def add_attempts(tx: AsyncConnection, new: Sequence[Attempt]) -> None:
    """
    Store signed bytes for slots, before anything is sent; they become their newest attempts.

    The same bytes can be made twice, as for a filler after a second reorg: they are one attempt.
    """
    await tx.execute(
        delete(attempts).where(
            attempts.c.transaction_id.in_([one.slot_id for one in new]),
            attempts.c.transaction_hash.in_([one.transaction_hash for one in new]),
        )
    )
    rows = []
    for one in new:
        assert one.sealed is not None
        rows.append(
            {
                "transaction_hash": one.transaction_hash,
                "transaction_id": one.slot_id,
                "max_fee": one.max_fee,
                "priority_fee": one.priority_fee,
                "nonce": one.sealed.nonce,
                "ciphertext": one.sealed.ciphertext,
                "created_at": now(),
            }
        )
    await tx.execute(insert(attempts), rows)


async def mark_sent(tx: AsyncConnection, leaving: Sequence[Attempt], head: int) -> None:
    """
    Record that the bytes of attempts may leave from now on; `head` is the block at which they do.
    """
    await tx.execute(
        update(attempts)
        .where(attempts.c.transaction_hash.in_([one.transaction_hash for one in leaving]))
        .values(sent_at=now(), sent_block=head)
    )


async def record_verdicts(
    tx: AsyncConnection, verdicts: Sequence[tuple[Attempt, str]], head: int
) -> None:
    """
    Record what the endpoint said to the bytes of attempts.
    """
    told: dict[str, list[bytes]] = {}
    for attempt, verdict in verdicts:
        told.setdefault(verdict, []).append(attempt.transaction_hash)
    for verdict, hashes in told.items():
        await tx.execute(
            update(attempts)
            .where(attempts.c.transaction_hash.in_(hashes))
            .values(tried_block=head, verdict=verdict)
        )


async def drop_unsent(tx: AsyncConnection, slot_id: int) -> None:
    """
    Delete a slot's bytes that never left: they are not what its nonce is for any more.
    """
    await tx.execute(
        delete(attempts).where(
            attempts.c.transaction_id == slot_id, attempts.c.sent_block.is_(None)
        )
    )


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
    rows = await connection.execute(
        select(transactions).where(
            transactions.c.chain_id == chain_id,
            transactions.c.contract == contract,
            transactions.c.state.in_(list(states)),
            *where,
        )
    )
    # Ordered here: the database would read every nonce in its order to find the few.
    return sorted(map(_slot, rows), key=lambda slot: (slot.wallet, slot.nonce))


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
    rows = await connection.execute(
        select(
            transactions.c.id, transactions.c.wallet, transactions.c.gas_limit, attempts.c.max_fee
        )
        .join(attempts, attempts.c.transaction_id == transactions.c.id)
        .where(
            transactions.c.chain_id == chain_id,
            transactions.c.wallet.in_(wallets),
            transactions.c.state.in_([SlotState.SIGNED, SlotState.SENT]),
        )
    )
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


async def attempts_of(connection: AsyncConnection, slot_id: int) -> list[Attempt]:
    """
    Return the slot's attempts, the newest first.
    """
    return (await attempts_among(connection, [slot_id]))[slot_id]


async def attempts_among(
    connection: AsyncConnection, slot_ids: Collection[int]
) -> dict[int, list[Attempt]]:
    """
    Return the attempts of slots, the newest first.
    """
    found: dict[int, list[Attempt]] = {slot_id: [] for slot_id in slot_ids}
    if not found:
        return found
    rows = await connection.execute(
        select(attempts)
        .where(attempts.c.transaction_id.in_(list(found)))
        .order_by(attempts.c.id.desc())
    )
    for row in rows:
        found[row.transaction_id].append(
            Attempt(
                transaction_hash=row.transaction_hash,
                slot_id=row.transaction_id,
                max_fee=row.max_fee,
                priority_fee=row.priority_fee,
                sealed=None if row.ciphertext is None else Sealed(row.nonce, row.ciphertext),
                sent_block=row.sent_block,
                tried_block=row.tried_block,
                verdict=row.verdict,
            )
        )
    return found


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
        update(transactions)
        .where(
            transactions.c.id.in_([slot.id for slot in slots]),
            transactions.c.state == slots[0].state,
        )
        .values(**values)
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


async def erase_attempts(tx: AsyncConnection, slot_ids: Collection[int]) -> int:
    """
    Erase the signed bytes of slots, which hold seeds; return how many attempts had any.
    """
    result = await tx.execute(
        update(attempts)
        .where(attempts.c.transaction_id.in_(slot_ids), attempts.c.ciphertext.is_not(None))
        .values(ciphertext=None)
    )
    return result.rowcount


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
