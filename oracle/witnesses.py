"""
What endpoints show of requests: rule 8, nothing leaves before two of them agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from oracle import log
from oracle.chain.ranges import SPAN, logs_in_ranges
from oracle.errors import OracleError
from oracle.request import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from oracle.chain.interfaces import ChainReader
    from oracle.service import ChainService

# Blocks between two requests that are read for nothing rather than by another call.
MAX_DISTANCE = 64

R = TypeVar("R", bound=Request)


async def shown_by_another(service: ChainService[R], drawn: Sequence[R]) -> list[R]:
    """
    Return the requests that an endpoint of somebody else shows too: in the same block, under as
    many others. One endpoint alone could invent a request to learn its value.
    """
    if service.witnesses is None:
        return list(drawn)
    missing = set(drawn)
    for witness in service.witnesses:
        if not missing:
            break
        try:
            missing -= await shown_by(service, witness, missing)
        except OracleError as error:
            if not error.retryable:
                raise
            log.get().warning("witness_silent", error=str(error))
    if missing:
        log.get().warning(
            "requests_unconfirmed",
            requests=len(missing),
            advice="no second endpoint shows them yet: their seeds are kept back",
        )
    return [request for request in drawn if request not in missing]


async def shown_by(service: ChainService[R], reader: ChainReader, wanted: Collection[R]) -> set[R]:
    """
    Return those of the requests that an endpoint shows as they are, deep enough under its head.
    """
    head = (await reader.block()).number
    deep = {request for request in wanted if service.is_deep(request, head)}
    shown: set[object] = set()
    for first, last in spans(request.block_number for request in deep):
        async for logs in logs_in_ranges(
            reader, service.contract, first, last, span=SPAN, topics=service.request_topics
        ):
            shown |= {service.decode(item) for item in logs}
    return deep & shown


def spans(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """
    Yield closed ranges that hold all the block numbers, none of them much wider than they need.
    """
    first: int | None = None
    for number in sorted(numbers):
        if first is None:
            first = last = number
        elif number - last > MAX_DISTANCE:
            yield first, last
            first = number
        last = number
    if first is not None:
        yield first, last
