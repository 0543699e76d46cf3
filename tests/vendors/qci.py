"""
What QCI uQRNG answers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.vendors.server import Seen, quantum, reply

if TYPE_CHECKING:
    from starlette.responses import Response

REFRESH_TOKEN = "api-token-1"


@dataclass
class Uqrng:
    """
    The service: `expiry` is what a token says about its end, `revoked` are tokens refused early.
    """

    expiry: dict[str, Any] = field(default_factory=lambda: {"expires_in": int(time.time()) + 3600})
    revoked: set[str] = field(default_factory=set)
    issued: int = 0
    used_bits: int = 48_077_040

    def __call__(self, seen: Seen) -> Response:
        if seen.path.endswith("/auth/v1/access-tokens"):
            if seen.json() != {"refresh_token": REFRESH_TOKEN}:
                return reply({"detail": "Not authenticated"}, 401)
            self.issued += 1
            issued = {"access_token": f"access-{self.issued}", "token_type": "bearer"}
            return reply(issued | {"scope": "access_token"} | self.expiry)
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if not token.startswith("access-") or token in self.revoked:
            return reply({"detail": "Not authenticated"}, 401)
        if seen.path.endswith("/qrng/usage"):
            return reply({"n_bits": self.used_bits})
        # A bare array, no envelope.
        return reply(list(quantum(seen.json()["n_samples"], token)))
