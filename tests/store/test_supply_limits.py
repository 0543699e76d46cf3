"""
Quotas and rates of sources: what is counted, who is believed, and what is asked of whom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oracle.entropy.limits import Quota, Rate
from oracle.errors import SourceCredentialsError, SourceReplyError, SourceThrottledError
from oracle.steps.refill import refill
from tests.supplied import (
    DOWN,
    Clock,
    Metered,
    Scripted,
    clock,
    fresh,
    opened,
    record,
    supply,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.supply import Supply

pytestmark = pytest.mark.store

__all__ = ["clock", "supply"]


@pytest.mark.parametrize(
    ("outcome", "bits"),
    [
        (fresh(1040, "more"), 8 * 1040),
        (DOWN, 8 * 1024),
        (SourceReplyError("short"), 8 * 1024),
        (SourceCredentialsError("wrong"), 0),
        (SourceThrottledError("slow", retry_after=1), 0),
    ],
)
async def test_bits_are_counted_unless_the_vendor_refused(
    database: Database, supply: Callable[..., Supply], outcome: Any, bits: int
) -> None:
    await supply(Scripted("a", outcome)).draw(database, await opened(database), 64)
    assert (await record(database, "a")).used_bits == bits


async def test_a_draw_is_no_larger_than_what_is_left(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    source = Scripted("a")
    supplies = together(supply(source, quota=Quota(bits=8 * 1100, per="day")))
    assert (await refill(database, pool, supplies, 512)).blocks == 17
    assert source.asked == [1100]
    assert (await refill(database, pool, supplies, 512)).waiting == {"a": "quota"}


async def test_the_vendors_count_is_believed_when_it_is_higher(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    source = Metered("a")
    source.reported = 8 * 10_000
    one = supply(source, quota=Quota(bits=8 * 12_000))
    await refill(database, pool, together(one), 512)
    assert source.asked == [2000]


async def test_a_vendor_that_says_the_quota_is_used_up_is_not_asked(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    source = Metered("a")
    source.reported = 8 * 12_000
    done = await refill(
        database, pool, together(supply(source, quota=Quota(bits=8 * 12_000))), 512
    )
    assert done.waiting == {"a": "quota"}
    assert source.asked == []
    assert (await record(database, "a")).used_bits == 8 * 12_000


async def test_what_a_resting_source_has_left_is_used_up(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    a, b = Scripted("a"), Scripted("b", fresh(64 * 16, "b"), SourceCredentialsError("wrong"))
    supplies = together(supply(a), supply(b))
    assert (await refill(database, pool, supplies, 10)).blocks == 10
    assert (await refill(database, pool, supplies, 40)).blocks == 6
    assert (await refill(database, pool, supplies, 40)).waiting == {"b": "credentials"}
    # No more was asked of a than could be mixed.
    assert a.asked == [1024, 24 * 64]


async def test_the_rate_is_kept(
    database: Database, pool: Pool, supply: Callable[..., Supply], clock: Clock
) -> None:
    source = Scripted("a")
    supplies = together(supply(source, rate=Rate(1, 60)))
    assert (await refill(database, pool, supplies, 10)).blocks == 10
    supplies.all[0]._stock.clear()
    done = await refill(database, pool, supplies, 20)
    assert (done.waiting, done.retry_in) == ({"a": "rate"}, 60)
    clock.now += 60
    assert (await refill(database, pool, supplies, 20)).blocks == 10
