"""
The dialect of ANU Quantum Numbers: one path, three parameters, and a length that is a string.

Parameters are read by hand, because the framework would answer a bad one with a status that this
vendor does not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, Field

from oracle.errors import SourceUnavailableError

if TYPE_CHECKING:
    from oracle.gateway.feed import EntropyFeed

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
    The key is missing or refused, or the feed cannot deliver; nothing was drawn.
    """

    message: str


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


@dataclass(frozen=True, slots=True)
class _Order:
    """
    A request whose parameters are good.
    """

    type: str
    length: int
    item_bytes: int

    def items(self, data: bytes) -> list[int] | list[str]:
        """
        Cut the bytes into the items of the reply.
        """
        width = self.item_bytes
        blocks = [data[at : at + width] for at in range(0, len(data), width)]
        if self.type in HEX_TYPES:
            return [block.hex() for block in blocks]
        return [int.from_bytes(block, "big") for block in blocks]


def router(source: EntropyFeed) -> APIRouter:
    """
    Return the routes, to be mounted under a prefix that answers with and without a slash.
    """
    routes = APIRouter()

    async def numbers(request: Request) -> Response:
        """
        Draw `length` random numbers or blocks of one type.

        Bytes per request: `uint8` 1,024, `uint16` 2,048, `hex8` 10,240, `hex16` 20,480 at most.
        """
        if not _allowed(source, request):
            return JSONResponse({"message": "Forbidden"}, status_code=403)
        order = _order(request)
        if isinstance(order, str):
            return JSONResponse({"success": False, "message": order}, status_code=400)
        wanted = order.length * order.item_bytes
        data = await source.draw(wanted)
        if len(data) != wanted:
            raise SourceUnavailableError("The feed broke its promise of an exact length: mend it.")
        return JSONResponse(
            {
                "success": True,
                "type": order.type,
                "length": str(order.length),
                "data": order.items(data),
            }
        )

    async def head(request: Request) -> Response:
        if not _allowed(source, request):
            status = 403
        else:
            status = 400 if isinstance(_order(request), str) else 200
        return Response(status_code=status, media_type="application/json")

    for path in ("", "/"):
        routes.add_api_route(
            path,
            numbers,
            methods=["GET"],
            include_in_schema=path == "/",
            summary="Random numbers",
            dependencies=[Security(_KEY)],
            openapi_extra={"parameters": PARAMETERS},
            responses={
                200: {"model": Numbers},
                400: {"model": BadRequest},
                403: {"model": Refusal},
                503: {"model": Refusal},
            },
        )
        routes.add_api_route(path, head, methods=["HEAD"], include_in_schema=False)
    return routes


def _allowed(source: EntropyFeed, request: Request) -> bool:
    key = request.headers.get("x-api-key", "").strip()
    return bool(key) and source.accepts(key)


def _order(request: Request) -> _Order | str:
    query = request.query_params
    length = _integer(query.get("length"), LENGTH_MAX)
    if length is None:
        return f"length must be an integer from 1 to {LENGTH_MAX}"
    kind = query.get("type", "")
    if kind not in UNIT_BYTES:
        return f"type must be one of {', '.join(UNIT_BYTES)}"
    if kind not in HEX_TYPES:
        return _Order(kind, length, UNIT_BYTES[kind])
    size = _integer(query.get("size"), SIZE_MAX)
    if size is None:
        return f"size must be an integer from 1 to {SIZE_MAX}"
    return _Order(kind, length, UNIT_BYTES[kind] * size)


def _integer(text: str | None, maximum: int) -> int | None:
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text):
        return None
    number = int(text)
    return number if 1 <= number <= maximum else None
