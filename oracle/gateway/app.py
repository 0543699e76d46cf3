"""
The gateway's application: one feed, one router per dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import MutableHeaders

from oracle import __version__
from oracle.errors import OracleError
from oracle.gateway import anu

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from oracle.gateway.feed import EntropyFeed

SIMULATED_HEADER = "X-Entropy-Simulated"

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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


def create_app(source: EntropyFeed) -> FastAPI:
    """
    Return the application that hands out the bytes of one feed in every dialect.

    Guarantees: each draw of the feed goes to one reply; HEAD draws nothing; no reply of status 422
    or redirect leaves where a vendor sends none.
    Does not: store, log or count entropy.
    """
    app = FastAPI(
        title="Quantum randomness gateway",
        version=__version__,
        description=DESCRIPTION,
        redirect_slashes=False,
    )
    app.add_middleware(_Stamp, simulated=source.simulated)
    app.add_exception_handler(OracleError, _unavailable)
    app.include_router(anu.router(source), prefix="/anu", tags=["ANU Quantum Numbers"])

    @app.get("/healthz", summary="Is the process alive?", tags=["operations"])
    async def healthz() -> Health:
        """
        Answer without touching the feed.
        """
        return Health(status="ok")

    return app


async def _unavailable(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"message": "Service Unavailable"}, status_code=503)
