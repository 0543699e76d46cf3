"""
How the endpoints of a chain are doing, and from which one to read next: pure, times in seconds of
any clock that only goes forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
# Exchanges in a row that came to nothing, after which an endpoint is left also where they
# interrupted no pass.
MOST_FAILURES = 3
# The part of an average that the newest exchange makes up, and what of them have to come to
# something.
_NEWEST, ENOUGH = 0.1, 0.5
# An endpoint lags that is so many blocks and seconds of the chain behind for so long.
LAG_BLOCKS, LAG_SECONDS, LAG_PATIENCE = 5, 15, 60.0


class Circuit(StrEnum):
    """
    Whether an endpoint is asked.
    """

    CLOSED = "closed"  #: yes
    HALF_OPEN = "half_open"  #: once, to see whether it works again
    OPEN = "open"  #: not before its pause is over


@dataclass(slots=True)
class Health:
    """
    What is known of one endpoint.

    Guarantees: every failure is followed by a pause twice as long as the one before it, up to a
    minute, or as long as the endpoint asks for; only a whole pass that succeeded makes pauses
    short again, so that an endpoint which answers probes and fails at work is tried ever less.
    """

    #: Exchanges that came to something and that did not; the average time of the former.
    answered: int = 0
    failed: int = 0
    latency: float = 0.0
    #: From 0 to 1: the part of late exchanges that came to something.
    score: float = 1.0
    #: Failures since the last pass that succeeded.
    strikes: int = 0
    #: Since when it lags, if it does.
    behind_since: float | None = None
    #: Why it is not asked before a restart, if it is not.
    refused: str | None = None
    _in_a_row: int = field(default=0, init=False)
    _until: float | None = field(default=None, init=False)

    def circuit(self, now: float) -> Circuit:
        """
        Return whether it is asked now.
        """
        if self.refused is not None:
            return Circuit.OPEN
        if self._until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self._until else Circuit.HALF_OPEN

    def pause(self, now: float) -> float:
        """
        Return the seconds until it may be asked again.
        """
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def answers(self, seconds: float) -> None:
        """
        Take note of an exchange that came to something.
        """
        self.answered += 1
        self.latency += (seconds - self.latency) * (1 if self.answered == 1 else _NEWEST)
        self.score += (1 - self.score) * _NEWEST
        self._in_a_row = 0

    def stays_away(self, now: float, retry_after: float = 0.0) -> None:
        """
        Take note of an exchange that came to nothing.
        """
        self.failed += 1
        self.score -= self.score * _NEWEST
        self._in_a_row += 1
        if self._in_a_row >= MOST_FAILURES or retry_after > 0:
            self._in_a_row = 0
            self.fails(now, retry_after)

    def fails(self, now: float, retry_after: float = 0.0) -> None:
        """
        Leave it for a while.
        """
        if self._until is not None and now < self._until:
            # One failure is told more than once: by the exchange, and by the pass that it ended.
            self._until = max(self._until, now + retry_after)
            return
        # The exponent is bounded because numbers are.
        pause = min(FIRST_PAUSE * 2 ** min(self.strikes, 20), LONGEST_PAUSE)
        self.strikes += 1
        self._until = now + max(pause, retry_after)

    def recovers(self, now: float) -> None:
        """
        Ask it again, because it answered a probe; nothing while its pause lasts.
        """
        if self._until is not None and now >= self._until:
            self._until = None
            self.score = max(self.score, ENOUGH)

    def passes(self, now: float) -> None:
        """
        Take note of a whole pass that succeeded.
        """
        self.recovers(now)
        if self._until is None:
            self.strikes = 0

    def lags(self, now: float) -> bool:
        """
        Return whether it has been behind the others for long.
        """
        return self.behind_since is not None and now - self.behind_since >= LAG_PATIENCE


@dataclass(frozen=True, slots=True)
class Height:
    """
    The head that an endpoint shows: its number, and its time in the chain's seconds.
    """

    number: int
    timestamp: int


def compare(
    health: Sequence[Health],
    before: Mapping[int, Height],
    heights: Mapping[int, Height],
    now: float,
    own: int | None = None,
) -> None:
    """
    Take note of who is behind, by heads that were asked for at the same time and those of the last
    time; endpoints are named by their places.

    One endpoint is behind if two others are further, or the only other. One's own has to stand
    still besides: somebody else's word alone does not make the operator's own node a laggard.
    """
    for place, mine in heights.items():
        others = [height for other, height in heights.items() if other != place]
        further = sum(
            height.number > mine.number + LAG_BLOCKS
            and height.timestamp > mine.timestamp + LAG_SECONDS
            for height in others
        )
        behind = bool(others) and further >= min(2, len(others))
        if place == own and place in before and mine.number > before[place].number:
            behind = False
        one = health[place]
        if not behind:
            one.behind_since = None
        elif one.behind_since is None:
            one.behind_since = now


def choose(health: Sequence[Health], now: float) -> int | None:
    """
    Return the place of the endpoint from which the next pass reads; nothing if all were refused.

    The first configured one that works, is not behind and comes to something more often than not.
    If there is none: one that works, one that may work again, the one whose pause ends first.
    """
    places = [place for place, one in enumerate(health) if one.refused is None]
    order = list(Circuit)

    def rank(place: int) -> tuple[object, ...]:
        one = health[place]
        circuit = one.circuit(now)
        return (
            order.index(circuit),
            one.pause(now),
            one.lags(now),
            one.score < ENOUGH,
            place,
        )

    return min(places, key=rank, default=None)
