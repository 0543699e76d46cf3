from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.entropy.health import (
    PROPORTION_CUTOFF,
    REPETITION_CUTOFF,
    STARTUP_SAMPLES,
    WINDOW,
    Failure,
    Health,
    examine,
    repeats,
)

pytestmark = pytest.mark.unit

# Few values, so that both tests fail often enough to be compared.
poor = st.lists(st.integers(0, 20), max_size=3000).map(bytes)
cuts = st.lists(st.integers(0, 3000), max_size=6)


def expected(samples: bytes) -> tuple[int, Failure] | None:
    """
    Return where samples of a new source fail first, told by the definitions alone.
    """
    found = []
    at = 0
    for _, group in groupby(samples):
        length = len(list(group))
        if length >= REPETITION_CUTOFF:
            found.append((at + REPETITION_CUTOFF, 0, Failure.REPETITION))
        at += length
    for start in range(0, len(samples), WINDOW):
        window = samples[start : start + WINDOW]
        equal = [start + n for n, sample in enumerate(window, 1) if sample == window[0]]
        if len(equal) >= PROPORTION_CUTOFF:
            found.append((equal[PROPORTION_CUTOFF - 1], 1, Failure.PROPORTION))
    if not found:
        return None
    place, _, failure = min(found)
    return place, failure


@given(poor)
def test_failures_are_those_of_the_definitions(samples: bytes) -> None:
    health, verdict = examine(Health(), samples)
    wanted = expected(samples)
    assert (None if verdict.passed else (verdict.samples, verdict.failure)) == wanted
    assert health.tested == (len(samples) if wanted is None else 0)


@given(poor, cuts)
def test_calls_make_no_difference(samples: bytes, places: list[int]) -> None:
    whole, verdict = examine(Health(), samples)
    health, at, failed = Health(), 0, None
    for place in [*sorted(places), len(samples)]:
        piece = samples[at : max(at, place)]
        health, part = examine(health, piece)
        at += len(piece)
        if not part.passed:
            failed = part
            break
    assert (failed or verdict).failure == verdict.failure
    assert health == whole


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_stuck_source_fails_at_the_fifth_sample(value: int) -> None:
    _, verdict = examine(Health(), bytes([value]) * 64)
    assert (verdict.failure, verdict.samples) == (Failure.REPETITION, 5)
    assert examine(Health(), bytes([value]) * 4)[1].passed


def test_a_value_that_comes_too_often_fails_in_its_window() -> None:
    samples = b"".join(bytes([7, 8 + at % 200]) for at in range(17))
    assert examine(Health(), samples[:32])[1].passed
    _, verdict = examine(Health(), samples)
    assert (verdict.failure, verdict.samples) == (Failure.PROPORTION, 33)


def test_a_new_window_counts_anew() -> None:
    window = bytes([1] + [2, 3] * 7 + [1] * 2) + bytes(4 + at % 250 for at in range(495))
    assert Counter(window)[1] == 3
    health, verdict = examine(Health(), (window * 20)[: 512 * 20])
    assert verdict.passed
    assert health.tested == 512 * 20


def test_trap_zeros_and_ones_as_text_are_no_bytes() -> None:
    text = "".join(f"{byte:08b}" for byte in os.urandom(64)).encode()
    assert not examine(Health(), text)[1].passed


@pytest.mark.parametrize("digits", ["hex", "decimal"])
def test_digits_as_text_are_no_bytes(digits: str) -> None:
    data = os.urandom(1024)
    text = data.hex() if digits == "hex" else str(int.from_bytes(data, "big"))[:2000]
    assert not examine(Health(), text.encode())[1].passed


def test_startup_takes_1024_samples_over_any_number_of_calls() -> None:
    health = Health()
    for _ in range(STARTUP_SAMPLES // 64):
        assert not health.started
        health, verdict = examine(health, os.urandom(64))
        assert verdict.passed
    assert health.started


def test_a_failure_begins_the_startup_anew() -> None:
    health, _ = examine(Health(), os.urandom(2 * STARTUP_SAMPLES))
    assert health.started
    health, _ = examine(health, bytes(10))
    assert not health.started
    assert health == Health()


def test_good_bytes_pass() -> None:
    assert examine(Health(), hashlib.shake_256(b"good").digest(1 << 20))[1].passed


def test_cutoffs_are_those_of_the_formulas() -> None:
    assert 1 + math.ceil(30 / 8) == REPETITION_CUTOFF

    def tail(matches: int) -> float:
        """P(X > matches) of 511 samples that equal the first with probability 2^-8."""
        n, p = WINDOW - 1, 2.0**-8
        return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(matches + 1, n + 1))

    critical = next(k for k in range(WINDOW) if tail(k) <= 2.0**-30)
    assert 2 + critical == PROPORTION_CUTOFF


def test_state_does_not_show_samples() -> None:
    assert "77" not in repr(examine(Health(), bytes([77]))[0])


@pytest.mark.parametrize(
    ("new", "known", "verdict"),
    [
        ([b"a", b"b"], {b"c"}, False),
        ([b"a", b"a"], set(), True),
        ([b"a", b"b"], {b"b"}, True),
        ([], {b"a"}, False),
    ],
)
def test_a_block_that_came_before_is_found(
    new: list[bytes], known: set[bytes], verdict: object
) -> None:
    assert repeats(new, known) is verdict
