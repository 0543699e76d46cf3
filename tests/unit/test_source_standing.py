"""
What becomes of a source after each failure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import (
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceError,
    SourceHealthError,
    SourceQuotaError,
    SourceReplyError,
    SourceThrottledError,
    SourceTrustError,
)
from oracle.source_standing import after_failure
from oracle.store.sources import SourceRecord, SourceState
from tests.supplied import DOWN

pytestmark = pytest.mark.unit

NOW = 1_000_000


def failed(error: SourceError, **before: Any) -> SourceRecord:
    return after_failure(SourceRecord(name="a", **before), error, NOW)


def seconds(after: SourceRecord) -> float:
    assert after.until is not None
    return (after.until - NOW) / 1000


@pytest.mark.parametrize(
    ("error", "state", "reason", "pause"),
    [
        (DOWN, SourceState.WAITING, "unavailable", 0.5),
        (SourceThrottledError("", retry_after=61), SourceState.WAITING, "throttled", 61),
        (SourceQuotaError(""), SourceState.EXHAUSTED, "quota", 6 * 3600),
        (
            SourceQuotaError("", resets_at=datetime.fromtimestamp(NOW / 1000 + 99, UTC)),
            SourceState.EXHAUSTED,
            "quota",
            99,
        ),
        (SourceCredentialsError(""), SourceState.REFUSED, "credentials", 600),
        (SourceTrustError(""), SourceState.REFUSED, "certificate", 600),
        (SimulatedEntropyError(""), SourceState.REFUSED, "simulated", 600),
        (SourceReplyError(""), SourceState.WAITING, "malformed", 0.5),
        (SourceHealthError("", failure="x"), SourceState.QUARANTINED, "unhealthy", 600),
    ],
)
def test_every_meaning_is_a_state(
    error: SourceError, state: SourceState, reason: str, pause: float
) -> None:
    after = failed(error)
    assert (after.state, after.reason, seconds(after)) == (state, reason, pause)


def test_the_second_malformed_reply_in_a_row_is_quarantine() -> None:
    once = failed(SourceReplyError("short"))
    assert once.state is SourceState.WAITING
    assert after_failure(once, SourceReplyError("short"), NOW).state is SourceState.QUARANTINED
    between = after_failure(once, DOWN, NOW)
    assert after_failure(between, SourceReplyError(""), NOW).state is SourceState.WAITING


def test_out_of_quarantine_the_first_bad_reply_leads_back_for_twice_as_long() -> None:
    before = {"state": SourceState.RECOVERING, "quarantines": 1}
    after = failed(SourceReplyError("short"), **before)
    assert (after.state, seconds(after)) == (SourceState.QUARANTINED, 1200)
    # What is no fault of the bytes leaves it where it is.
    assert failed(DOWN, **before).state is SourceState.RECOVERING


@given(st.integers(1, 60))
def test_pauses_grow_to_a_bound(failures: int) -> None:
    known = SourceRecord(name="a")
    pauses = []
    for _ in range(failures):
        known = after_failure(known, DOWN, NOW)
        pauses.append(seconds(known))
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.5
    assert pauses[-1] <= 300
    assert failures < 8 or pauses[-1] == 300
