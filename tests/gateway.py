"""
A desk with known bytes, and a client that needs no socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from oracle.errors import KeyRefusedError, OracleError
from oracle.gateway.app import create_app

if TYPE_CHECKING:
    from datetime import date

    from fastapi import Request

    from oracle.gateway.desk import Desk, Scope

KEY = "any"


class CountingDesk:
    """
    Bytes 0, 1, 2, … for the key `any`; it remembers what was drawn, and fails where it is told to.
    """

    client_id = "client"

    def __init__(
        self,
        *,
        simulated: bool = False,
        largest: int = 2**30,
        error: OracleError | None = None,
        open_to: tuple[Scope, ...] = (),
    ) -> None:
        self.simulated = simulated
        self.largest = largest
        self.drawn: list[int] = []
        self.asked: list[tuple[date, date]] = []
        self._error = error
        self._open_to = open_to

    async def admit(self, request: Request, scope: Scope, key: str | None) -> CountingDesk:
        del request
        if key != KEY and scope not in self._open_to:
            raise KeyRefusedError("Not authenticated")
        return self

    async def readmit(self, request: Request, scope: Scope, client_id: str) -> CountingDesk:
        del request, scope
        assert client_id == self.client_id
        return self

    async def draw(self, n_bytes: int) -> bytes:
        if self._error:
            raise self._error
        self.drawn.append(n_bytes)
        return bytes(at % 256 for at in range(n_bytes))

    async def usage(self, first: date, last: date) -> int:
        self.asked.append((first, last))
        return 8 * sum(self.drawn)

    async def level(self) -> float:
        return 0.25


async def call(
    desk: Desk,
    path: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> httpx.Response:
    """
    Send one request to a gateway of its own.
    """
    async with client_of(desk) as client:
        return await client.request(
            method, path, headers={"x-api-key": KEY} if headers is None else headers, **more
        )


def client_of(desk: Desk) -> httpx.AsyncClient:
    """
    Return a client of one gateway.
    """
    transport = httpx.ASGITransport(create_app(desk, faults=desk.simulated))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")
