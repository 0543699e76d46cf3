"""
Lanes, slots and attempts: which wallet fills which nonce, with which signed bytes.

A slot is one nonce of one wallet. Its attempts are the signed transactions that may fill it: the
first one, and its replacements at a higher fee. The chain takes exactly one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, delete, insert, select, update

from oracle.errors import StaleStateError
from oracle.store.engine import now
from oracle.store.schema import attempts, lanes, transactions
from oracle.store.seal import Sealed

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def attempt_context(transaction_hash: bytes) -> bytes:
    """
    Return what binds sealed bytes to their transaction hash.
    """
    return b"attempt|" + transaction_hash.hex().encode()


async def next_nonce(connection: AsyncConnection, chain_id: int, wallet: str) -> int | None:
    """
    Return the lane's next nonce; nothing before its first use.
    """
    return await connection.scalar(
        select(lanes.c.next_nonce).where(lanes.c.chain_id == chain_id, lanes.c.wallet == wallet)
    )


async def set_next_nonce(tx: AsyncConnection, chain_id: int, wallet: str, nonce: int) -> None:
    """
    Set the lane's next nonce.
    """
    moved = await tx.execute(
        update(lanes)
        .where(lanes.c.chain_id == chain_id, lanes.c.wallet == wallet)
        .values(next_nonce=nonce)
    )
    if not moved.rowcount:
        await tx.execute(insert(lanes).values(chain_id=chain_id, wallet=wallet, next_nonce=nonce))


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
    result = await tx.execute(
        insert(transactions)
        .values(
            chain_id=chain_id,
            contract=contract,
            wallet=wallet,
            nonce=nonce,
            purpose=purpose,
            gas_limit=gas_limit,
            state=SlotState.SIGNED,
            created_at=now(),
            updated_at=now(),
        )
        .returning(transactions.c.id)
    )
    slot_id: int = result.scalar_one()
    return slot_id


async def add_attempt(tx: AsyncConnection, attempt: Attempt) -> None:
    """
    Store signed bytes for a slot, before anything is sent; they become its newest attempt.

    The same bytes can be made twice, as for a filler after a second reorg: they are one attempt.
    """
    assert attempt.sealed is not None
    await tx.execute(
        delete(attempts).where(
            attempts.c.transaction_id == attempt.slot_id,
            attempts.c.transaction_hash == attempt.transaction_hash,
        )
    )
    await tx.execute(
        insert(attempts).values(
            transaction_hash=attempt.transaction_hash,
            transaction_id=attempt.slot_id,
            max_fee=attempt.max_fee,
            priority_fee=attempt.priority_fee,
            nonce=attempt.sealed.nonce,
            ciphertext=attempt.sealed.ciphertext,
            created_at=now(),
        )
    )


async def mark_sent(tx: AsyncConnection, attempt: Attempt, head: int) -> None:
    """
    Record that an attempt's bytes may leave from now on; `head` is the block at which they do.
    """
    await tx.execute(
        update(attempts)
        .where(attempts.c.transaction_hash == attempt.transaction_hash)
        .values(sent_at=now(), sent_block=head)
    )


async def record_verdict(tx: AsyncConnection, attempt: Attempt, verdict: str, head: int) -> None:
    """
    Record what the endpoint said to an attempt's bytes.
    """
    await tx.execute(
        update(attempts)
        .where(attempts.c.transaction_hash == attempt.transaction_hash)
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


async def promised(connection: AsyncConnection, chain_id: int, wallet: str) -> int:
    """
    Return the wei that a wallet's open slots may cost at most: gas limits times the highest fees
    that were signed. What they carry beside is not counted.
    """
    rows = await connection.execute(
        select(transactions.c.id, transactions.c.gas_limit, attempts.c.max_fee)
        .join(attempts, attempts.c.transaction_id == transactions.c.id)
        .where(
            transactions.c.chain_id == chain_id,
            transactions.c.wallet == wallet,
            transactions.c.state.in_([SlotState.SIGNED, SlotState.SENT]),
        )
    )
    most: dict[int, int] = {}
    for slot_id, gas_limit, max_fee in rows:
        most[slot_id] = max(most.get(slot_id, 0), gas_limit * max_fee)
    return sum(most.values())


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
    rows = await connection.execute(
        select(attempts).where(attempts.c.transaction_id == slot_id).order_by(attempts.c.id.desc())
    )
    return [
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
        for row in rows
    ]


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
        values |= {
            "mined_hash": receipt.transaction_hash,
            "mined_block": receipt.block_number,
            "mined_block_hash": receipt.block_hash,
            "gas_used": receipt.gas_used,
            "gas_price": receipt.gas_price,
            "l1_fee": receipt.l1_fee,
            "reverted": not receipt.ok,
        }
    elif after in (SlotState.SIGNED, SlotState.SENT):
        values |= dict.fromkeys(
            (
                "mined_hash",
                "mined_block",
                "mined_block_hash",
                "gas_used",
                "gas_price",
                "l1_fee",
                "reverted",
            )
        )
    moved = await tx.execute(
        update(transactions)
        .where(transactions.c.id == slot.id, transactions.c.state == slot.state)
        .values(**values)
    )
    if moved.rowcount != 1:
        raise StaleStateError(f"the slot of nonce {slot.nonce} is not {slot.state} any more")


async def erase_attempts(tx: AsyncConnection, slot_id: int) -> int:
    """
    Erase the signed bytes of a slot, which hold seeds; return how many attempts had any.
    """
    result = await tx.execute(
        update(attempts)
        .where(attempts.c.transaction_id == slot_id, attempts.c.ciphertext.is_not(None))
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
