"""
A tap on the line between a node and its endpoint: it counts what is asked, and notes when
transactions pass.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from oracle.evm import keccak

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BROADCAST = "eth_sendRawTransaction"
# A burst's calldata, and the logs of many blocks.
_MOST_BYTES = 64 * 1024 * 1024


class Tap:
    """
    An HTTP server that hands JSON-RPC on to an endpoint, unchanged.

    `methods` counts every call, those inside batches too; `broadcasts` holds, by transaction hash,
    when (`time.perf_counter`) its bytes first passed.
    """

    def __init__(self, endpoint: str, session: aiohttp.ClientSession) -> None:
        self.methods: Counter[str] = Counter()
        self.broadcasts: dict[bytes, float] = {}
        self.url = ""
        self._endpoint = endpoint
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, endpoint: str) -> AsyncIterator[Tap]:
        """
        Listen on a free port of the loopback interface until the context is left.
        """
        async with AsyncExitStack() as stack:
            tap = cls(endpoint, await stack.enter_async_context(aiohttp.ClientSession()))
            app = web.Application(client_max_size=_MOST_BYTES)
            app.router.add_post("/", tap._pass)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            tap.url = f"http://{host}:{port}"
            yield tap

    @property
    def calls(self) -> int:
        """
        How many calls have passed.
        """
        return self.methods.total()

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._note(json.loads(body))
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._endpoint, data=body, headers=headers) as reply:
            return web.Response(
                body=await reply.read(), status=reply.status, content_type="application/json"
            )

    def _note(self, asked: Any) -> None:
        for call in asked if isinstance(asked, list) else [asked]:
            self.methods[call["method"]] += 1
            if call["method"] == _BROADCAST:
                signed = bytes.fromhex(call["params"][0][2:])
                self.broadcasts.setdefault(keccak(signed), time.perf_counter())
