"""
New heads of a chain, as an endpoint announces them over a WebSocket: a reason to look, no more.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp

from oracle import log
from oracle.errors import EndpointError
from oracle.log import redact_urls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_ANSWER_SECONDS = 10.0
# A ping after so long a silence; without a pong in half of it the connection counts as lost.
_PING_SECONDS = 20.0
_FAREWELL_SECONDS = 0.5
_MOST_BYTES = 256 * 1024
_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 60.0
_HASH = 32


class HeadSubscription:
    """
    `eth_subscribe` to `newHeads` of a chain.

    Guarantees: no error and no log line holds more of the URL than scheme, host and port, nor
    anything in the words of the other side.

    Does not: vouch for a head. What is announced may be late, wrong, of a branch that loses, or
    missing.
    """

    def __init__(self, url: str, chain_id: int) -> None:
        self.name = redact_urls(url)
        self._url = url
        self._chain_id = chain_id

    async def follow(
        self, announce: Callable[[bytes], None], lost: Callable[[], None]
    ) -> NoReturn:
        """
        Announce the hash of every new head until cancelled; say when the line is `lost`, and
        connect again after growing pauses.

        Of one outage there is one warning, however often connecting fails in it.
        """
        backoff = _BACKOFF_FIRST
        said_lost = False
        while True:
            started, followed = time.monotonic(), False
            try:
                async with self._subscribed() as heads:
                    async for head in heads:
                        if not followed:
                            log.get().info("heads_followed", endpoint=self.name)
                            followed, said_lost = True, False
                        announce(head)
            except EndpointError as error:
                if followed:
                    lost()
                # What breaks as soon as it has begun is not asked more often for that.
                if time.monotonic() - started > _BACKOFF_MOST:
                    backoff, said_lost = _BACKOFF_FIRST, False
                if not said_lost:
                    log.get().warning(
                        "heads_lost",
                        error=str(error),
                        advice="the node polls instead, and connects again by itself",
                    )
                    said_lost = True
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _BACKOFF_MOST)

    async def probe(self) -> None:
        """
        Subscribe once, and go.

        Raises `EndpointError` when that is not possible, or the chain is another one.
        """
        async with self._subscribed():
            pass

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Yield the hashes of the heads to come.
        """
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(self._refuse_redirect)
        async with AsyncExitStack() as stack:
            try:
                session = await stack.enter_async_context(
                    aiohttp.ClientSession(trace_configs=[trace])
                )
                async with asyncio.timeout(_ANSWER_SECONDS):
                    socket = await stack.enter_async_context(
                        session.ws_connect(
                            self._url,
                            heartbeat=_PING_SECONDS,
                            max_msg_size=_MOST_BYTES,
                            timeout=aiohttp.ClientWSTimeout(ws_close=_FAREWELL_SECONDS),
                        )
                    )
                    await self._check_chain(socket)
                    subscription = await self._ask(socket, "eth_subscribe", "newHeads")
            except aiohttp.WSServerHandshakeError as error:
                raise EndpointError(
                    f"{self.name} accepts no WebSocket: status {error.status}"
                ) from None
            except TimeoutError:
                raise EndpointError(
                    f"{self.name} does not answer within {_ANSWER_SECONDS:.0f} seconds"
                ) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # These alone name nothing but the host.
                told = isinstance(error, aiohttp.ClientConnectorError)
                reason = str(error) if told else type(error).__name__
                raise EndpointError(f"{self.name} cannot be reached: {reason}") from None
            yield self._heads(socket, subscription)

    async def _refuse_redirect(self, *_: object) -> None:
        # It could lead from wss:// to ws://, the key with it.
        raise EndpointError(f"{self.name} sends elsewhere, which is not followed")

    async def _check_chain(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        answer = await self._ask(socket, "eth_chainId")
        try:
            chain_id = int(answer, 16)
        except (TypeError, ValueError):
            raise self._malformed() from None
        if chain_id != self._chain_id:
            raise EndpointError(f"{self.name} serves chain {chain_id}, not {self._chain_id}")

    async def _ask(
        self, socket: aiohttp.ClientWebSocketResponse, method: str, *params: object
    ) -> Any:
        await socket.send_json(
            {"jsonrpc": "2.0", "id": method, "method": method, "params": list(params)}
        )
        while (reply := await self._receive(socket)).get("id") != method:
            # The first head may come before the subscription is confirmed.
            continue
        if "result" not in reply:
            raise EndpointError(f"{self.name} refuses {method}")
        return reply["result"]

    async def _heads(
        self, socket: aiohttp.ClientWebSocketResponse, subscription: object
    ) -> AsyncIterator[bytes]:
        while True:
            notice = await self._receive(socket)
            try:
                params = notice["params"]
                head = bytes.fromhex(params["result"]["hash"].removeprefix("0x"))
            except (KeyError, TypeError, AttributeError, ValueError):
                raise self._malformed() from None
            if params.get("subscription") != subscription or len(head) != _HASH:
                raise self._malformed()
            yield head

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        message = await socket.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise EndpointError(f"{self.name} ended the connection")
        try:
            content = json.loads(message.data)
        except (ValueError, RecursionError):
            raise self._malformed() from None
        if not isinstance(content, dict):
            raise self._malformed()
        return content

    def _malformed(self) -> EndpointError:
        return EndpointError(f"{self.name} sends something malformed")
