"""
Running until a person, or the system, says that it is enough.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_told(work: Coroutine[None, None, T]) -> T:
    """
    Run a coroutine; SIGINT, SIGTERM and SIGHUP cancel it, at whatever point, so that it cleans up.

    Raises `click.Abort` when it was cancelled.
    """

    async def cancellable() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, task.cancel)
        return await task

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise click.Abort from None
