"""
Attempts: which signed bytes may fill a slot, and what was said to them.

A slot is one nonce of one wallet. Its attempts are the signed transactions that may fill it: the
first one, and its replacements at a higher fee. The chain takes exactly one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from oracle.store.engine import now
from oracle.store.schema import attempts
from oracle.store.seal import Sealed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_AMONG_HASHES = attempts.c.transaction_hash.in_(bindparam("hashes", expanding=True))
_AMONG_SLOTS = attempts.c.transaction_id.in_(bindparam("slots", expanding=True))
_OF_SLOTS = select(attempts).where(_AMONG_SLOTS).order_by(attempts.c.id.desc())
_DROP_SAME = delete(attempts).where(
    attempts.c.transaction_id == bindparam("slot"),
    attempts.c.transaction_hash == bindparam("hash"),
)
_UPDATE = update(attempts).where(_AMONG_HASHES)


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


async def add_attempt(tx: AsyncConnection, attempt: Attempt) -> None:
    """
    Store other signed bytes for a slot, see `add_attempts`.

    The same bytes can be made twice, as for a filler after a second reorg: they are one attempt.
    """
    await tx.execute(_DROP_SAME, {"slot": attempt.slot_id, "hash": attempt.transaction_hash})
    await add_attempts(tx, [attempt])


async def add_attempts(tx: AsyncConnection, new: Sequence[Attempt]) -> None:
    """
    Store signed bytes for slots, before anything is sent; they become their newest attempts.
    """
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
    hashes = [one.transaction_hash for one in leaving]
    await tx.execute(_UPDATE, {"hashes": hashes, "sent_at": now(), "sent_block": head})


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
        await tx.execute(_UPDATE, {"hashes": hashes, "tried_block": head, "verdict": verdict})


async def drop_unsent(tx: AsyncConnection, slot_id: int) -> None:
    """
    Delete a slot's bytes that never left: they are not what its nonce is for any more.
    """
    await tx.execute(
        delete(attempts).where(
            attempts.c.transaction_id == slot_id, attempts.c.sent_block.is_(None)
        )
    )


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
    rows = await connection.execute(_OF_SLOTS, {"slots": list(found)})
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
