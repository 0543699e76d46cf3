"""
The desk over a real pool: whoever has a key draws blocks that nobody had before.

Draws that wait at the same time are served in one transaction: it checks keys and quotas, counts
what is drawn, binds the blocks and erases them. Only when it has committed do the bytes leave.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import (
    DatabaseUnavailableError,
    KeyRefusedError,
    OracleError,
    PoolError,
    QuotaExhaustedError,
    RateLimitedError,
)
from oracle.faults import fault_point
from oracle.store import clients
from oracle.store.replies import BLOCK_BYTES, Replies

if TYPE_CHECKING:
    from fastapi import Request

    from oracle.gateway.desk import Scope
    from oracle.store.clients import Client, Rate
    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.store.replies import ReservedBlock

# What a restart costs at most, beside the blocks of one reply.
RESERVE_BLOCKS = 256
# How long a revoked key may still be let in; its draw is refused at once.
CLIENTS_SECONDS = 1.0
_BUCKETS_MAX = 10_000
_SHORT_SECONDS = 10.0
# Before a database that is out of reach is tried again.
_PAUSE = 1.0


@dataclass(slots=True)
class _Order:
    client: Client
    n_bytes: int
    reply: asyncio.Future[bytes]

    @property
    def n_blocks(self) -> int:
        return -(-self.n_bytes // BLOCK_BYTES)

    def refuse(self, error: OracleError) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class PoolDesk:
    """
    A desk that serves the blocks of a pool of its own.

    Guarantees: a block goes to one reply, through crashes and restored backups, and what is left
    of the last block of a reply is destroyed with it; a quota is never exceeded; a reply that
    cannot be given whole takes nothing.

    Does not: fill the pool; serve without `run`.
    """

    def __init__(
        self, database: Database, pool: Pool, *, target_blocks: int, simulated: bool
    ) -> None:
        self.simulated = simulated
        self.largest = target_blocks * BLOCK_BYTES
        #: Set when blocks were taken, for whoever keeps the pool filled.
        self.taken = asyncio.Event()
        self._database = database
        self._pool = pool
        self._target = target_blocks
        self._replies = Replies(database, pool)
        self._reserved: deque[ReservedBlock] = deque()
        self._orders: list[_Order] = []
        self._served: list[_Order] = []
        self._ordered = asyncio.Event()
        self._stopped = False
        self._clients: dict[bytes | None, Client] = {}
        self._clients_at = float("-inf")
        self._knowing = asyncio.Lock()
        self._short_at = float("-inf")
        self._buckets = Buckets()

    async def run(self) -> None:
        """
        Serve what is ordered, until the task is cancelled.
        """
        try:
            while True:
                try:
                    await self._serve_all()
                except DatabaseUnavailableError as error:
                    log.get().warning("pool_unreachable", error=str(error), retry_in=_PAUSE)
                    self._refuse_all("The pool is out of reach.")
                await asyncio.sleep(_PAUSE)
        finally:
            self._stopped = True
            self._refuse_all("The gateway has stopped.")

    async def _serve_all(self) -> None:
        """
        Serve what is ordered. What was reserved before is destroyed first: nobody knows whether it
        was spent, by an earlier process or in a commit that was never heard of.
        """
        self._reserved.clear()
        if dropped := await self._replies.drop_reserved():
            log.get().info("reserved_blocks_dropped", blocks=dropped)
        while True:
            await self._pool.wipe(self._database)
            await self._ordered.wait()
            self._ordered.clear()
            self._served = [order for order in self._orders if not order.reply.done()]
            self._orders = []
            await self._serve(self._served)

    def _refuse_all(self, why: str) -> None:
        waiting = [*self._served, *self._orders]
        self._served, self._orders = [], []
        for order in waiting:
            order.refuse(PoolError(why))

    async def admit(self, request: Request, scope: Scope, key: str | None) -> PoolVisit:
        """
        Let in whoever shows a key of this dialect; without a key, whoever comes, if that is
        allowed.
        """
        await self._know_clients()
        key = (key or "").strip()
        client = self._clients.get(clients.digest_of(key) if key else None)
        return self._visit(request, scope, client)

    async def readmit(self, request: Request, scope: Scope, client_id: str) -> PoolVisit:
        """
        Let in a client that is known by its id.
        """
        await self._know_clients()
        known = {str(client.id): client for client in self._clients.values()}
        return self._visit(request, scope, known.get(client_id))

    async def level(self) -> float:
        """
        Return how much of its target the pool holds.
        """
        async with self._database.read() as connection:
            fresh = await self._pool.fresh(connection)
        return min(1.0, (fresh + len(self._reserved)) / self._target)

    async def draw(self, client: Client, address: str, n_bytes: int) -> bytes:
        """
        Order bytes for a client and wait for them.
        """
        if client.rate is not None:
            self._buckets.take((client.id, address if client.anonymous else ""), client.rate)
        order = _Order(client, n_bytes, asyncio.get_running_loop().create_future())
        if self._stopped:
            raise PoolError("The gateway has stopped.")
        self._orders.append(order)
        self._ordered.set()
        return await order.reply

    async def usage(self, client: Client, first: date, last: date) -> int:
        """
        Return the bits that a client drew on some days.
        """
        async with self._database.read() as connection:
            return 8 * await clients.drawn_by(connection, client.id, first, last)

    def _visit(self, request: Request, scope: Scope, client: Client | None) -> PoolVisit:
        if client is None or scope not in client.scopes:
            raise KeyRefusedError("Could not validate credentials")
        address = request.client.host if request.client else ""
        return PoolVisit(self, client, address)

    async def _know_clients(self) -> None:
        async with self._knowing:
            asked_at = time.monotonic()
            if asked_at - self._clients_at < CLIENTS_SECONDS:
                return
            async with self._database.read() as connection:
                self._clients = await clients.by_digest(connection)
            self._clients_at = asked_at

    async def _serve(self, orders: list[_Order]) -> None:
        wanted = sum(order.n_blocks for order in orders)
        if wanted > len(self._reserved):
            missing = wanted - len(self._reserved)
            self._reserved += await self._replies.reserve(max(missing, RESERVE_BLOCKS))
            self.taken.set()
        today = datetime.now(UTC).date()
        spent: list[tuple[_Order, list[ReservedBlock]]] = []
        async with self._database.write() as tx:
            known = {client.id for client in (await clients.by_digest(tx)).values()}
            drawn = await clients.drawn_since(tx, today.replace(day=1))
            for order in orders:
                try:
                    self._check(order, known, drawn.get(order.client.id, 0))
                except OracleError as error:
                    order.refuse(error)
                    continue
                drawn[order.client.id] = drawn.get(order.client.id, 0) + order.n_bytes
                blocks = [self._reserved.popleft() for _ in range(order.n_blocks)]
                spent.append((order, blocks))
            await self._replies.spend(tx, [(secrets.token_hex(16), blocks) for _, blocks in spent])
            for client in {order.client.id: order.client for order, _ in spent}.values():
                sizes = [order.n_bytes for order, _ in spent if order.client.id == client.id]
                await clients.debit(tx, client.id, today, requests=len(sizes), n_bytes=sum(sizes))
        fault_point("reply-committed")
        for order, blocks in spent:
            if not order.reply.done():
                order.reply.set_result(self._replies.open(blocks)[: order.n_bytes])

    def _check(self, order: _Order, known: set[int], drawn: int) -> None:
        client = order.client
        if client.id not in known:
            raise KeyRefusedError("Could not validate credentials")
        if client.quota_bytes is not None and drawn + order.n_bytes > client.quota_bytes:
            raise QuotaExhaustedError(
                "The quota of this month is used up", retry_after=_until_next_month()
            )
        if order.n_blocks > len(self._reserved):
            self._say_short()
            raise PoolError("The pool holds too few blocks.")

    def _say_short(self) -> None:
        if time.monotonic() - self._short_at > _SHORT_SECONDS:
            self._short_at = time.monotonic()
            log.get().warning(
                "supply_short",
                advice="clients draw more than the sources deliver: raise pool.fresh, add a "
                "source, or give the clients rates and quotas",
            )


@dataclass(frozen=True, slots=True)
class PoolVisit:
    """
    A request of a client.
    """

    desk: PoolDesk
    client: Client
    address: str

    @property
    def client_id(self) -> str:
        """
        Return the number of the client.
        """
        return str(self.client.id)

    async def draw(self, n_bytes: int) -> bytes:
        """
        Return bytes that nobody else gets.
        """
        return await self.desk.draw(self.client, self.address, n_bytes)

    async def usage(self, first: date, last: date) -> int:
        """
        Return the bits that the client drew on some days.
        """
        return await self.desk.usage(self.client, first, last)


class Buckets:
    """
    Token buckets in memory: a client may save up the requests of one period, no more.
    """

    def __init__(self) -> None:
        # Tokens that were left, and when.
        self._left: OrderedDict[tuple[int, str], tuple[float, float]] = OrderedDict()

    def take(self, holder: tuple[int, str], rate: Rate) -> None:
        """
        Take one token. Raises `RateLimitedError` when there is none.
        """
        at = time.monotonic()
        left, since = self._left.get(holder, (float(rate.requests), at))
        left = min(float(rate.requests), left + (at - since) * rate.requests / rate.seconds)
        self._left[holder] = (left, at)
        self._left.move_to_end(holder)
        if len(self._left) > _BUCKETS_MAX:
            self._left.popitem(last=False)
        if left < 1:
            raise RateLimitedError(
                "Too Many Requests", retry_after=(1 - left) * rate.seconds / rate.requests
            )
        self._left[holder] = (left - 1, at)


def _until_next_month() -> float:
    at = datetime.now(UTC)
    first = (at.replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return (first - at).total_seconds()
