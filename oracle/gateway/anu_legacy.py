"""
The dialect of ANU's first API: no key, a length that is a number, and a rate limit that is an
internal server error in plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field

from oracle.errors import KeyRefusedError, ParametersError, RateLimitedError
from oracle.gateway.answering import Answers
from oracle.gateway.anu import items
from oracle.gateway.desk import Scope
from oracle.gateway.reading import query_integer

if TYPE_CHECKING:
    from oracle.errors import OracleError
    from oracle.gateway.desk import Desk

LENGTH_MAX = 1024
SIZE_MAX = 1024
ITEM_BYTES = {"uint8": 1, "uint16": 2}
# What this vendor's clients recognize; it names the vendor's rate, whatever ours is.
RATE_TEXT = (
    "The QRNG API is limited to 1 requests per minute. For more requests, please visit "
    "https://quantumnumbers.anu.edu.au"
)


class Numbers(BaseModel):
    """
    A successful reply.
    """

    type: Literal["uint8", "uint16", "hex16"]
    length: Annotated[int, Field(description="The number of items, as a number.")]
    size: Annotated[int | None, Field(description="Bytes per block; only with `hex16`.")] = None
    data: Annotated[list[int] | list[str], Field(description="Integers, or lowercase hex blocks.")]
    success: Literal[True]


class Failure(BaseModel):
    """
    A parameter is missing or out of its range; the status is 200 all the same.
    """

    success: Literal[False]


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
        "description": "`hex16` is a block of `size` bytes in lowercase hexadecimal digits.",
        "schema": {"type": "string", "enum": [*ITEM_BYTES, "hex16"]},
    },
    {
        "name": "size",
        "in": "query",
        "required": False,
        "description": "Bytes per block; needed for `hex16`, ignored by the others.",
        "schema": {"type": "integer", "minimum": 1, "maximum": SIZE_MAX},
    },
]


def router(desk: Desk) -> APIRouter:
    """
    Return the one route.
    """
    routes = APIRouter()

    async def numbers(request: Request) -> Response:
        """
        Draw `length` random numbers or blocks of one type; at most 1 MiB.
        """
        visit = await desk.admit(request, Scope.ANU_LEGACY, request.headers.get("x-api-key"))
        kind = request.query_params.get("type", "")
        length = query_integer(request, "length", LENGTH_MAX)
        size = ITEM_BYTES.get(kind) or query_integer(request, "size", SIZE_MAX)
        if length is None or size is None or kind not in (*ITEM_BYTES, "hex16"):
            raise ParametersError("length, type or size is out of range")
        if request.method == "HEAD":
            return Response(media_type="application/json")
        data = items(await visit.draw(length * size), size, digits=kind == "hex16")
        sized = {"size": size} if kind == "hex16" else {}
        return JSONResponse(
            {"type": kind, "length": length, **sized, "data": data, "success": True}
        )

    Answers(routes, _refuse).get(
        ["/API/jsonI.php"],
        numbers,
        summary="Random numbers",
        openapi_extra={"parameters": PARAMETERS},
        responses={
            200: {"model": Numbers | Failure},
            403: {"content": {"text/plain": {}}, "description": "Keyless clients are not let in."},
            500: {"content": {"text/plain": {}}, "description": "Too fast, or no supply."},
        },
    )
    return routes


def _refuse(error: OracleError) -> Response:
    match error:
        case ParametersError():
            return JSONResponse({"success": False})
        case KeyRefusedError():
            return PlainTextResponse("Forbidden", status_code=403)
        case RateLimitedError():
            return PlainTextResponse(RATE_TEXT, status_code=500)
        case _:
            return PlainTextResponse("The QRNG is out of service.", status_code=500)
