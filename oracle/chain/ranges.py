"""
Logs over any number of blocks, one range at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.chain.answers import suggested_span
from oracle.errors import (
    AnsweredError,
    EndpointError,
    OtherChainError,
    PrunedError,
    ThrottledError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Log

# Blocks per query at most, unless the caller knows better.
SPAN = 1000
# Ranges of the width that an endpoint gives, after which a wider one is tried again.
PATIENCE = 32
# Into so many parts a range falls that is not answered at all, so that few are waited for.
_SILENT = 8
_WIDEST = 1 << 32

# Errors that a narrower range would not help against. All others may mean that there were too many
# blocks or logs, also a time-out and a reply that breaks off: nobody agrees on the words.
_WHATEVER_THE_RANGE = (UnreachableError, ThrottledError, OtherChainError, PrunedError)


class Span:
    """
    How many blocks of logs an endpoint is asked for at once.

    Guarantees: what was refused is not asked for again before so many narrower ranges were
    answered; a range is never narrower than one block, and grows back to `most` when nothing is
    refused any more.
    """

    def __init__(self, most: int = _WIDEST) -> None:
        self._most = most
        self.width = self._ceiling = most
        self._answered = 0

    def works(self, width: int) -> None:
        """
        Take note that a range of this width was answered.
        """
        if width < self.width:
            return
        if self.width < self._ceiling:
            self.width = min(2 * self.width, self._ceiling)
            return
        self._answered += 1
        if self._answered >= PATIENCE and self._ceiling < self._most:
            self._answered = 0
            self._ceiling = min(2 * self._ceiling, self._most)
            self.width = self._ceiling

    def overflows(self, width: int, taken: int) -> None:
        """
        Take note that of a range of this width only so many blocks were taken, because there was
        too much in it.
        """
        self.width = max(1, min(taken, width - 1))
        self._answered = 0

    def refused(self, width: int, error: EndpointError) -> None:
        """
        Take note that a range of this width was refused; raise the error where a narrower one
        would not help.
        """
        if isinstance(error, _WHATEVER_THE_RANGE):
            raise error
        if width <= 1:
            # It was not the range.
            self._forget()
            raise error
        said = suggested_span(str(error))
        part = width // (2 if isinstance(error, AnsweredError) else _SILENT)
        self.width = said if said is not None and said < width else max(1, part)
        self._ceiling = self.width
        self._answered = 0

    def _forget(self) -> None:
        self.width = self._ceiling = self._most
        self._answered = 0


def span_of(reader: ChainReader) -> Span:
    """
    Return what a reader remembers of the ranges that its endpoint gives; a new memory for one that
    keeps none.
    """
    span = getattr(reader, "span", None)
    return span if isinstance(span, Span) else Span()


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
    Yield the contract's logs in the closed range of blocks, `span` blocks at a time at most.

    A range that the endpoint refuses is narrowed, as it says or by half, and grows again later.
    Ranges come oldest first or newest first; the logs of one in the chain's order.
    """
    memory = span_of(reader)
    low, high = first, last
    while low <= high:
        width = min(memory.width, span)
        start, end = (max(low, high - width + 1), high) if newest_first else (low, low + width - 1)
        end = min(end, high)
        try:
            found = await reader.logs(address, start, end, topics)
        except EndpointError as error:
            memory.refused(end - start + 1, error)
            continue
        memory.works(end - start + 1)
        yield found
        if newest_first:
            high = start - 1
        else:
            low = end + 1
