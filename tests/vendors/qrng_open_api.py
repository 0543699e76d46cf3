"""
What servers of the QRNG Open API answer, and where two of them differ.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.vendors.server import Seen, quantum, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

QRYPT_APPLIANCE = {
    "entropy": {
        "min_block_size": 1,
        "max_block_size": 1024,
        "min_block_count": 1,
        "max_block_count": 512,
        "entropy_types": ["quantum"],
        "extensions": [],
    },
    "source_count": 2,
}

QUSIDE_ENTROPY_CORE = {
    "entropy": {
        "min_block_size": 32,
        "max_block_size": 524_288,
        "max_block_count": 16,
        "entropy_types": ["raw", "processed"],
        "extensions": [{"Q-Factor": "good"}],
    },
    "healthtest": {
        "test_threshold": [{"test_type": "H-min", "good": 0.95, "warning": 0.9, "error": 0.85}]
    },
}
QUSIDE_EXTENSIONS = [{"H-min": 0.97, "Q-factor": 3.1, "QES-ID": "unit-7", "timestamp": "now"}]


def server(
    capabilities: dict[str, Any] = QRYPT_APPLIANCE,
    extensions: list[Any] | None = None,
    health: Any = 0.97,
) -> Callable[[Seen], Response]:
    """
    Answer as a server with these capabilities.
    """

    def answer(seen: Seen) -> Response:
        if seen.path.endswith("/capabilities"):
            return reply(capabilities)
        if seen.path.endswith("/healthtest"):
            # Without a time stamp, as one vendor does it; the number may be a text.
            result = {"test_type": "H-min", "test_result": health}
            return reply({"test_result": [result], "extensions": []})
        order, limits = seen.json(), capabilities["entropy"]
        size, count = order["block_size"], order.get("block_count", 1)
        fits = limits.get("min_block_size", 1) <= size <= limits["max_block_size"]
        fits &= limits.get("min_block_count", 1) <= count <= limits["max_block_count"]
        if not fits:
            return reply({}, 422)
        blocks = [base64.b64encode(quantum(size, (at, order))).decode() for at in range(count)]
        return reply({"entropy": blocks, "extensions": extensions or []})

    return answer
