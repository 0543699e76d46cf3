"""
One task per chain that walks through the steps, and one that keeps the pool filled.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import OracleError
from oracle.steps.commit import commit
from oracle.steps.draw import draw
from oracle.steps.refill import refill
from oracle.steps.send import send
from oracle.steps.settle import settle
from oracle.steps.sign import sign
from oracle.steps.watch import watch

if TYPE_CHECKING:
    from oracle.evm import Block
    from oracle.service import Service
    from oracle.supply import Supplies

# In the order of a request's life: what one step leaves, the next finds in the same pass.
STEPS = (watch, draw, sign, send, settle, commit)

_REFILL_IDLE = 2.0
_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 30.0
_REFILL_MOST = 600.0


async def walk(service: Service, head: Block) -> int:
    """
    Take every step once, under one head; return how many rows moved.
    """
    started = time.monotonic()
    moved = 0
    for step in STEPS:
        moved += await step(service, head)
    await service.pool.wipe(service.database)
    log.get().debug(
        "pass_done", head=head.number, moved=moved, ms=round(1000 * (time.monotonic() - started))
    )
    return moved


class Runner:
    """
    The node at work.

    Guarantees: nothing is sent before the chain was read; errors that pass by themselves are
    retried with growing pauses, every other one stops the node; `stop` ends it between two passes.
    """

    def __init__(
        self, service: Service, supplies: Supplies, *, fresh: int, poll_seconds: float
    ) -> None:
        self.service = service
        self.supplies = supplies
        self._fresh = fresh
        self._poll_seconds = poll_seconds
        self._stop = asyncio.Event()
        self._refilled = asyncio.Event()

    def stop(self) -> None:
        """
        Ask the node to end.
        """
        self._stop.set()

    async def run(self) -> None:
        """
        Work until `stop` is called.
        """
        service = self.service
        await service.lane.prepare(service.database, service.reader)
        await service.pool.wipe(service.database)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_chain())
            tasks.create_task(self._keep_pool())
        await service.pool.wipe(service.database)

    async def _follow_chain(self) -> None:
        service = self.service
        backoff = _BACKOFF_FIRST
        seen: bytes | None = None
        while not self._stop.is_set():
            pause = self._poll_seconds
            try:
                head = await service.reader.block()
                if head.hash != seen or self._refilled.is_set():
                    self._refilled.clear()
                    moved = await walk(service, head)
                    # What moved may move on under the same head.
                    seen = None if moved else head.hash
                    pause = 0 if moved else pause
                backoff = _BACKOFF_FIRST
            except OracleError as error:
                if not error.retryable:
                    raise
                log.get().warning("pass_interrupted", error=str(error), retry_in=backoff)
                seen = None
                pause = backoff
                backoff = min(backoff * 2, _BACKOFF_MOST)
            await self._wait(pause)

    async def _keep_pool(self) -> None:
        service = self.service
        backoff = _BACKOFF_FIRST
        said: object = None
        while not self._stop.is_set():
            pause = _REFILL_IDLE
            try:
                done = await refill(service.database, service.pool, self.supplies, self._fresh)
                backoff = _BACKOFF_FIRST
                if done.blocks:
                    self._refilled.set()
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

    async def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
