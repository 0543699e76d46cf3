"""
What a chain tells of a contract up to the audited block.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oracle.chain.ranges import logs_in_ranges
from oracle.errors import InconsistentChainError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from oracle.audit.findings import Findings
    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Log

# Blocks per query: what they hold is in memory at once.
_SPAN = 1000


@asynccontextmanager
async def unmoved(reader: ChainReader, block: int) -> AsyncIterator[None]:
    """
    Raise `InconsistentChainError` when a reorg replaces a block meanwhile.
    """
    hash_ = (await reader.block(block)).hash
    yield
    if (await reader.block(block)).hash != hash_:
        raise InconsistentChainError(f"block {block} was replaced during the audit: run it again")


def read_logs(
    reader: ChainReader, report: Findings, first: int, topics: Sequence[bytes | None] = ()
) -> AsyncIterator[list[Log]]:
    """
    Yield the logs of the audited contract from a block on, a range of blocks at a time.
    """
    return logs_in_ranges(reader, report.contract, first, report.block, span=_SPAN, topics=topics)
