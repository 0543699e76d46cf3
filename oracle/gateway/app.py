"""
The gateway's application: one desk, one router per dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.datastructures import MutableHeaders

from oracle import __version__
from oracle.gateway import anu, anu_legacy, qci, qrng_open_api, qrypt
from oracle.gateway.desk import Scope
from oracle.gateway.simulator import FaultMiddleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Connection

    from oracle.gateway.desk import Desk

SIMULATED_HEADER = "X-Entropy-Simulated"
# The prefixes of the deployments: the specification's, Qrypt's, and Quside's, which has none.
OPEN_API_PREFIXES = ("/v1", "/api/v1", "")

DESCRIPTION = """
A server that speaks the HTTP dialects of quantum random number vendors, each under its own prefix
and with the vendor's own paths below it: a client of a vendor works with only its base URL
changed.

Entropy replies are never cached (`Cache-Control: no-store`), and a byte goes to one reply only.
Where the entropy is simulated, every reply carries the header `X-Entropy-Simulated: 1`.
"""


class Health(BaseModel):
    """
    The state of the process.
    """

    status: str = Field(description="`ok` as long as the process answers.")


class _Stamp:
    """
    Middleware that forbids caching and marks simulated entropy on every reply, errors included.
    """

    def __init__(self, app: ASGIApp, *, simulated: bool) -> None:
        self._app = app
        self._simulated = simulated

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-store"
                if self._simulated:
                    headers[SIMULATED_HEADER] = "1"
            await send(message)

        await self._app(scope, receive, stamped)


def create_app(desk: Desk, *, faults: bool = False) -> FastAPI:
    """
    Return the application that hands out the bytes of one desk in every dialect; `faults` lets
    clients of a simulator ask for faults.

    Guarantees: each draw goes to one reply; HEAD draws nothing; no redirect leaves, and no reply
    of status 422 where a vendor sends none.
    Does not: store, log or count entropy.
    """
    app = FastAPI(
        title="Quantum randomness gateway",
        version=__version__,
        description=DESCRIPTION,
        redirect_slashes=False,
    )
    if faults:
        app.add_middleware(FaultMiddleware)
    app.add_middleware(_Stamp, simulated=desk.simulated)
    app.include_router(anu_legacy.router(desk), prefix="/anu", tags=["ANU, first API"])
    app.include_router(anu.router(desk), prefix="/anu", tags=["ANU Quantum Numbers"])
    open_api = qrng_open_api.router(desk, qrng_open_api.Variant(scope=Scope.QRNG_OPEN_API))
    for prefix in OPEN_API_PREFIXES:
        app.include_router(open_api, prefix=f"/qrng-open-api{prefix}", tags=["QRNG Open API"])
    app.include_router(qrypt.router(desk), prefix="/qrypt/api/v1", tags=["Qrypt"])
    app.include_router(qci.router(desk), prefix="/qci", tags=["QCI uQRNG"])

    @app.get("/healthz", summary="Is the process alive?", tags=["operations"])
    async def healthz() -> Health:
        """
        Answer without touching the supply.
        """
        return Health(status="ok")

    return app
