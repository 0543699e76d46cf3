"""
Clocks that jump, forward and back, by any time: what is held, ended and counted by them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle import clock
from oracle.clock import AHEAD, agreed_time
from oracle.entropy.limits import Quota
from oracle.errors import (
    SourceCredentialsError,
    SourceError,
    SourceHealthError,
    SourceQuotaError,
    SourceThrottledError,
    SourceUnavailableError,
)
from oracle.evm import Block
from oracle.source_standing import after_failure, in_period, pause_left
from oracle.store.sources import SourceRecord

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
DAY = 86_400
SERVICE: Any = SimpleNamespace(devnet=False)
seconds = st.integers(0, 400 * DAY)
FAILURES: list[SourceError] = [
    SourceUnavailableError("down"),
    SourceThrottledError("slow", retry_after=DAY),
    SourceQuotaError("used up", resets_at=datetime(2026, 4, 1, tzinfo=UTC)),
    SourceQuotaError("used up", resets_at=None),
    SourceCredentialsError("refused"),
    SourceHealthError("bad", failure="repeat"),
]


@given(jump=st.integers(-400 * DAY, 400 * DAY), lag=st.integers(0, 600))
def test_a_jump_of_one_clock_ends_no_wait_early(jump: int, lag: int) -> None:
    head = Block(
        number=1,
        hash=bytes(32),
        parent_hash=bytes(32),
        timestamp=int(NOON) - lag,
        base_fee=1,
        gas_limit=30_000_000,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: 1000 * (int(NOON) + jump))
        assert agreed_time(SERVICE, head) <= 1000 * int(NOON) + AHEAD
        assert agreed_time(SERVICE, head) <= 1000 * (int(NOON) + jump)
        # An endpoint that is ahead is no more believed than this machine.
        ahead = replace(head, timestamp=int(NOON) + 400 * DAY)
        assert agreed_time(SERVICE, ahead) <= 1000 * (int(NOON) + jump)


@pytest.mark.parametrize("error", FAILURES)
@given(times=st.integers(1, 12), back=seconds)
def test_a_clock_that_went_back_holds_no_source_longer_than_a_pause(
    error: SourceError, times: int, back: int
) -> None:
    record, longest = SourceRecord(name="a"), 0.0
    for _ in range(times):
        record = after_failure(record, error, round(1000 * NOON))
        longest = max(longest, pause_left(record, NOON))
    assert longest > 0, "a pause is kept while the clock goes on"
    left = pause_left(record, NOON - back)
    # A month's pause may be a month's; what is back by more than that has none.
    assert left <= max(32 * DAY if isinstance(error, SourceQuotaError) else DAY, 0)
    if isinstance(error, SourceUnavailableError):
        assert left <= 300


@given(
    quota=st.builds(Quota, per=st.sampled_from(["day", "month"]), reset_day=st.integers(1, 28)),
    away=seconds,
    used=st.integers(1, 100),
    more=st.integers(0, 100),
)
def test_an_account_is_not_emptied_by_a_clock_that_comes_back(
    quota: Quota, away: int, used: int, more: int
) -> None:
    def at(time: float) -> datetime:
        return quota.began(datetime.fromtimestamp(time, UTC))

    record = in_period(SourceRecord(name="a"), at(NOON))
    record = in_period(replace(record, used_bits=used), at(NOON + away))
    begun_anew = record.used_bits == 0
    record = replace(record, used_bits=record.used_bits + more)
    back = in_period(record, at(NOON))
    assert back.used_bits == (more if begun_anew else used + more)
    # The next one begins as it would have.
    assert in_period(back, at(NOON + 40 * DAY)).used_bits == 0
