"""
Logs over any number of blocks, one range at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from oracle.chain.reader import ChainReader
    from oracle.evm import Log

# Blocks per query at most, unless the caller knows better.
SPAN = 1000


async def logs_in_ranges(  # noqa: PLR0913 - a query and how it is cut
    reader: ChainReader,
    address: str,
    first: int,
    last: int,
    *,
    span: int,
    topics: Sequence[bytes | None] = (),
    newest_first: bool = False,
) -> AsyncIterator[list[Log]]:
    """
    Yield the contract's logs in the closed range of blocks, `span` blocks at a time.

    A range that the endpoint refuses is halved: how many blocks or logs are too many, each says
    in its own words. Ranges come oldest first or newest first; the logs of one in the chain's
    order.
    """
    low, high = first, last
    while low <= high:
        start, end = (max(low, high - span + 1), high) if newest_first else (low, low + span - 1)
        end = min(end, high)
        try:
            found = await reader.logs(address, start, end, topics)
        except EndpointError:
            if start == end:
                raise
            span = (end - start + 1) // 2
            continue
        yield found
        if newest_first:
            high = start - 1
        else:
            low = end + 1
