"""
Keeping a gateway's pool filled.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from oracle import log
from oracle.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oracle.steps.refill import Refilled

_IDLE = 2.0
_BREATH = 0.1  # how full the pool is takes time to count
_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 30.0
_PAUSE_MOST = 600.0


async def keep_filled(refill: Callable[[], Awaitable[Refilled]], taken: asyncio.Event) -> None:
    """
    Refill until the task is cancelled: at once while blocks come in, else when some were taken.

    Guarantees: trouble with a source stops nothing; it is logged and tried again when the source
    may have recovered.
    """
    backoff = _BACKOFF_FIRST
    said: object = None
    while True:
        taken.clear()
        try:
            done = await refill()
            backoff = _BACKOFF_FIRST
            if done.blocks:
                continue
            if done.waiting:
                pause = min(max(done.retry_in, _BACKOFF_FIRST), _PAUSE_MOST)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE):
                        await taken.wait()
                pause = _BREATH
            if done.waiting and done.waiting != said:
                log.get().warning(
                    "refill_waits", waiting=dict(done.waiting), retry_in=round(pause, 1)
                )
            said = done.waiting
        except OracleError as error:
            pause = backoff if error.retryable else _PAUSE_MOST
            backoff = min(backoff * 2, _BACKOFF_MOST)
            log.get().warning("refill_failed", error=str(error), retry_in=pause)
        await asyncio.sleep(pause)
