"""
What time it is, where a wrong answer would end, destroy or pay something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.store.engine import now

if TYPE_CHECKING:
    from oracle.evm import Block
    from oracle.service import ChainService

# How far this machine's clock may be ahead of the newest block, in milliseconds: between blocks it
# always is.
AHEAD = 60_000


def agreed_time(service: ChainService[Any], head: Block) -> int:
    """
    Return the milliseconds since 1970 that both this machine's clock and the chain's have reached.

    Guarantees: a clock that jumps forward, of this machine or of an endpoint, ends no wait early.
    Does not: end one in time while either of them is behind. On a devnet, whose blocks have the
    time that somebody gave them, this machine's clock alone counts.
    """
    if service.devnet:
        return now()
    return min(now(), head.timestamp * 1000 + AHEAD)
