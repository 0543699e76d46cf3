"""
A mapping that forgets what was used longest ago.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.recent import Recent

pytestmark = pytest.mark.unit


def test_what_was_used_longest_ago_goes_first() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)
    recent.put("a", 4)
    assert recent.get("a") == 4
    recent.drop("a")
    recent.drop("b")
    assert recent.get("a") is None
    recent.clear()
    assert len(recent) == 0


@given(st.integers(1, 5), st.lists(st.integers(0, 9)))
def test_it_never_holds_more_than_it_may_and_always_the_newest(most: int, keys: list[int]) -> None:
    recent: Recent[int, int] = Recent(most)
    for key in keys:
        recent.put(key, -key)
    newest = list(dict.fromkeys(reversed(keys)))[:most]
    assert len(recent) == len(newest)
    assert all(recent.get(key) == -key for key in newest)
