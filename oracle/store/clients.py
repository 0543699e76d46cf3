"""
The clients of the gateway: keys by their digests, scopes, rates, quotas, and what was drawn.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from oracle.errors import ConfigError
from oracle.store.engine import now
from oracle.store.schema import gateway_clients, gateway_usage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Rate:
    """
    So many requests in so many seconds.
    """

    requests: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """
    Who may draw: in which dialects, how fast, and how many bytes in a calendar month (UTC).
    """

    id: int
    name: str
    scopes: frozenset[str]
    rate: Rate | None
    quota_bytes: int | None
    created_at: int
    revoked_at: int | None

    @property
    def anonymous(self) -> bool:
        """
        Whether this stands for everybody who shows no key.
        """
        return self.name == ANONYMOUS


def digest_of(key: str) -> bytes:
    """
    Return the 32 bytes by which a key is known: it has 256 random bits, so a plain hash hides it.
    """
    return hashlib.sha256(key.encode()).digest()


async def create(
    tx: AsyncConnection,
    name: str,
    scopes: Iterable[str],
    *,
    rate: Rate | None,
    quota_bytes: int | None,
) -> str | None:
    """
    Add a client and return its key, which is stored nowhere; `anonymous` has none.

    Raises `ConfigError` when there is a client of that name.
    """
    key = None if name == ANONYMOUS else secrets.token_urlsafe(32)
    try:
        await tx.execute(
            insert(gateway_clients).values(
                name=name,
                digest=None if key is None else digest_of(key),
                scopes=",".join(sorted(scopes)),
                rate_requests=rate.requests if rate else None,
                rate_seconds=rate.seconds if rate else None,
                quota_bytes=quota_bytes,
                created_at=now(),
            )
        )
    except IntegrityError:
        raise ConfigError(
            f"there is a client {name!r} already: revoke it, or choose another name"
        ) from None
    return key


async def revoke(tx: AsyncConnection, name: str) -> None:
    """
    Let a client draw no more. Raises `ConfigError` when there is none of that name.
    """
    revoked = await tx.execute(
        update(gateway_clients)
        .where(gateway_clients.c.name == name, gateway_clients.c.revoked_at.is_(None))
        .values(revoked_at=now())
    )
    if not revoked.rowcount:
        raise ConfigError(f"there is no client {name!r} that could be revoked")


async def everyone(connection: AsyncConnection) -> list[Client]:
    """
    Return all clients, the revoked ones too, in the order of their making.
    """
    rows = await connection.execute(select(gateway_clients).order_by(gateway_clients.c.id))
    return [_client(row) for row in rows]


async def by_digest(connection: AsyncConnection) -> dict[bytes | None, Client]:
    """
    Return the clients that may draw; under nothing the anonymous one, if there is one.
    """
    rows = await connection.execute(
        select(gateway_clients).where(gateway_clients.c.revoked_at.is_(None))
    )
    return {row.digest: _client(row) for row in rows}


async def drawn_since(connection: AsyncConnection, first: date) -> dict[int, int]:
    """
    Return the bytes that each client drew since a day, by the client's id.
    """
    rows = await connection.execute(
        select(gateway_usage.c.client_id, func.sum(gateway_usage.c.n_bytes))
        .where(gateway_usage.c.day >= first)
        .group_by(gateway_usage.c.client_id)
    )
    return {client_id: int(n_bytes) for client_id, n_bytes in rows}


async def drawn_by(connection: AsyncConnection, client_id: int, first: date, last: date) -> int:
    """
    Return the bytes that one client drew on the days from `first` to `last`.
    """
    n_bytes = await connection.scalar(
        select(func.sum(gateway_usage.c.n_bytes)).where(
            gateway_usage.c.client_id == client_id, gateway_usage.c.day.between(first, last)
        )
    )
    return int(n_bytes or 0)


async def debit(
    tx: AsyncConnection, client_id: int, day: date, *, requests: int, n_bytes: int
) -> None:
    """
    Count what a client draws, in the transaction that gives it.
    """
    updated = await tx.execute(
        update(gateway_usage)
        .where(gateway_usage.c.client_id == client_id, gateway_usage.c.day == day)
        .values(
            requests=gateway_usage.c.requests + requests,
            n_bytes=gateway_usage.c.n_bytes + n_bytes,
        )
    )
    if not updated.rowcount:
        await tx.execute(
            insert(gateway_usage).values(
                client_id=client_id, day=day, requests=requests, n_bytes=n_bytes
            )
        )


def _client(row: Row[tuple[object, ...]]) -> Client:
    rate = None if row.rate_requests is None else Rate(row.rate_requests, row.rate_seconds)
    return Client(
        id=row.id,
        name=row.name,
        scopes=frozenset(row.scopes.split(",")),
        rate=rate,
        quota_bytes=row.quota_bytes,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
