"""
Which endpoint is asked, and when: the rules of the circuit, and of the choice between passes.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oracle.chain.endpoints import (
    ENOUGH,
    FIRST_PAUSE,
    LAG_BLOCKS,
    LAG_PATIENCE,
    LAG_SECONDS,
    LONGEST_PAUSE,
    MOST_FAILURES,
    Circuit,
    Health,
    Height,
    choose,
    compare,
)

pytestmark = pytest.mark.unit

seconds = st.floats(0, 300, allow_nan=False)


class Chain(RuleBasedStateMachine):
    """
    Three endpoints that answer, fail and come back in any order, and what may be done with them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.all = [Health() for _ in range(3)]
        #: What the rules allow: until when nobody may ask, and how long the next pause is.
        self.until = [0.0] * 3
        self.pauses = [FIRST_PAUSE] * 3
        self.in_a_row = [0] * 3

    @rule(passed=seconds)
    def time_passes(self, passed: float) -> None:
        self.now += passed

    @rule(place=st.integers(0, 2), took=seconds)
    def answers(self, place: int, took: float) -> None:
        self.all[place].answers(took)
        self.in_a_row[place] = 0

    @rule(place=st.integers(0, 2))
    def an_exchange_comes_to_nothing(self, place: int) -> None:
        self.all[place].stays_away(self.now)
        self.in_a_row[place] += 1
        if self.in_a_row[place] == MOST_FAILURES:
            self.in_a_row[place] = 0
            self._fails(place, 0.0)

    @rule(place=st.integers(0, 2), asked=st.sampled_from([0.0, 0.0, 1.0, 90.0]))
    def a_pass_is_interrupted(self, place: int, asked: float) -> None:
        self.all[place].fails(self.now, asked)
        self._fails(place, asked)

    def _fails(self, place: int, asked: float) -> None:
        if self.now < self.until[place]:
            self.until[place] = max(self.until[place], self.now + asked)
            return
        self.until[place] = self.now + max(self.pauses[place], asked)
        self.pauses[place] = min(2 * self.pauses[place], LONGEST_PAUSE)

    @rule(place=st.integers(0, 2))
    def a_probe_is_answered(self, place: int) -> None:
        self.all[place].recovers(self.now)

    @rule(place=st.integers(0, 2))
    def a_pass_succeeds(self, place: int) -> None:
        self.all[place].passes(self.now)
        if self.now >= self.until[place]:
            self.pauses[place] = FIRST_PAUSE

    @precondition(lambda self: sum(one.refused is None for one in self.all) > 1)
    @rule(place=st.integers(0, 2))
    def one_is_refused(self, place: int) -> None:
        self.all[place].refused = "serves another chain"

    @invariant()
    def nobody_is_asked_before_the_pause_is_over(self) -> None:
        for one, until in zip(self.all, self.until, strict=True):
            open_ = one.circuit(self.now) is Circuit.OPEN
            assert open_ == (self.now < until or one.refused is not None)
            if one.refused is None:
                assert one.pause(self.now) == pytest.approx(max(0.0, until - self.now))

    @invariant()
    def a_score_is_a_part_of_one(self) -> None:
        assert all(0 <= one.score <= 1 for one in self.all)

    @invariant()
    def the_first_that_works_is_read_from(self) -> None:
        place = choose(self.all, self.now)
        if all(one.refused is not None for one in self.all):
            assert place is None
            return
        assert place is not None
        assert self.all[place].refused is None
        circuits = [one.circuit(self.now) for one in self.all]
        if Circuit.CLOSED in circuits:
            assert circuits[place] is Circuit.CLOSED
            good = [
                here
                for here, one in enumerate(self.all)
                if circuits[here] is Circuit.CLOSED and one.score >= ENOUGH
            ]
            assert not good or place == good[0]
        elif Circuit.HALF_OPEN in circuits:
            assert circuits[place] is Circuit.HALF_OPEN


TestChain = Chain.TestCase


def test_pauses_grow_and_only_a_whole_pass_makes_them_short_again() -> None:
    one, now = Health(), 0.0
    pauses = []
    for _ in range(10):
        one.fails(now)
        pauses.append(one.pause(now))
        now += one.pause(now)
        assert one.circuit(now) is Circuit.HALF_OPEN
        one.recovers(now)
        assert one.circuit(now) is Circuit.CLOSED
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    one.passes(now)
    one.fails(now)
    assert one.pause(now) == FIRST_PAUSE


def test_who_asks_for_a_longer_pause_gets_it() -> None:
    one = Health()
    one.stays_away(0.0, 120.0)
    assert one.circuit(119.0) is Circuit.OPEN
    assert one.circuit(120.0) is Circuit.HALF_OPEN


def test_whoever_fails_more_often_than_not_is_not_preferred() -> None:
    flaky, sound = Health(), Health()
    for _ in range(20):
        flaky.stays_away(0.0)
        flaky.stays_away(0.0)
        flaky.answers(0.01)
    assert flaky.circuit(0.0) is Circuit.CLOSED
    assert choose([flaky, sound], 0.0) == 1


def survey(health: list[Health], now: float, *numbers: int, own: int | None = None) -> None:
    """
    Compare heads of blocks that come every ten seconds.
    """
    heights = {place: Height(number, 10 * number) for place, number in enumerate(numbers)}
    compare(health, {}, heights, now, own)


def test_who_is_behind_for_long_is_left_and_taken_again_when_it_has_caught_up() -> None:
    health = [Health(), Health()]
    for now in range(0, int(LAG_PATIENCE), 30):
        survey(health, now, 100, 110)
        assert choose(health, now) == 0
    survey(health, LAG_PATIENCE, 100, 110)
    assert choose(health, LAG_PATIENCE) == 1
    survey(health, LAG_PATIENCE + 30, 112, 113)
    assert choose(health, LAG_PATIENCE + 30) == 0


def test_one_of_three_cannot_make_laggards_of_the_others() -> None:
    health = [Health(), Health(), Health()]
    for now in (0.0, LAG_PATIENCE, 2 * LAG_PATIENCE):
        survey(health, now, 100, 101, 10**9)
        assert choose(health, now) == 0


def test_the_operators_own_node_has_to_stand_still_to_be_behind() -> None:
    health = [Health(), Health()]
    before: dict[int, Height] = {}
    for step in range(10):
        heights = {0: Height(100 + step, 0), 1: Height(10**9, 10**9)}
        compare(health, before, heights, 30.0 * step, 0)
        before = heights
        assert choose(health, 30.0 * step) == 0
    for step in range(10, 14):
        heights = {0: Height(109, 0), 1: Height(10**9, 10**9)}
        compare(health, before, heights, 30.0 * step, 0)
        before = heights
    assert choose(health, 30.0 * 13) == 1


@given(numbers=st.lists(st.integers(0, 30), min_size=1, max_size=5), quick=st.booleans())
def test_nobody_is_behind_unless_others_are_further_in_blocks_and_in_time(
    numbers: list[int], *, quick: bool
) -> None:
    health = [Health() for _ in numbers]
    # Blocks that come several times a second are no reason to leave anybody.
    heights = {
        place: Height(number, number // 3 if quick else 10 * number)
        for place, number in enumerate(numbers)
    }
    compare(health, {}, heights, 0.0)
    for place, one in enumerate(health):
        further = [
            other
            for at, other in heights.items()
            if at != place
            and other.number - numbers[place] > LAG_BLOCKS
            and other.timestamp - heights[place].timestamp > LAG_SECONDS
        ]
        enough = len(further) >= min(2, len(numbers) - 1) and len(numbers) > 1
        assert (one.behind_since is not None) == enough
