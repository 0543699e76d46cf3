"""
A gateway that listens: a simulator that knows one key.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx

from oracle.entropy.source import http_client
from oracle.gateway.app import create_app
from oracle.gateway.server import serve
from oracle.gateway.simulator import SimulatedVisit, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request

    from oracle.gateway.desk import Scope

KEY = "good"


class OneKey(Simulator):
    """
    A simulator that knows one key.
    """

    async def admit(self, request: Request, scope: Scope, key: str | None) -> SimulatedVisit:
        return await super().admit(request, scope, key if key == KEY else None)


@contextlib.asynccontextmanager
async def running(port: int, desk: Simulator | None = None) -> AsyncIterator[str]:
    """
    Serve in this process; yield the base URL.
    """
    app = create_app(desk or OneKey(), faults=True)
    task = asyncio.create_task(serve(app, "127.0.0.1", port))
    url = f"http://127.0.0.1:{port}"
    try:
        async with http_client(1.0) as client, asyncio.timeout(20):
            while not task.done():
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{url}/healthz")).is_success:
                        break
                await asyncio.sleep(0.02)
        yield url
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
