"""
What both APIs of ANU answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vendors.server import Seen, quantum, reply, text

if TYPE_CHECKING:
    from starlette.responses import Response

#: Recorded: the rate limit of the older API.
LIMITED = (
    "The QRNG API is limited to 1 requests per minute. For more requests, please visit "
    "https://quantumnumbers.anu.edu.au"
)


def legacy(seen: Seen) -> Response:
    """
    Answer as the older API: size counts bytes, and length is a number.
    """
    length, size = int(seen.query["length"]), int(seen.query["size"])
    data = quantum(length * size, seen.query)
    items = [data[at : at + size].hex() for at in range(0, len(data), size)]
    return reply({"type": "hex16", "length": length, "size": size, "data": items, "success": True})


def quantum_numbers(seen: Seen) -> Response:
    """
    Answer as the newer API: size counts units of two bytes, and length is a text.
    """
    length, size = int(seen.query["length"]), 2 * int(seen.query["size"])
    data = quantum(length * size, seen.query)
    items = [data[at : at + size].hex() for at in range(0, len(data), size)]
    return reply({"success": True, "type": "hex16", "length": str(length), "data": items})


def limited() -> Response:
    return text(LIMITED, 500)
