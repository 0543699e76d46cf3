"""
The dialect of Qrypt's Entropy as a Service: random bytes by the KiB, a quota that is status 403.

On the same host Qrypt serves the QRNG Open API; that one is mounted beside it.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from oracle.errors import KeyRefusedError, ParametersError, QuotaExhaustedError, RateLimitedError
from oracle.gateway import qrng_open_api
from oracle.gateway.answering import Answers
from oracle.gateway.desk import Scope
from oracle.gateway.reading import bearer, cut, query_integer

if TYPE_CHECKING:
    from oracle.errors import OracleError
    from oracle.gateway.desk import Desk

BLOCK_BYTES = 1024
SIZE_MAX = 512


class Random(BaseModel):
    """
    As many blocks as were asked for.
    """

    random: Annotated[list[str], Field(description="Each of 1,024 bytes, in base64.")]
    size: Annotated[int, Field(description="The number of blocks.")]


class Refusal(BaseModel):
    """
    Why nothing was drawn.
    """

    message: str


PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "size",
        "in": "query",
        "required": False,
        "description": "How many blocks of 1,024 bytes.",
        "schema": {"type": "integer", "minimum": 1, "maximum": SIZE_MAX, "default": 1},
    }
]


def router(desk: Desk) -> APIRouter:
    """
    Return the routes below `/api/v1`.
    """
    routes = APIRouter()

    async def random(request: Request) -> Response:
        """
        Draw `size` blocks of 1 KiB.
        """
        visit = await desk.admit(request, Scope.QRYPT, bearer(request))
        size: int | None = 1
        if "size" in request.query_params:
            size = query_integer(request, "size", SIZE_MAX)
        if size is None:
            raise ParametersError(f"size must be an integer from 1 to {SIZE_MAX}")
        if request.method == "HEAD":
            return Response(media_type="application/json")
        blocks = cut(await visit.draw(size * BLOCK_BYTES), BLOCK_BYTES)
        return JSONResponse(
            {
                "random": [base64.b64encode(block).decode("ascii") for block in blocks],
                "size": size,
            }
        )

    Answers(routes, _refuse).get(
        ["/quantum-entropy"],
        random,
        summary="Random bytes",
        dependencies=[Security(HTTPBearer(auto_error=False))],
        openapi_extra={"parameters": PARAMETERS},
        responses={
            200: {"model": Random},
            400: {"model": Refusal, "description": "A parameter is out of its range."},
            401: {"model": Refusal, "description": "The token is refused."},
            403: {"model": Refusal, "description": "The month's allotment is used up."},
            429: {"model": Refusal, "description": "Too many requests: come back in a while."},
            503: {"model": Refusal, "description": "There is no supply."},
        },
    )
    routes.include_router(
        qrng_open_api.router(
            desk,
            qrng_open_api.Variant(
                scope=Scope.QRYPT, block_size_max=512, health=False, quota_status=403
            ),
        )
    )
    return routes


def _refuse(error: OracleError) -> Response:
    match error:
        case ParametersError():
            return JSONResponse({"message": str(error)}, status_code=400)
        case KeyRefusedError():
            return JSONResponse({"message": "Unauthorized"}, status_code=401)
        case QuotaExhaustedError():
            return JSONResponse({"message": str(error)}, status_code=403)
        case RateLimitedError():
            return JSONResponse({"message": "Too Many Requests"}, status_code=429)
        case _:
            return JSONResponse({"message": "Service Unavailable"}, status_code=503)
