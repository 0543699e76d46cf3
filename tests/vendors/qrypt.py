"""
What Qrypt EaaS answers.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.vendors.server import Seen, quantum, reply

if TYPE_CHECKING:
    from starlette.responses import Response


def entropy(seen: Seen) -> Response:
    size = int(seen.query.get("size", "1"))
    blocks = [base64.b64encode(quantum(1024, at)).decode() for at in range(size)]
    return reply({"random": blocks, "size": size})
