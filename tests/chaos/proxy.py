"""
A real HTTP proxy between the nodes and what they depend on: it does to their calls what bad
endpoints, bad networks and bad vendors do, and shows every broadcast to a witness.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from aiohttp import web

from tests.chaos.lies import LIES, Lie

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from tests.chaos.schedule import Fault

BROADCAST = "eth_sendRawTransaction"
PAGE = "<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>"
_MOST_BYTES = 64 * 1024 * 1024
# A gateway's faults of this kind reach one of the two sources only.
_FIRST_SOURCE = "/anu"


class Witness(Protocol):
    """
    Whoever wants to know what a node gives away.
    """

    async def saw(self, node: str, signed: bytes) -> None:
        """
        Take note of bytes that have left a node, whatever becomes of them.
        """
        ...


class Proxy:
    """
    Listens for every node under `/NODE/ENDPOINT` (the chain) and `/gateway` (the QRNG services).

    Guarantees: bytes that a node broadcasts are shown to the witness before anything else happens
    to them; what is delayed is handed on at its tick, or when all faults end.
    """

    def __init__(self, chain: str, gateway: str, witness: Witness, seed: int) -> None:
        self.hits: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._chain = chain
        self._gateway = gateway
        self._witness = witness
        # Which of the calls a fault hits: the calls come as they come, so this repeats nothing.
        self._rng = random.Random(seed)
        self._active: list[Fault] = []
        self._ended = asyncio.Event()
        self._tick = 0
        self._delayed: list[tuple[int, bytes]] = []
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post("/{node:node-[0-9]+}/{endpoint}", self._serve_chain)
        app.router.add_route("*", "/gateway{path:/.*}", self._serve_gateway)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        await self._stack.aclose()

    def begin(self, fault: Fault) -> None:
        """
        Let a fault begin.
        """
        self._active.append(fault)

    async def tick(self, tick: int) -> None:
        """
        End what ends now, and hand on what was delayed until now.
        """
        self._tick = tick
        self._keep([fault for fault in self._active if fault.end > tick])
        due = [signed for at, signed in self._delayed if at <= tick]
        self._delayed = [(at, signed) for at, signed in self._delayed if at > tick]
        await self._hand_on(due)

    async def calm(self) -> None:
        """
        End all faults.
        """
        self._keep([])
        due, self._delayed = [signed for _, signed in self._delayed], []
        await self._hand_on(due)

    def _keep(self, faults: list[Fault]) -> None:
        if len(faults) < len(self._active):
            self._active = faults
            # Whoever hangs looks whether it was his fault that ended.
            self._ended.set()
            self._ended = asyncio.Event()

    async def _hand_on(self, waiting: list[bytes]) -> None:
        for signed in waiting:
            await self._ask(call(BROADCAST, "0x" + signed.hex()))

    def _hitting(self, *targets: str) -> list[Fault]:
        return [
            fault
            for fault in self._active
            if fault.target in targets and self._rng.random() < fault.arguments.get("rate", 1.0)
        ]

    async def _serve_chain(self, request: web.Request) -> web.StreamResponse:
        node = request.match_info["node"]
        asked = json.loads(await request.read())
        calls = asked if isinstance(asked, list) else [asked]
        for one in calls:
            if one["method"] == BROADCAST:
                await self._witness.saw(node, bytes.fromhex(one["params"][0].removeprefix("0x")))
        hitting = self._hitting(node, f"{node}/{request.match_info['endpoint']}")
        transport = next((fault for fault in hitting if fault.kind in TRANSPORT), None)
        lies = [fault for fault in hitting if fault.kind in LIES]
        if transport is not None:
            self.hits[transport.kind] += 1
            if transport.arguments.get("done"):
                for one in calls:
                    await self._ask(one)
            if transport.kind == "rpc-timeout":
                await self._hang(transport)
            return await TRANSPORT[transport.kind](request, lambda: self._ask(calls[0]))
        replies = [await self._answer(one, lies) for one in calls]
        if any(reply is None for reply in replies):
            return await _drop(request, None)
        return web.json_response(replies if isinstance(asked, list) else replies[0])

    async def _answer(self, one: dict[str, Any], faults: list[Fault]) -> dict[str, Any] | None:
        for fault in faults:
            lie = LIES[fault.kind](fault.arguments)
            if lie.concerns(one):
                self.hits[fault.kind] += 1
                return await self._lie(one, lie)
        return await self._ask(one)

    async def _lie(self, one: dict[str, Any], lie: Lie) -> dict[str, Any] | None:
        if lie.delays is not None:
            signed = bytes.fromhex(one["params"][0].removeprefix("0x"))
            self._delayed.append((self._tick + lie.delays, signed))
        head = 0
        if lie.needs_head:
            head = int((await self._ask(call("eth_blockNumber")))["result"], 16)
        one = lie.asked(one, head)
        reply = await self._ask(one) if lie.asks else {"jsonrpc": "2.0", "id": one["id"]}
        return lie.told(one, reply, head, self._rng)

    async def _ask(self, one: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(self._chain, json=one) as reply:
            told: dict[str, Any] = await reply.json(content_type=None)
            return told

    async def _hang(self, fault: Fault) -> None:
        while fault in self._active:
            await self._ended.wait()

    async def _serve_gateway(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "content-length", "connection")
        }
        for fault in self._hitting("gateway"):
            if fault.kind == "gateway-bad" and not path.startswith(_FIRST_SOURCE):
                continue
            self.hits[fault.kind] += 1
            headers["X-Simulate-Fault"] = fault.arguments["fault"]
        url = f"{self._gateway}{request.rel_url.raw_path_qs.removeprefix('/gateway')}"
        try:
            async with self._session.request(
                request.method,
                url,
                data=await request.read(),
                headers=headers,
                allow_redirects=False,
            ) as reply:
                kept = {
                    name: value
                    for name, value in reply.headers.items()
                    if name.lower()
                    not in ("transfer-encoding", "content-length", "content-encoding", "server")
                }
                return web.Response(body=await reply.read(), status=reply.status, headers=kept)
        except aiohttp.ClientError:
            return await _drop(request, None)


def call(method: str, *params: object) -> dict[str, Any]:
    """
    Return a JSON-RPC call.
    """
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}


if TYPE_CHECKING:
    Ask = Callable[[], Awaitable[dict[str, Any]]]
    Reply = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]


async def _drop(request: web.Request, _: object) -> web.StreamResponse:
    """
    End the connection without a word.
    """
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _throttle(_: web.Request, __: object) -> web.StreamResponse:
    return web.json_response(
        {"error": "too many requests"}, status=429, headers={"Retry-After": "1"}
    )


async def _fail(_: web.Request, __: object) -> web.StreamResponse:
    return web.Response(text="upstream connect error", status=503)


async def _show_page(_: web.Request, __: object) -> web.StreamResponse:
    return web.Response(text=PAGE, content_type="text/html")


async def _truncate(_: web.Request, ask: Ask) -> web.StreamResponse:
    text = json.dumps(await ask())
    return web.Response(text=text[: len(text) // 2], content_type="application/json")


#: Faults of the connection, whatever was asked.
TRANSPORT: dict[str, Reply] = {
    "rpc-timeout": _drop,
    "rpc-429": _throttle,
    "rpc-5xx": _fail,
    "rpc-dropped": _drop,
    "rpc-truncated": _truncate,
    "rpc-html": _show_page,
}
