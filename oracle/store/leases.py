"""
Leases: which node does what, where several share a database. Whoever takes one over gets a higher
token, and every write checks its token in its own transaction: a node that was paused and wakes
with an old lease can write nothing.

A lease with a fencing token, as in M. Kleppmann, "How to do distributed locking" (2016).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, or_, select, update

from oracle.errors import LeaseLostError
from oracle.store.schema import leases, nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

#: The one that keeps the pool filled; the others are named after what they serve.
POOL = "pool"
# After any time that there is.
_NEVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Lease:
    """
    The right to do what `name` says; `token` rises with every change of hands.
    """

    name: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """
    Another node that was heard of lately: what it can do, and what it does.
    """

    id: str
    wants: frozenset[str]
    held: frozenset[str]


async def register(tx: AsyncConnection, names: Collection[str]) -> None:
    """
    Make rows for leases that no node ever held; in a `Database.write`, one node at a time.
    """
    known = set(await tx.scalars(select(leases.c.name).where(leases.c.name.in_(list(names)))))
    rows = [
        {"name": name, "holder": None, "token": 0, "expires_at": 0}
        for name in sorted(set(names) - known)
    ]
    if rows:
        await tx.execute(insert(leases), rows)


async def note_alive(
    tx: AsyncConnection, node: str, place: str, wants: Collection[str], clock: int
) -> None:
    """
    Write down that a node lives, where, and what it can do.
    """
    values = {"place": place, "wants": json.dumps(sorted(wants)), "seen_at": clock}
    noted = await tx.execute(update(nodes).where(nodes.c.id == node).values(**values))
    if not noted.rowcount:
        await tx.execute(insert(nodes).values(id=node, started_at=clock, **values))


async def renew(tx: AsyncConnection, node: str, until: int) -> dict[str, Lease]:
    """
    Prolong what a node holds, and return it.
    """
    await tx.execute(update(leases).where(leases.c.holder == node).values(expires_at=until))
    rows = await tx.execute(select(leases.c.name, leases.c.token).where(leases.c.holder == node))
    return {row.name: Lease(row.name, row.token) for row in rows}


async def peers(connection: AsyncConnection, node: str, since: int) -> list[Peer]:
    """
    Return the other nodes that were heard of since a time, by id.
    """
    held: dict[str, set[str]] = {}
    for row in await connection.execute(
        select(leases.c.name, leases.c.holder).where(leases.c.holder.is_not(None))
    ):
        held.setdefault(row.holder, set()).add(row.name)
    rows = await connection.execute(
        select(nodes.c.id, nodes.c.wants)
        .where(nodes.c.id != node, nodes.c.seen_at > since)
        .order_by(nodes.c.id)
    )
    return [
        Peer(
            id=row.id,
            wants=frozenset(json.loads(row.wants)),
            held=frozenset(held.get(row.id, ())),
        )
        for row in rows
    ]


async def claim(  # noqa: PLR0913
    tx: AsyncConnection,
    node: str,
    names: Collection[str],
    many: int,
    free_since: int,
    until: int,
    *,
    never_after: int = _NEVER,
) -> dict[str, Lease]:
    """
    Take up to `many` of the leases that expired, or were given back, at a time or before; or that
    end after a time at which none can end.

    What another node is about to take or to write under is passed over, not waited for.
    """
    found = await tx.execute(
        select(leases.c.name, leases.c.token)
        .where(
            leases.c.name.in_(list(names)),
            # What ends later than any lease can is of a holder that died before the database's
            # clock went back.
            (leases.c.expires_at <= free_since) | (leases.c.expires_at > never_after),
        )
        .order_by(leases.c.name)
        .limit(many)
        .with_for_update(skip_locked=True)
    )
    taken = {}
    for row in found.all():
        await tx.execute(
            update(leases)
            .where(leases.c.name == row.name)
            .values(holder=node, token=row.token + 1, expires_at=until)
        )
        taken[row.name] = Lease(row.name, row.token + 1)
    return taken


async def release(tx: AsyncConnection, node: str, names: Collection[str], clock: int) -> None:
    """
    Give leases back before they expire.
    """
    await tx.execute(
        update(leases)
        .where(leases.c.holder == node, leases.c.name.in_(list(names)))
        .values(holder=None, expires_at=clock)
    )


async def forget_node(tx: AsyncConnection, node: str, clock: int, silent_since: int) -> None:
    """
    Give back everything that a node holds and strike it off, with those that were not heard of for
    long.
    """
    await tx.execute(
        update(leases).where(leases.c.holder == node).values(holder=None, expires_at=clock)
    )
    await tx.execute(delete(nodes).where(or_(nodes.c.id == node, nodes.c.seen_at <= silent_since)))


async def check(tx: AsyncConnection, node: str, lease: Lease) -> None:
    """
    Raise `LeaseLostError` unless the lease is still the node's; until the transaction ends nobody
    else can take it.
    """
    row = await tx.scalar(
        select(leases.c.name)
        .where(
            leases.c.name == lease.name,
            leases.c.holder == node,
            leases.c.token == lease.token,
        )
        .with_for_update(read=True)
    )
    if row is None:
        raise LeaseLostError(f"another node does {lease.name} now: nothing is written here")


def allowance(wants: Collection[str], others: Sequence[Peer]) -> int:
    """
    Return how many leases a node takes, so that all that can do the same work have as much.
    """
    sharing = sum(not peer.wants.isdisjoint(wants) for peer in others)
    return -(-len(wants) // (1 + sharing))


def to_give_back(
    mine: Collection[str], wants: Collection[str], others: Sequence[Peer]
) -> str | None:
    """
    Return the lease that a node gives up to one that has less work and can do it; one at a time.
    """
    fair = allowance(wants, others)
    if len(mine) <= fair:
        return None
    wanting: Mapping[str, int] = {
        name: len(peer.held)
        for peer in others
        for name in peer.wants & set(mine)
        if len(peer.held) < fair
    }
    # The pool's keeper goes last: its sources' stock is in memory.
    return max(wanting, key=lambda name: (name != POOL, name), default=None)
