"""
How much a vendor allows: requests in a time, and a quota that begins anew.

Pure: time is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rate:
    """
    At most so many requests within so many seconds.
    """

    requests: int
    seconds: float


class TokenBucket:
    """
    Lets through what a rate allows, in any window of its length; times in seconds.

    Half of the requests may come at once, the others flow in evenly: a full bucket and what flows
    in during a window are together no more than the vendor allows.
    """

    def __init__(self, rate: Rate) -> None:
        self._capacity = float(max(1, rate.requests // 2))
        self._per_second = max(1.0, rate.requests - self._capacity) / rate.seconds
        self._tokens = self._capacity
        self._at: float | None = None

    def wait(self, now: float) -> float:
        """
        Return the seconds until the next request may be made, 0 if it may be made now.
        """
        self._refill(now)
        missing = 1 - self._tokens
        return max(0.0, missing / self._per_second)

    def take(self, now: float) -> None:
        """
        Count a request that is made now.
        """
        self._refill(now)
        self._tokens -= 1

    def _refill(self, now: float) -> None:
        # A clock that goes back gives nothing.
        elapsed = max(0.0, now - self._at) if self._at is not None else 0.0
        self._at = now
        self._tokens = min(self._capacity, self._tokens + elapsed * self._per_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """
    What an account may draw in a day or a month, UTC; nothing where it is not limited.
    """

    requests: int | None = None
    bits: int | None = None
    per: Literal["day", "month"] = "month"
    reset_day: int = 1  #: of the month, 1 to 28

    def began(self, now: datetime) -> datetime:
        """
        Return when the period of a time began.
        """
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.per == "day":
            return day
        this = day.replace(day=self.reset_day)
        if this <= day:
            return this
        return (day.replace(day=1) - timedelta(days=1)).replace(day=self.reset_day)

    def resets(self, now: datetime) -> datetime:
        """
        Return when the period of a time ends.
        """
        began = self.began(now)
        if self.per == "day":
            return began + timedelta(days=1)
        return (began.replace(day=28) + timedelta(days=4)).replace(day=self.reset_day)
