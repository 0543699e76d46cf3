"""
One task per chain that walks through the steps, and one that keeps the pool filled.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from oracle import log
from oracle.airnode_service import AirnodeService
from oracle.clock import agreed_time
from oracle.coordinator_service import Service
from oracle.errors import ChainError, ConfigError, OracleError
from oracle.pace import Pace
from oracle.request import State
from oracle.steps.airnode_draw import draw_airnode
from oracle.steps.airnode_prune import prune_airnode
from oracle.steps.airnode_sign import sign_airnode
from oracle.steps.airnode_withdraw import withdraw
from oracle.steps.commit import commit
from oracle.steps.draw import draw
from oracle.steps.price import price
from oracle.steps.prune import prune
from oracle.steps.refill import refill
from oracle.steps.send import send
from oracle.steps.settle import erase, settle
from oracle.steps.sign import sign
from oracle.steps.watch import confirm, watch
from oracle.store.leases import POOL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oracle.evm import Block
    from oracle.membership import Membership, Seat
    from oracle.service import ChainService
    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.supplies import Supplies

AnyService = Service | AirnodeService


async def land(service: ChainService[Any], head: Block) -> int:
    """
    Send, before anything is signed: what has landed makes room for it.
    """
    return await send(service, head)


# After `watch`, in the order of a request's life: what one step leaves, the next finds in the same
# pass.
STEPS = (confirm, draw, land, sign, send, settle, commit, price)
AIRNODE_STEPS = (confirm, draw_airnode, withdraw, land, sign_airnode, send, settle)
# The states from which steps move requests, and without which they have nothing to do; settling
# ends transactions too. The others are taken in every pass.
_WORKS_ON: dict[object, State] = {
    confirm: State.OBSERVED,
    draw: State.CONFIRMED,
    draw_airnode: State.CONFIRMED,
    land: State.DRAWN,
    sign: State.DRAWN,
    sign_airnode: State.DRAWN,
    settle: State.MINED,
}

# So often it is looked for what can be erased, and pruned: nothing waits for that.
_TIDY_SECONDS = 10.0
_REFILL_IDLE = 2.0
_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 30.0
_REFILL_MOST = 600.0
_REFUSED_PAUSE = 60.0


@dataclass(slots=True)
class _Work:
    """
    What there is to do in a pass: for requests in some states, and for transactions under way.
    """

    states: set[State]
    sends: bool
    #: How many rows the steps have moved; and had by the time at which all was sent.
    moved: int = 0
    _sent_at: int | None = None

    def is_there_for(self, step: object) -> bool:
        """
        Return whether the next step may have something to do.
        """
        works_on = _WORKS_ON.get(step)
        if step is send:
            return self.moved != self._sent_at
        if step is land and not self.sends:
            return False
        if step is settle and self.sends:
            return True
        return works_on is None or self.moved > 0 or works_on in self.states

    def note(self, step: object, moved: int) -> None:
        """
        Take note of what a step did.
        """
        self.moved += moved
        if step is land:
            self._sent_at = self.moved


async def walk(service: AnyService, head: Block, *, tidies: bool = True) -> int:
    """
    Take every step once, under one head, and tidy up if asked to; return how many rows moved.
    """
    started = time.monotonic()
    moved = await watch(service, head)
    work = _Work(*await service.under_way())
    if isinstance(service, Service):
        for step in STEPS:
            if work.is_there_for(step):
                work.note(step, await step(service, head))
    else:
        for airnode_step in AIRNODE_STEPS:
            if work.is_there_for(airnode_step):
                work.note(airnode_step, await airnode_step(service, head))
        # Nothing waits now, and the next request will.
        await service.pool.prepare(service.database)
    moved += work.moved
    if tidies:
        await erase(service, head)
        if isinstance(service, Service):
            await prune(service, head)
        else:
            await prune_airnode(service, head)
    await service.pool.wipe(service.database)
    log.get().debug(
        "pass_done", head=head.number, moved=moved, ms=round(1000 * (time.monotonic() - started))
    )
    return moved


class Heads(Protocol):
    """
    Whoever announces new heads of a chain.
    """

    async def follow(self, announce: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        """
        Announce the hash of every head until cancelled; say when there is none for now.
        """
        ...


class Choice(Protocol):
    """
    Whoever chooses between passes from which endpoint the next one reads.
    """

    def passed(self) -> None:
        """
        Take note that a pass succeeded.
        """
        ...

    def failed(self, error: ChainError) -> float:
        """
        Take note that a pass was interrupted; return the seconds until there is an endpoint to
        read from.
        """
        ...


S_co = TypeVar("S_co", bound=AnyService, covariant=True)


class Link(Protocol[S_co]):
    """
    One contract on one chain, as the configuration names it.
    """

    @property
    def name(self) -> str:
        """
        Its name in the configuration.
        """
        ...

    @property
    def lease(self) -> str:
        """
        The name under which one node at a time serves it, the same in every node's configuration.
        """
        ...

    @property
    def heads(self) -> Heads | None:
        """
        Who announces its heads, if anybody.
        """
        ...

    async def connect(self, database: Database, pool: Pool) -> S_co:
        """
        Check the chain and return the service for the next pass, which reads from one endpoint;
        the same one when called again, but for the endpoints.

        Raises `EndpointError` while the chain does not answer, `ConfigError` when it is not what
        it should be.
        """
        ...

    @property
    def endpoints(self) -> Choice:
        """
        Who is told how its passes went.
        """
        ...


class Runner:
    """
    The node at work.

    Guarantees: nothing is sent before the chain was read; every chain goes on by itself, whatever
    another's endpoint does, and only while its seat is this node's; an announced head is a reason
    to ask the endpoint, and nothing more; errors that pass by themselves are retried with growing
    pauses, every other one stops the node; `stop` ends it between two passes.
    """

    def __init__(  # noqa: PLR0913
        self,
        membership: Membership,
        pool: Pool,
        supplies: Supplies,
        links: Sequence[Link[Service]],
        airnodes: Sequence[Link[AirnodeService]] = (),
        *,
        fresh: int,
        poll_seconds: float,
        max_age_hours: float | None = None,
    ) -> None:
        self.membership = membership
        self.database = membership.database
        self.pool = pool
        self.supplies = supplies
        self.links = links
        self.airnodes = airnodes
        self._fresh = fresh
        self._max_age_hours = max_age_hours
        self._stop = asyncio.Event()
        self._paces = [Pace(poll_seconds, self._stop) for _ in (*links, *airnodes)]
        self._refills = 0
        #: What time it is by this machine and by a chain; nothing before a chain was seen.
        self._reached: int | None = None
        self._keeper = membership.seat(POOL)
        everything: list[Link[AnyService]] = [*links, *airnodes]
        self._seats = [membership.seat(link.lease) for link in everything]

    def stop(self) -> None:
        """
        Ask the node to end.
        """
        self._stop.set()
        self._hasten()
        self.membership.wake()

    async def run(self) -> None:
        """
        Work until `stop` is called.
        """
        await self.pool.wipe(self.database)
        everything: list[Link[AnyService]] = [*self.links, *self.airnodes]
        async with self.membership.running(), asyncio.TaskGroup() as tasks:
            for link, pace, seat in zip(everything, self._paces, self._seats, strict=True):
                tasks.create_task(self._follow_chain(link, pace, seat))
            tasks.create_task(self._keep_pool())
            listening = [
                tasks.create_task(self._listen(link.name, link.heads, pace))
                for link, pace in zip(everything, self._paces, strict=True)
                if link.heads is not None
            ]
            await self._stop.wait()
            for task in listening:
                task.cancel()
        await self.pool.wipe(self.database)

    @staticmethod
    async def _listen(name: str, heads: Heads, pace: Pace) -> None:
        with log.bound(chain=name):
            await heads.follow(pace.announce, pace.hasten)

    async def _follow_chain(self, link: Link[AnyService], pace: Pace, seat: Seat) -> None:
        with log.bound(chain=link.name):
            backoff = _BACKOFF_FIRST
            tidied = -math.inf
            seen: tuple[bytes, int] | None = None
            while not self._stop.is_set():
                try:
                    if not await seat.enter():
                        seen = None
                        await self._wait_for(seat)
                        continue
                    service = await link.connect(seat.database, self.pool)
                    head = await service.reader.block()
                    self._reached = max(self._reached or 0, agreed_time(service, head))
                    here = (head.hash, self._refills)
                    if here != seen:
                        tidies = time.monotonic() - tidied >= _TIDY_SECONDS
                        moved = await walk(service, head, tidies=tidies)
                        if tidies:
                            tidied = time.monotonic()
                        # What moved may move on under the same head.
                        seen = None if moved else here
                    link.endpoints.passed()
                    backoff = _BACKOFF_FIRST
                    if seen is None:
                        await asyncio.sleep(0)
                    else:
                        await pace.wait(head.hash)
                except OracleError as error:
                    # A chain that answers late and is another one than configured waits for a
                    # person; the others go on.
                    refused = isinstance(error, ConfigError)
                    if not (error.retryable or refused):
                        raise
                    pause = _REFUSED_PAUSE if refused else backoff
                    if isinstance(error, ChainError):
                        # At once, where another endpoint is there.
                        pause = link.endpoints.failed(error)
                    log.get().warning("pass_interrupted", error=str(error), retry_in=pause)
                    seen = None
                    backoff = min(backoff * 2, _BACKOFF_MOST)
                    await self._wait(pause)

    async def _keep_pool(self) -> None:
        backoff = _BACKOFF_FIRST
        said: object = None
        filled = False
        while not self._stop.is_set():
            pause = _REFILL_IDLE
            try:
                if not await self._keeper.enter():
                    # Whoever kept it meanwhile knows more of the sources.
                    self.supplies.forget()
                    await self._wait_for(self._keeper)
                    continue
                done = await refill(
                    self._keeper.database,
                    self.pool,
                    self.supplies,
                    self._fresh,
                    # A clock that jumps forward must not cost all that is in the pool.
                    max_age_hours=None if self._reached is None else self._max_age_hours,
                    at=self._reached,
                )
                backoff = _BACKOFF_FIRST
                if filled and not done.blocks:
                    # What came in may be committed under the same head.
                    self._hasten()
                filled = done.blocks > 0
                if filled:
                    self._refills += 1
                    pause = 0
                elif done.waiting:
                    # Requests that are committed need no source: a source's trouble never stops
                    # the node.
                    pause = min(max(done.retry_in, _BACKOFF_FIRST), _REFILL_MOST)
                if done.waiting != said and done.waiting.keys():
                    log.get().warning(
                        "refill_waits",
                        reason="too_few_sources",
                        required=self.supplies.per_seed,
                        waiting=dict(done.waiting),
                        retry_in=round(pause, 1),
                    )
                said = done.waiting
            except OracleError as error:
                pause = backoff if error.retryable else _REFILL_MOST
                backoff = min(backoff * 2, _BACKOFF_MOST)
                log.get().warning("refill_failed", error=str(error), retry_in=pause)
            await self._wait(pause)

    async def _wait_for(self, seat: Seat) -> None:
        if not self._stop.is_set():
            await seat.wake.wait()

    def _hasten(self) -> None:
        for pace in self._paces:
            pace.hasten()

    async def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
