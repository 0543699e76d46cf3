"""
A labelled simulator: the operating system's bytes instead of a quantum device's, and, on request,
the faults of a real service.

A fault is asked for by the header `X-Simulate-Fault: NAME`, or, where a client can set nothing but
its base URL, by `/faults/NAME` in front of the path.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse

from oracle.errors import (
    KeyRefusedError,
    PoolError,
    QuotaExhaustedError,
    RateLimitedError,
)
from oracle.gateway.desk import Scope

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

HEADER = "X-Simulate-Fault"
PREFIX = "/faults/"
#: Every fault and what it does.
FAULTS = {
    "rate-limit": "the client is told that it draws too fast",
    "quota": "the client is told that its quota is used up",
    "unavailable": "the service has no entropy to give",
    "wrong-key": "every key is refused",
    "expired-token": "an access token is refused (QCI), the API token is not",
    "slow": "the reply begins after 5 s, or after N with slow:N",
    "short": "the reply holds half of what was asked for, or nothing",
    "empty": "the reply is a success without any data",
    "garbage": "the reply is status 200 and a web page",
    "stuck-bits": "every bit is one",
    "repeat": "the same request gets the same bytes again",
}

_FAULT = "oracle.gateway.fault"
_SLOW_SECONDS, _SLOW_MOST = 5.0, 300.0
_CLIENTS_MAX = 1000
_REPLY_MAX = 16 * 1024 * 1024


class Simulator:
    """
    A desk for devnets and tests: every key but the empty one is good, and every reply is marked as
    simulated.
    """

    simulated = True
    largest = _REPLY_MAX

    def __init__(self) -> None:
        self._repeated = os.urandom(32)
        # What each client drew on each day, in bits, for as many clients as fit.
        self._drawn: OrderedDict[str, dict[date, int]] = OrderedDict()

    async def admit(self, request: Request, scope: Scope, key: str | None) -> SimulatedVisit:
        """
        Let in whoever shows a key; ANU's first API has none.
        """
        if not (key and key.strip()) and scope != Scope.ANU_LEGACY:
            raise KeyRefusedError("Not authenticated")
        client_id = hashlib.sha256((key or "").encode()).hexdigest()[:16]
        return self._visit(request, client_id)

    async def readmit(self, request: Request, scope: Scope, client_id: str) -> SimulatedVisit:
        """
        Let in whoever was here before.
        """
        del scope
        visit = self._visit(request, client_id)
        if visit.fault == "expired-token":
            raise KeyRefusedError("The access token has expired")
        return visit

    def _visit(self, request: Request, client_id: str) -> SimulatedVisit:
        fault = request.scope.get(_FAULT, "")
        if fault == "wrong-key":
            raise KeyRefusedError("Could not validate credentials")
        return SimulatedVisit(self, client_id, fault)

    async def level(self) -> float:
        """
        Return 1: the operating system never runs dry.
        """
        return 1.0

    def drawn_by(self, client_id: str) -> dict[date, int]:
        """
        Return the account of a client; the longest unused one is forgotten when there are many.
        """
        account = self._drawn.setdefault(client_id, {})
        self._drawn.move_to_end(client_id)
        if len(self._drawn) > _CLIENTS_MAX:
            self._drawn.popitem(last=False)
        return account

    def bytes_for(self, n_bytes: int, fault: str) -> bytes:
        """
        Return fresh bytes, or what a fault makes of them.
        """
        match fault:
            case "short":
                return os.urandom(n_bytes // 2)
            case "empty":
                return b""
            case "stuck-bits":
                return b"\xff" * n_bytes
            case "repeat":
                return hashlib.shake_256(self._repeated).digest(n_bytes)
            case _:
                return os.urandom(n_bytes)


@dataclass(frozen=True, slots=True)
class SimulatedVisit:
    """
    A request to the simulator, and the fault that it asked for.
    """

    simulator: Simulator
    client_id: str
    fault: str

    async def draw(self, n_bytes: int) -> bytes:
        """
        Return simulated bytes; their number is wrong only where a fault says so.
        """
        match self.fault:
            case "rate-limit":
                raise RateLimitedError("Too Many Requests", retry_after=1.0)
            case "quota":
                raise QuotaExhaustedError("The quota of this month is used up", retry_after=3600.0)
            case "unavailable":
                raise PoolError("The simulator was asked to have no entropy.")
        data = self.simulator.bytes_for(n_bytes, self.fault)
        account, today = self.simulator.drawn_by(self.client_id), datetime.now(UTC).date()
        account[today] = account.get(today, 0) + 8 * len(data)
        return data

    async def usage(self, first: date, last: date) -> int:
        """
        Return the bits of some days, as long as the simulator remembers them.
        """
        account = self.simulator.drawn_by(self.client_id)
        return sum(bits for day, bits in account.items() if first <= day <= last)


class FaultMiddleware:
    """
    Reads which fault a request asks for, and does those that need no dialect.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """
        Handle one request.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wish = Headers(scope=scope).get(HEADER, "")
        if scope["path"].startswith(PREFIX):
            wish, slash, rest = scope["path"].removeprefix(PREFIX).partition("/")
            scope = {**scope, "path": slash + rest, "raw_path": (slash + rest).encode()}
        name, _, argument = wish.partition(":")
        if name and name not in FAULTS:
            refusal = JSONResponse({"detail": "no such fault", "faults": FAULTS}, status_code=400)
            await refusal(scope, receive, send)
            return
        if name == "slow":
            await asyncio.sleep(_seconds(argument))
        if name == "garbage":
            page = HTMLResponse("<!doctype html><title>502 Bad Gateway</title>")
            await page(scope, receive, send)
            return
        await self._app({**scope, _FAULT: name}, receive, send)


def _seconds(text: str) -> float:
    try:
        return max(0.0, min(float(text), _SLOW_MOST))
    except ValueError:
        return _SLOW_SECONDS
