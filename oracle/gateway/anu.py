"""
The dialect of ANU Quantum Numbers: one path, three parameters, and a length that is a string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, Field

from oracle.errors import KeyRefusedError, ParametersError, QuotaExhaustedError, RateLimitedError
from oracle.gateway.answering import Answers
from oracle.gateway.desk import Scope
from oracle.gateway.reading import cut, query_integer

if TYPE_CHECKING:
    from oracle.errors import OracleError
    from oracle.gateway.desk import Desk

LENGTH_MAX = 1024
SIZE_MAX = 10
# Bytes per item; of a hexadecimal type, bytes per unit of `size`.
UNIT_BYTES = {"uint8": 1, "uint16": 2, "hex8": 1, "hex16": 2}
HEX_TYPES = ("hex8", "hex16")

_KEY = APIKeyHeader(
    name="x-api-key", auto_error=False, description="The key of the account; never empty."
)


class Numbers(BaseModel):
    """
    A successful reply.
    """

    success: Literal[True]
    type: Literal["uint8", "uint16", "hex8", "hex16"]
    length: Annotated[str, Field(description="The number of items, as a string.")]
    data: Annotated[list[int] | list[str], Field(description="Integers, or lowercase hex blocks.")]


class BadRequest(BaseModel):
    """
    A parameter is missing or out of its range; nothing was drawn.
    """

    success: Literal[False]
    message: str


class Refusal(BaseModel):
    """
    The key is refused, the client draws too fast or too much, or there is no supply.
    """

    message: Literal["Forbidden", "Too Many Requests", "Limit Exceeded", "Service Unavailable"]


PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "length",
        "in": "query",
        "required": True,
        "description": "How many items to return.",
        "schema": {"type": "integer", "minimum": 1, "maximum": LENGTH_MAX},
    },
    {
        "name": "type",
        "in": "query",
        "required": True,
        "description": "`uint8` and `uint16` are integers; `hex8` and `hex16` are blocks of `size`"
        " units of 8 or 16 bits in lowercase hexadecimal digits.",
        "schema": {"type": "string", "enum": list(UNIT_BYTES)},
    },
    {
        "name": "size",
        "in": "query",
        "required": False,
        "description": "Units per block; needed for the hexadecimal types, ignored by the others.",
        "schema": {"type": "integer", "minimum": 1, "maximum": SIZE_MAX},
    },
]


def router(desk: Desk) -> APIRouter:
    """
    Return the routes, to be mounted under a prefix that answers with and without a slash.
    """
    routes = APIRouter()

    async def numbers(request: Request) -> Response:
        """
        Draw `length` random numbers or blocks of one type.

        Bytes per request: `uint8` 1,024, `uint16` 2,048, `hex8` 10,240, `hex16` 20,480 at most.
        """
        visit = await desk.admit(request, Scope.ANU, request.headers.get("x-api-key"))
        kind, length, item_bytes = _order(request)
        if request.method == "HEAD":
            return Response(media_type="application/json")
        data = await visit.draw(length * item_bytes)
        return JSONResponse(
            {
                "success": True,
                "type": kind,
                "length": str(length),
                "data": items(data, item_bytes, digits=kind in HEX_TYPES),
            }
        )

    Answers(routes, _refuse).get(
        ["", "/"],
        numbers,
        summary="Random numbers",
        dependencies=[Security(_KEY)],
        openapi_extra={"parameters": PARAMETERS},
        responses={
            200: {"model": Numbers},
            400: {"model": BadRequest},
            403: {"model": Refusal},
            429: {"model": Refusal},
            503: {"model": Refusal},
        },
    )
    return routes


def items(data: bytes, item_bytes: int, *, digits: bool) -> list[int] | list[str]:
    """
    Cut bytes into the items of a reply: hexadecimal digits, or big-endian integers.
    """
    blocks = cut(data, item_bytes)
    if digits:
        return [block.hex() for block in blocks]
    return [int.from_bytes(block, "big") for block in blocks]


def _order(request: Request) -> tuple[str, int, int]:
    length = query_integer(request, "length", LENGTH_MAX)
    if length is None:
        raise ParametersError(f"length must be an integer from 1 to {LENGTH_MAX}")
    kind = request.query_params.get("type", "")
    if kind not in UNIT_BYTES:
        raise ParametersError(f"type must be one of {', '.join(UNIT_BYTES)}")
    if kind not in HEX_TYPES:
        return kind, length, UNIT_BYTES[kind]
    size = query_integer(request, "size", SIZE_MAX)
    if size is None:
        raise ParametersError(f"size must be an integer from 1 to {SIZE_MAX}")
    return kind, length, UNIT_BYTES[kind] * size


def _refuse(error: OracleError) -> Response:
    match error:
        case ParametersError():
            return JSONResponse({"success": False, "message": str(error)}, status_code=400)
        case KeyRefusedError():
            return JSONResponse({"message": "Forbidden"}, status_code=403)
        case QuotaExhaustedError():
            return JSONResponse({"message": "Limit Exceeded"}, status_code=429)
        case RateLimitedError():
            return JSONResponse({"message": "Too Many Requests"}, status_code=429)
        case _:
            return JSONResponse({"message": "Service Unavailable"}, status_code=503)
