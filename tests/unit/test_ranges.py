"""
How many blocks of logs are asked for at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.ranges import PATIENCE, Span, logs_in_ranges
from oracle.errors import (
    AnsweredError,
    EndpointError,
    PrunedError,
    ThrottledError,
    UnreachableError,
)
from oracle.evm import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.chain.interfaces import ChainReader

pytestmark = pytest.mark.unit

CONTRACT = "0x" + "11" * 20


class Limited:
    """
    An endpoint with a log in every block that gives so many blocks, or logs, at once.
    """

    def __init__(self, most: int, *, says: str = "no", dense: range = range(0)) -> None:
        self.span = Span()
        self.most = most
        self.says = says
        self.dense = dense
        self.asked: list[int] = []
        self.refused = 0

    async def logs(
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        assert first <= last
        self.asked.append(last - first + 1)
        numbers = range(first, last + 1)
        dense = last > first and any(number in self.dense for number in numbers)
        if dense or len(numbers) > self.most:
            self.refused += 1
            raise AnsweredError(self.says)
        return [
            Log(
                address=address,
                topics=tuple(topic or b"" for topic in topics),
                data=b"",
                block_number=number,
                block_hash=b"",
                transaction_hash=b"",
                index=0,
            )
            for number in numbers
        ]


async def read(endpoint: Limited, last: int, *, newest_first: bool = False) -> list[int]:
    return [
        log.block_number
        async for logs in logs_in_ranges(
            cast("ChainReader", endpoint), CONTRACT, 0, last, span=1000, newest_first=newest_first
        )
        for log in logs
    ]


@given(
    most=st.integers(1, 400),
    last=st.integers(0, 3000),
    dense=st.integers(0, 2500),
    newest_first=st.booleans(),
)
async def test_every_log_is_read_once_whatever_is_refused(
    most: int, last: int, dense: int, *, newest_first: bool
) -> None:
    endpoint = Limited(most, dense=range(dense, dense + 5))
    assert sorted(await read(endpoint, last, newest_first=newest_first)) == list(range(last + 1))


async def test_what_is_refused_is_remembered_from_one_reading_to_the_next() -> None:
    endpoint = Limited(10)
    await read(endpoint, 99)
    refused = endpoint.refused
    for _ in range(10):
        await read(endpoint, 39)
    assert endpoint.refused - refused <= len(endpoint.asked) / PATIENCE


async def test_the_range_that_an_endpoint_names_is_asked_for_at_once() -> None:
    endpoint = Limited(10, says="requests with up to a 10 block range are allowed")
    await read(endpoint, 29)
    assert endpoint.asked == [30, 10, 10, 10]


async def test_ranges_grow_again_behind_a_dense_stretch() -> None:
    endpoint = Limited(1000, dense=range(100, 105))
    await read(endpoint, 20_000)
    assert endpoint.span.width > 500


def test_a_wider_range_is_tried_after_many_that_were_answered() -> None:
    span = Span(1000)
    span.refused(1000, AnsweredError("no"))
    for _ in range(PATIENCE):
        assert span.width == 500
        span.works(500)
    assert span.width == 1000


@pytest.mark.parametrize("kind", [UnreachableError, ThrottledError, PrunedError])
def test_no_narrower_range_is_tried_against_what_it_would_not_help(
    kind: type[EndpointError],
) -> None:
    span = Span(1000)
    with pytest.raises(kind):
        span.refused(1000, kind("no"))
    assert span.width == 1000


def test_what_refuses_a_single_block_has_said_nothing_about_ranges() -> None:
    span = Span(1000)
    width, tries = 1000, 0
    while width > 1:
        span.refused(width, EndpointError("does not answer"))
        width, tries = span.width, tries + 1
    # Silence is expensive: few of it, not one for every halving.
    assert tries <= 4
    with pytest.raises(EndpointError):
        span.refused(1, EndpointError("does not answer"))
    assert span.width == 1000
