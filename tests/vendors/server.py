"""
A real HTTP server in this process that answers as a vendor does, and remembers what it was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One request as the server saw it.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Seen], Response]


def reply(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """
    Return a JSON reply.
    """
    return Response(json.dumps(content), status, headers, "application/json")


def text(content: str, status: int) -> Response:
    return Response(content, status, media_type="text/plain")


def always(response: Callable[[], Response]) -> Answer:
    return lambda _: response()


def in_turn(*answers: Answer | Callable[[], Response] | Response) -> Answer:
    """
    Answer with one after the other, and with the last for ever.
    """
    left = list(answers)

    def answer(seen: Seen) -> Response:
        now = left.pop(0) if len(left) > 1 else left[0]
        return now if isinstance(now, Response) else now(seen)  # type: ignore[call-arg]

    return answer


def quantum(n_bytes: int, salt: object = "") -> bytes:
    """
    Return bytes that look random and depend on the arguments alone.
    """
    return hashlib.shake_256(repr(salt).encode()).digest(n_bytes)


@dataclass
class Server:
    """
    A server that runs: its address and what it was asked.
    """

    url: str
    seen: list[Seen] = field(default_factory=list)


@asynccontextmanager
async def serving(answer: Answer, **tls: Any) -> AsyncIterator[Server]:
    """
    Serve until the block is left; `tls` is uvicorn's own.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        seen = Seen(
            request.method,
            request.url.path,
            dict(request.query_params),
            request.headers,
            await request.body(),
        )
        server.seen.append(seen)
        await answer(seen)(scope, receive, send)

    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, **tls)
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        while not running.started and not task.done():
            await asyncio.sleep(0.005)
        yield server
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        # uvicorn's own shutdown takes a tenth of a second.
        for connection in list(running.server_state.connections):
            connection.transport.abort()
        for one in running.servers:
            one.close()
