"""
Reading what clients send, by hand: the framework would insist on content types that the vendors'
own clients get wrong, and would answer with a status that a vendor does not have.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import Request

BODY_MAX = 64 * 1024


def bearer(request: Request) -> str | None:
    """
    Return the token of an `Authorization: Bearer` header (RFC 6750).
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def json_object(request: Request) -> dict[str, Any] | None:
    """
    Return the body as a JSON object whatever its content type says; nothing if it is none, or is
    longer than `BODY_MAX` bytes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def query_integer(request: Request, name: str, maximum: int) -> int | None:
    """
    Return a parameter of the query that is an integer from 1 to `maximum`, else nothing.
    """
    text = request.query_params.get(name)
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text):
        return None
    number = int(text)
    return number if 1 <= number <= maximum else None


def whole(value: object, minimum: int, maximum: int) -> int | None:
    """
    Return a JSON value that is an integer in a range, else nothing.

    `3.0` is an integer, as JSON Schema has it; `true` is none.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and minimum <= value <= maximum else None


def cut(data: bytes, width: int) -> list[bytes]:
    """
    Cut bytes into pieces of a width.
    """
    return [data[at : at + width] for at in range(0, len(data), width)]
