"""
What is durably known of the entropy sources: their state, what their accounts have used, every
draw, and what every seed was mixed from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from oracle.store.engine import now
from oracle.store.schema import block_inputs, blocks, draws, rounds, sources
from oracle.store.seed_blocks import native_purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_DIGESTS_AT_ONCE = 500  # a statement holds only so many parameters


class SourceState(StrEnum):
    """
    What is durably known of a source.
    """

    READY = "ready"  #: it may be drawn from
    WAITING = "waiting"  #: it is down or asked for a pause: not before `until`
    EXHAUSTED = "exhausted"  #: its quota is used up: not before `until`
    REFUSED = "refused"  #: a person has to act; it is asked again at `until` all the same
    QUARANTINED = "quarantined"  #: its bytes were bad: not before `until`
    RECOVERING = "recovering"  #: out of quarantine: not used before a start-up test is passed


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """
    A source's state and account; times in milliseconds since 1970.

    `reason` is a word for programs, `advice` a sentence for people.
    """

    name: str
    state: SourceState = SourceState.READY
    reason: str | None = None
    advice: str | None = None
    until: int | None = None
    failures: int = 0  #: in a row
    quarantines: int = 0  #: since the last draw that was good
    period_began: int = 0
    used_requests: int = 0
    used_bits: int = 0
    delivered_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """
    What came of a draw: the keyed digest of its bytes, and what the vendor said about them.
    """

    received_at: int
    n_bytes: int
    simulated: bool
    digest: bytes
    provenance: Mapping[str, Any]


async def get(connection: AsyncConnection, name: str) -> SourceRecord | None:
    """
    Return what is known of a source; nothing before its first draw.
    """
    row = (await connection.execute(select(sources).where(sources.c.name == name))).one_or_none()
    if row is None:
        return None
    known = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's name for a public thing
    del known["updated_at"]
    return SourceRecord(**{**known, "state": SourceState(row.state)})


async def put(tx: AsyncConnection, record: SourceRecord) -> None:
    """
    Store what is known of a source.
    """
    values: dict[str, Any] = {
        name: getattr(record, name) for name in SourceRecord.__dataclass_fields__
    } | {"updated_at": now()}
    done = await tx.execute(update(sources).where(sources.c.name == record.name).values(**values))
    if not done.rowcount:
        await tx.execute(insert(sources).values(**values))


async def open_round(tx: AsyncConnection, sources_per_seed: int, names: Sequence[str]) -> int:
    """
    Write down how many and which sources are mixed next, before any is drawn from; return its id.
    """
    result = await tx.execute(
        insert(rounds).values(
            sources_per_seed=sources_per_seed, sources=",".join(names), decided_at=now()
        )
    )
    return _id(result.inserted_primary_key)


async def open_draw(tx: AsyncConnection, round_id: int, source: str) -> int:
    """
    Write down a call to a source before it is made; return its id.
    """
    result = await tx.execute(
        insert(draws).values(round_id=round_id, source=source, opened_at=now())
    )
    return _id(result.inserted_primary_key)


async def close_draw(
    tx: AsyncConnection, draw_id: int, verdict: str, delivery: Delivery | None = None
) -> None:
    """
    Write down what came of a call: `passed`, or why nothing of it is used.
    """
    values: dict[str, Any] = {"verdict": verdict}
    if delivery is not None:
        said = dict(delivery.provenance)
        values |= {
            "received_at": delivery.received_at,
            "bytes": delivery.n_bytes,
            "simulated": delivery.simulated,
            "digest": delivery.digest,
            "provenance": json.dumps(said) if said else None,
        }
    await tx.execute(update(draws).where(draws.c.id == draw_id).values(**values))


async def known_digests(connection: AsyncConnection, digests: Sequence[bytes]) -> set[bytes]:
    """
    Return those of the digests that belong to bytes which were mixed into a block before.
    """
    found: set[bytes] = set()
    for at in range(0, len(digests), _DIGESTS_AT_ONCE):
        some = digests[at : at + _DIGESTS_AT_ONCE]
        found |= set(
            await connection.scalars(
                select(block_inputs.c.digest).where(block_inputs.c.digest.in_(some))
            )
        )
    return found


async def provenance(
    connection: AsyncConnection, chain_id: int, contract: str, index: int
) -> dict[str, Any] | None:
    """
    Return what the seed of an index was mixed from, as `provenance_of` does.
    """
    return await provenance_of(connection, native_purpose(chain_id, contract, index))


async def provenance_of(connection: AsyncConnection, purpose: str) -> dict[str, Any] | None:
    """
    Return what the seed of a purpose was mixed from, for people and programs; nothing secret.

    None where the seed was never here.
    """
    block = (
        await connection.execute(
            select(blocks.c.id, blocks.c.received_at, blocks.c.simulated, blocks.c.sources).where(
                blocks.c.purpose == purpose
            )
        )
    ).one_or_none()
    if block is None:
        return None
    rows = await connection.execute(
        select(
            block_inputs.c.source,
            block_inputs.c.bytes,
            block_inputs.c.digest,
            draws.c.received_at,
            draws.c.verdict,
            draws.c.provenance,
            rounds.c.sources_per_seed,
            rounds.c.decided_at,
        )
        .join(draws, draws.c.id == block_inputs.c.draw_id)
        .join(rounds, rounds.c.id == draws.c.round_id)
        .where(block_inputs.c.block_id == block.id)
        .order_by(block_inputs.c.source)
    )
    inputs = [_input(row._mapping) for row in rows]  # noqa: SLF001 - see above
    return {
        "blockId": block.id.hex(),
        "sources": block.sources.split(","),
        "simulated": block.simulated,
        "receivedAt": block.received_at,
        "inputs": inputs,
    }


def _input(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "source": row["source"],
        "sourcesPerSeed": row["sources_per_seed"],
        "decidedAt": row["decided_at"],
        "receivedAt": row["received_at"],
        "bits": 8 * row["bytes"],
        "health": row["verdict"],
        "digest": row["digest"].hex(),
        "vendorSays": json.loads(row["provenance"]) if row["provenance"] else None,
    }


async def pool_counts(connection: AsyncConnection) -> dict[str, int]:
    """
    Count the pool's blocks: fresh, bound to a purpose and still here, destroyed, and those of the
    destroyed that never had a purpose: too old, or of a restored backup.
    """
    alive, bound = blocks.c.ciphertext.is_not(None), blocks.c.purpose.is_not(None)
    rows = await connection.execute(
        select(alive.label("alive"), bound.label("bound"), func.count()).group_by(alive, bound)
    )
    counts = {"fresh": 0, "bound": 0, "destroyed": 0, "unused": 0}
    for is_alive, is_bound, count in rows:
        counts["destroyed" if not is_alive else "bound" if is_bound else "fresh"] += count
        counts["unused"] += 0 if is_alive or is_bound else count
    return counts


def _id(key: Any) -> int:
    [value] = key
    return int(value)
