"""
What LfD, Quandela and Cisco Outshift answer.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.vendors.server import Seen, quantum, reply

if TYPE_CHECKING:
    from starlette.responses import Response


def lfd(seen: Seen) -> Response:
    length = int(seen.query["length"])
    return reply({"qrn": quantum(length).hex(), "length": length})


def lfd_error(words: str) -> Response:
    return reply({"error": words})


def quandela(seen: Seen) -> Response:
    """
    Answer with as many bytes as asked for, in two jobs.
    """
    data = quantum(int(seen.query["count"]))
    half = len(data) // 2
    return reply(
        {
            "jobs": [
                {"id": "a", "bytes": _text(data[:half]), "chsh": 2.7, "min_entropy": 0.9},
                {"id": "b", "bytes": _text(data[half:]), "chsh": 2.6, "min_entropy": 0.8},
            ]
        }
    )


def quandela_error(status: int, detail: str) -> Response:
    return reply({"detail": detail, "error": "Error"}, status)


def outshift(seen: Seen) -> Response:
    """
    Answer with texts of decimal digits without leading zeros.
    """
    order = seen.json()
    width = order["bits_per_block"] // 8
    # The first block begins with zeros.
    blocks = [bytes(2) + quantum(width - 2)]
    blocks += [quantum(width, at) for at in range(1, order["number_of_blocks"])]
    return reply(
        {"random_numbers": [{"decimal": str(int.from_bytes(block, "big"))} for block in blocks]}
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
