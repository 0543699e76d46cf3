"""
A real HTTP proxy in front of a chain's endpoint that can do whatever endpoints do wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Message = dict[str, Any]
    #: Answers a query in the proxy's place.
    Fault = Callable[["Proxy", Message], Awaitable[web.Response | Message | None]]

#: What stands in the URL of every proxy and must never be shown.
KEY = "k3y-0f-th3-0p3r4t0r"
PAGE = "<html><body>502 Bad Gateway, please try later</body></html>"


class Proxy:
    """
    `asked` counts the queries by method; `fault` is what it does wrong, if anything. It is made
    for one event loop, and carries what it is sent as long as nothing is wrong.
    """

    def __init__(self, target: str) -> None:
        self.asked: Counter[str] = Counter()
        self.fault: Fault | None = None
        self.url = ""
        self._target = target
        self._mended = asyncio.Event()
        self._client = httpx.AsyncClient(trust_env=False)

    @property
    def name(self) -> str:
        """
        As much of the URL as may be shown.
        """
        return self.url.partition("/v2/")[0]

    def mend(self) -> None:
        self.fault = None
        self._mended.set()
        self._mended = asyncio.Event()

    async def mended(self) -> None:
        await self._mended.wait()

    async def forward(self, query: Message) -> Message:
        reply: Message = (await self._client.post(self._target, json=query)).json()
        return reply

    async def answer(self, request: web.Request) -> web.Response:
        query = await request.json()
        self.asked[query["method"]] += 1
        made = await (self.forward(query) if self.fault is None else self.fault(self, query))
        if made is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return made if isinstance(made, web.Response) else web.json_response(made)

    async def close(self) -> None:
        self.mend()
        await self._client.aclose()


@asynccontextmanager
async def hostile(target: str, host: str = "127.0.0.1") -> AsyncIterator[Proxy]:
    """
    Yield a proxy that behaves until it is given a fault.
    """
    proxy = Proxy(target)
    app = web.Application()
    app.router.add_post("/v2/" + KEY, proxy.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    proxy.url = f"http://{host}:{runner.addresses[0][1]}/v2/{KEY}"
    try:
        yield proxy
    finally:
        proxy.mend()
        await runner.cleanup()
        await proxy.close()


async def silent(proxy: Proxy, query: Message) -> web.Response:
    """
    Leave every query without an answer until all is mended.
    """
    del query
    await proxy.mended()
    return web.Response(status=503)


async def dropping(proxy: Proxy, query: Message) -> None:
    """
    End the connection without a word.
    """
    del proxy, query


async def page(proxy: Proxy, query: Message) -> web.Response:
    del proxy, query
    return web.Response(text=PAGE, content_type="text/html")


async def truncated(proxy: Proxy, query: Message) -> web.Response:
    text = json.dumps(await proxy.forward(query))
    return web.Response(text=text[: len(text) // 2], content_type="application/json")


def status(code: int, **headers: str) -> Fault:
    async def fault(proxy: Proxy, query: Message) -> web.Response:
        del proxy, query
        return web.Response(
            status=code, headers={name.replace("_", "-"): to for name, to in headers.items()}
        )

    return fault


def says(words: str, *methods: str) -> Fault:
    """
    Answer some methods, or all, with an error.
    """

    async def fault(proxy: Proxy, query: Message) -> Message:
        if methods and query["method"] not in methods:
            return await proxy.forward(query)
        return {"jsonrpc": "2.0", "id": query["id"], "error": {"code": -32000, "message": words}}

    return fault


def edited(method: str, edit: Callable[[list[Any], Any], Any]) -> Fault:
    """
    Answer a method with what `edit` makes of its parameters and its result.
    """

    async def fault(proxy: Proxy, query: Message) -> Message:
        reply = await proxy.forward(query)
        if query["method"] == method and "result" in reply:
            reply["result"] = edit(query["params"], reply["result"])
        return reply

    return fault


def behind(number: int) -> Fault:
    """
    Show no block above a number.
    """

    async def fault(proxy: Proxy, query: Message) -> Message:
        if query["method"] == "eth_getBlockByNumber":
            asked = query["params"][0]
            if asked == "latest":
                query["params"][0] = hex(number)
            elif int(asked, 16) > number:
                return {"jsonrpc": "2.0", "id": query["id"], "result": None}
        return await proxy.forward(query)

    return fault


def only_logs(most: int, words: str = "block range is too wide") -> Fault:
    """
    Give the logs of so many blocks at once.
    """

    async def fault(proxy: Proxy, query: Message) -> web.Response | Message | None:
        if query["method"] == "eth_getLogs":
            asked = query["params"][0]
            if int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) >= most:
                return await says(words)(proxy, query)
        return await proxy.forward(query)

    return fault
