from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.entropy.limits import Quota, Rate, TokenBucket

pytestmark = pytest.mark.unit

times = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    st.integers(1, 40),
    st.floats(0.1, 100),
    st.lists(st.floats(0, 50), min_size=1, max_size=200),
)
def test_no_window_holds_more_requests_than_the_vendor_allows(
    requests: int, seconds: float, pauses: list[float]
) -> None:
    bucket = TokenBucket(Rate(requests, seconds))
    now, made = 1000.0, []
    for pause in pauses:
        now += pause
        now += bucket.wait(now)
        # What rounding leaves over.
        while bucket.wait(now) > 0:
            now += 1e-6
        bucket.take(now)
        made.append(now)
    for at, start in enumerate(made):
        within = [one for one in made[at:] if one < start + seconds - 1e-3]
        assert len(within) <= requests


def test_one_request_a_minute_is_one_request_a_minute() -> None:
    bucket = TokenBucket(Rate(1, 60))
    assert bucket.wait(0) == 0
    bucket.take(0)
    assert bucket.wait(0) == 60
    assert bucket.wait(45) == 15
    # A clock that was set back gives nothing away.
    assert bucket.wait(10) == 15


@given(times, st.sampled_from(["day", "month"]), st.integers(1, 28))
def test_a_time_lies_in_its_period(now: datetime, per: Literal["day", "month"], day: int) -> None:
    quota = Quota(per=per, reset_day=day)
    began, resets = quota.began(now), quota.resets(now)
    assert began <= now < resets
    assert quota.began(resets) == resets
    assert quota.resets(resets - timedelta(seconds=1)) == resets
    longest = 1 if per == "day" else 31
    assert resets - began <= timedelta(days=longest)
