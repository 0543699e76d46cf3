"""
What endpoints mean by their words, and that nobody sees a key in them.
"""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.answers import (
    MOST_PATIENCE,
    Words,
    answered_error,
    retry_after,
    suggested_span,
)
from oracle.errors import AnsweredError, EndpointError, PrunedError, ThrottledError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Too Many Requests", ThrottledError),
        ("daily request count exceeded, request rate limited", ThrottledError),
        ("Your app has exceeded its compute units per second capacity", ThrottledError),
        ("missing trie node 4b3f (path ) state 0x4b3f is not available", PrunedError),
        ("history has been pruned for this block", PrunedError),
        ("required historical state unavailable (reexec=128)", PrunedError),
        ("distance to target block exceeds maximum proof window", PrunedError),
        ("state at block #5 is pruned", PrunedError),
        ("execution reverted: rate limit, this archive is pruned", AnsweredError),
        ("nonce too low", AnsweredError),
        ("query returned more than 10000 results", AnsweredError),
    ],
)
def test_words_are_told_apart(words: str, kind: type[EndpointError]) -> None:
    error = answered_error("https://rpc.example", words)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("words", "blocks"),
    [
        ("eth_getLogs requests with up to a 10 block range are allowed", 10),
        ("You can make eth_getLogs requests with up to a 2K block range", 2000),
        ("block range limit exceeded: eth_getLogs is limited to 0 - 500 blocks range", 500),
        ("exceed maximum block range: 5000", 5000),
        ("eth_getLogs is limited to a 10,000 range", None),
        ("Try with this block range [0x10, 0x2f].", 32),
        ("query returned more than 10000 results", None),
        ("query exceeds max results 20000, retry with the range 100-149", 100),
        ("block range is too wide", None),
        ("maximum block range: 0", None),
        ("range [0x30, 0x2f]", None),
    ],
)
def test_the_range_that_an_endpoint_names_is_taken(words: str, blocks: int | None) -> None:
    assert suggested_span(words) == blocks


def test_a_pause_is_asked_for_in_seconds_or_by_a_date() -> None:
    assert retry_after("7") == 7
    assert 50 < retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert retry_after(formatdate(0)) == 0


@given(st.one_of(st.none(), st.text(), st.floats().map(str)))
def test_a_pause_is_never_longer_than_anybody_waits(value: str | None) -> None:
    assert 0 <= retry_after(value) <= MOST_PATIENCE


KEY = "k3y-0f-th3-0p3r4t0r"


@pytest.mark.parametrize(
    "url",
    [
        f"https://rpc.example/v2/{KEY}",
        f"https://rpc.example/?apikey={KEY}",
        f"https://user:{KEY}@rpc.example/",
        f"https://rpc.example/#{KEY}",
    ],
)
@pytest.mark.parametrize(
    "said", ["no access for {url}", "project {key} has no access", "unknown key '{key}'\nsorry"]
)
def test_no_word_of_an_endpoint_shows_the_key_in_its_url(url: str, said: str) -> None:
    shown = Words(url).showable(said.format(url=url, key=KEY))
    assert KEY not in shown
    assert "\n" not in shown


def test_a_page_instead_of_a_word_is_cut() -> None:
    assert len(Words("https://rpc.example").showable("<p>" * 10_000)) < 500
