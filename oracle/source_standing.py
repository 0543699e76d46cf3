"""
What becomes of a source: pauses, quarantine and accounts, from its record and what it did. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oracle.entropy.source import RETRY_AFTER_MAX
from oracle.errors import (
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceError,
    SourceHealthError,
    SourceQuotaError,
    SourceReplyError,
    SourceThrottledError,
    SourceTrustError,
    SourceUnavailableError,
)
from oracle.store.sources import SourceRecord, SourceState

if TYPE_CHECKING:
    from datetime import datetime

_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 30.0
_BREAKER_FAILURES, _BREAKER_SECONDS = 8, 300.0
_QUARANTINE_FIRST, _QUARANTINE_MOST = 600.0, 86_400.0
_REFUSED_SECONDS = 600.0
_EXHAUSTED_SECONDS = 6 * 3600.0  # where nobody knows when the quota begins anew
# No pause is longer, by the state that it is made in; of the others none is longer than a vendor
# may ask for.
_LONGEST = {SourceState.EXHAUSTED: 32 * 86_400.0, SourceState.REFUSED: _REFUSED_SECONDS}

_REASONS: tuple[tuple[type[SourceError], str], ...] = (
    (SourceHealthError, "unhealthy"),
    (SourceReplyError, "malformed"),
    (SourceThrottledError, "throttled"),
    (SourceQuotaError, "quota"),
    (SourceCredentialsError, "credentials"),
    (SourceTrustError, "certificate"),
    (SimulatedEntropyError, "simulated"),
    (SourceUnavailableError, "unavailable"),
)


def reason_of(error: SourceError) -> str:
    """
    Return the word for programs that an error of a source has.
    """
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "failed")


def in_period(record: SourceRecord, began: datetime) -> SourceRecord:
    """
    Return a record with the account of the period that began at a time.

    An account of a later period was opened while the clock was ahead: what it counts was used all
    the same.
    """
    begins = int(began.timestamp() * 1000)
    if begins > record.period_began:
        return replace(record, period_began=begins, used_requests=0, used_bits=0)
    return replace(record, period_began=begins)


def pause_left(record: SourceRecord, now: float) -> float:
    """
    Return the seconds until the end of a source's pause; `now` in seconds since 1970.

    A pause longer than any that is ever made was made while the clock was ahead: it is over.
    """
    if record.until is None:
        return 0.0
    left = record.until / 1000 - now
    longest = _LONGEST.get(record.state, RETRY_AFTER_MAX)
    if record.reason == "unavailable":
        longest = _BREAKER_SECONDS
    return left if left <= longest else 0.0


def after_failure(record: SourceRecord, error: SourceError, now: int) -> SourceRecord:
    """
    Return what a source is after a draw that failed; `now` in milliseconds since 1970.

    Down, it is asked again after pauses that double, and after many failures in a row only every
    five minutes (an open circuit). A malformed reply may happen once; the second in a row, and any
    unhealthy bytes, are quarantine, each time twice as long.
    """
    failures = record.failures + 1
    state, seconds = SourceState.WAITING, min(_BACKOFF_MOST, _BACKOFF_FIRST * 2 ** (failures - 1))
    if failures >= _BREAKER_FAILURES:
        seconds = _BREAKER_SECONDS
    quarantines = record.quarantines
    match error:
        case SourceHealthError():
            state = SourceState.QUARANTINED
        case SourceReplyError():
            # Out of quarantine there is no second try.
            again = record.reason == "malformed" or record.state is SourceState.RECOVERING
            state = SourceState.QUARANTINED if again else SourceState.WAITING
        case SourceThrottledError():
            seconds = error.retry_after
        case SourceQuotaError():
            state = SourceState.EXHAUSTED
            ends = error.resets_at
            seconds = ends.timestamp() - now / 1000 if ends else _EXHAUSTED_SECONDS
        case SourceUnavailableError():
            pass
        case _:
            state, seconds = SourceState.REFUSED, _REFUSED_SECONDS
    if state is SourceState.QUARANTINED:
        seconds = min(_QUARANTINE_MOST, _QUARANTINE_FIRST * 2**quarantines)
        quarantines += 1
    elif record.state is SourceState.RECOVERING and state is SourceState.WAITING:
        state = SourceState.RECOVERING
    return replace(
        record,
        state=state,
        reason=reason_of(error),
        advice=str(error),
        until=now + round(1000 * seconds),
        failures=failures,
        quarantines=quarantines,
    )
