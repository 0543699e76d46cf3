"""
A node among others: which of the work that its configuration names it does now.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import LeaseLostError, OracleError
from oracle.store import leases
from oracle.store.fenced import FencedDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.store.engine import Database
    from oracle.store.leases import Lease
    from oracle.store.pool import Pool

#: How long a lease lasts, in milliseconds; and the pause between two renewals, in seconds.
LASTS = 6_000
BEAT = 1.5
# Clocks drift and answers are late: a node stops before its lease ends.
_MARGIN = 1.0
# Nodes that were not heard of for a day are struck off.
_FORGOTTEN = 86_400_000


class Seat:
    """
    One piece of work that only one node does at a time, as this node sees it: here, where a
    database serves one node, always its own.
    """

    def __init__(self, name: str, database: Database) -> None:
        self.name = name
        #: What is written under this seat.
        self.database = database
        self.wake = asyncio.Event()
        self.wake.set()

    async def enter(self) -> bool:
        """
        Begin a piece of the work; false while it is not this node's.
        """
        return True


class Leased(Seat):
    """
    A seat under a lease.

    Guarantees: what was begun under one lease is not written under a later one, even if nobody
    else held it in between.
    """

    def __init__(self, name: str, database: Database, node: str) -> None:
        super().__init__(name, FencedDatabase(database, self._check))
        self.wake.clear()
        self.leaving = False
        self._shared = database
        self._node = node
        self._lease: Lease | None = None
        self._entered: Lease | None = None
        self._until = 0.0

    @property
    def held(self) -> bool:
        """
        Whether the lease was this node's when it was last renewed, and has not ended since.
        """
        return self._lease is not None and time.monotonic() < self._until

    def hold(self, lease: Lease, until: float) -> None:
        """
        Note that the lease is this node's until a time of the monotonic clock.
        """
        if self._lease != lease:
            log.get().info("lease_taken", lease=lease.name, token=lease.token)
            self.leaving = False
        self._lease, self._until = lease, until
        self.wake.set()

    def lose(self) -> None:
        """
        Note that the lease is not this node's, or not any more.
        """
        if self._lease is not None:
            log.get().warning("lease_lost", lease=self.name, token=self._lease.token)
        self._lease = None
        self.wake.clear()

    async def enter(self) -> bool:  # noqa: D102 - Seat
        if self.leaving and self._lease is not None:
            async with self._shared.claim() as tx:
                clock = await self._shared.clock(tx)
                await leases.release(tx, self._node, [self.name], clock)
            log.get().info("lease_given_back", lease=self.name, token=self._lease.token)
            self._lease, self.leaving = None, False
        if not self.held:
            self.wake.clear()
            return False
        self._entered = self._lease
        return True

    async def _check(self, tx: AsyncConnection) -> None:
        if self._entered is None or not self.held:
            raise LeaseLostError(f"{self.name} is not this node's any more: nothing is written")
        await leases.check(tx, self._node, self._entered)


class Membership:
    """
    The node alone on its database.
    """

    def __init__(self, database: Database, pool: Pool) -> None:
        self.database = database
        self.pool = pool
        self._seats: dict[str, Seat] = {}

    def seat(self, name: str) -> Seat:
        """
        Return the seat for a piece of work; the same one when called again.
        """
        if name not in self._seats:
            self._seats[name] = self._new_seat(name)
        return self._seats[name]

    def _new_seat(self, name: str) -> Seat:
        return Seat(name, self.database)

    async def is_vouched(self) -> bool:
        """
        Return whether other nodes live that know the database.
        """
        return False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """
        Hold seats while the block runs, and give them back afterwards.
        """
        yield

    def wake(self) -> None:
        """
        Wake whoever waits for a seat.
        """
        for seat in self._seats.values():
            seat.wake.set()


class SharedMembership(Membership):
    """
    The node as one of several on a database.

    Guarantees: a seat is held by one node at a time; it is left when the database could not be
    reached for as long as a lease lasts; work is spread over the nodes that can do it; the node's
    epoch file follows the database, so that a restored backup is seen by every node.
    """

    def __init__(self, database: Database, pool: Pool) -> None:
        super().__init__(database, pool)
        self.node = secrets.token_hex(8)
        self.place = f"{socket.gethostname()}:{os.getpid()}"
        self._leased: dict[str, Leased] = {}

    def _new_seat(self, name: str) -> Seat:
        self._leased[name] = Leased(name, self.database, self.node)
        return self._leased[name]

    async def is_vouched(self) -> bool:  # noqa: D102 - Membership
        async with self.database.read() as connection:
            since = await self.database.clock(connection) - LASTS
            return bool(await leases.peers(connection, self.node, since))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:  # noqa: D102 - Membership
        async with self.database.write() as tx:
            await leases.register(tx, self._leased)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._beat_on())
            try:
                yield
            finally:
                beating.cancel()
                await self._leave()

    async def beat(self) -> None:
        """
        Say that this node lives, prolong its leases, and take those that are free.
        """
        began = time.monotonic()
        await self.pool.follow(self.database)
        async with self.database.claim() as tx:
            clock = await self.database.clock(tx)
            until = clock + LASTS
            # Of two clocks that are read at once one is behind.
            never = until + LASTS
            await leases.note_alive(tx, self.node, self.place, self._leased, clock)
            held = await leases.renew(tx, self.node, until)
            others = await leases.peers(tx, self.node, clock - LASTS)
            free = self._leased.keys() - held.keys()
            room = leases.allowance(self._leased, others) - len(held)
            if free and room > 0:
                held |= await leases.claim(
                    tx, self.node, free, room, clock, until, never_after=never
                )
            # What nobody takes is taken by whoever is there.
            if free := free - held.keys():
                held |= await leases.claim(
                    tx, self.node, free, len(free), clock - LASTS, until, never_after=never
                )
        ends = began + LASTS / 1000 - _MARGIN
        for name, seat in self._leased.items():
            if name in held:
                seat.hold(held[name], ends)
            else:
                seat.lose()
        leaving = leases.to_give_back(held, self._leased, others)
        if leaving is not None and not any(seat.leaving for seat in self._leased.values()):
            self._leased[leaving].leaving = True

    async def _beat_on(self) -> None:
        silent = False
        while True:
            try:
                await self.beat()
                silent = False
            except OracleError as error:
                if not error.retryable:
                    raise
                if not silent:
                    log.get().warning("heartbeat_failed", error=str(error))
                silent = True
            await asyncio.sleep(BEAT)

    async def _leave(self) -> None:
        try:
            async with self.database.claim() as tx:
                clock = await self.database.clock(tx)
                await leases.forget_node(tx, self.node, clock, clock - _FORGOTTEN)
        except OracleError as error:
            if not error.retryable:
                raise
            # They expire by themselves.
            log.get().warning("leases_left_behind", error=str(error))
