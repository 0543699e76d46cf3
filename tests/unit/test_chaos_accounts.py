"""
The accounts of a chaos run find what is planted in them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode

from oracle.entropy.expansion import expand
from tests.chaos.accounts import (
    AIRNODE,
    NATIVE,
    Account,
    Canonical,
    Given,
    Made,
    Settled,
    Span,
    make_account,
)

pytestmark = pytest.mark.unit

WINDOW = 8191


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def native(number: int, block: int = 10) -> Made:
    return Made(request_id=word(number), protocol=NATIVE, block=block, index=number)


def airnode(number: int) -> Made:
    return Made(request_id=word(number), protocol=AIRNODE, block=10)


def settled(made: Made, secret: bytes | None) -> Settled:
    return Settled(request_id=made.request_id, block=made.block + 3, secret=secret)


MADE = [native(1), native(2), airnode(3)]
SECRETS = [word(101), word(102), word(103)]
GOOD = Canonical(
    head=100,
    made={one.request_id: one for one in MADE},
    settled=[settled(one, secret) for one, secret in zip(MADE, SECRETS, strict=True)],
)
GIVEN = Given(
    seeds={1: frozenset({word(101)}), 2: frozenset({word(102)})},
    numbers={word(3): frozenset({word(103)})},
)


def count(chain: Canonical = GOOD, given: Given = GIVEN, *spans: Span) -> Account:
    return make_account(chain, given, spans, WINDOW)


def test_where_all_is_well_nothing_is_found() -> None:
    account = count()
    assert (account.requests, account.fulfilled) == (3, 3)
    assert account.failures == []
    assert account.exposed == []


def test_a_request_that_nothing_ended_is_lost() -> None:
    account = count(replace(GOOD, settled=GOOD.settled[1:]))
    assert account.lost == [word(1)]
    assert account.failures == ["lost"]


def test_a_request_that_was_ended_without_a_value_is_lost() -> None:
    given_up = [*GOOD.settled[:2], settled(MADE[2], None)]
    assert count(replace(GOOD, settled=given_up)).lost == [word(3)]


def test_a_second_fulfillment_is_found_in_blocks_and_on_the_way() -> None:
    twice = replace(GOOD, settled=[*GOOD.settled, GOOD.settled[0]])
    assert count(twice).duplicated == [word(1)]
    live = replace(GIVEN, twice=frozenset({word(2)}))
    assert count(GOOD, live).failures == ["duplicated"]


def test_a_second_number_is_found_wherever_it_was_seen() -> None:
    seen = replace(GIVEN, numbers={word(3): frozenset({word(103), word(104)})})
    assert len(count(GOOD, seen).redrawn) == 1
    other = replace(GIVEN, seeds={1: frozenset({word(105)})})
    found = count(GOOD, other)
    assert found.redrawn == ["index 1: 2 seeds"]
    assert found.failures == ["redrawn"]


def test_a_seed_that_serves_two_requests_is_found_across_protocols() -> None:
    same = [GOOD.settled[0], settled(MADE[1], word(101)), GOOD.settled[2]]
    assert len(count(replace(GOOD, settled=same), Given(seeds={}, numbers={})).seeds_reused) == 1
    for answer in (
        encode(["uint256"], expand(word(101), word(3), 1)),
        encode(["uint256[]"], [expand(word(101), word(3), 3)]),
    ):
        across = [*GOOD.settled[:2], settled(MADE[2], answer)]
        account = count(replace(GOOD, settled=across), Given(seeds={}, numbers={}))
        assert len(account.seeds_reused) == 1
        assert account.failures == ["seeds_reused"]


def test_what_left_and_is_in_no_block_is_exposed_and_no_failure() -> None:
    seen = replace(GIVEN, seeds={**GIVEN.seeds, 9: frozenset({word(109)})})
    account = count(GOOD, seen)
    assert account.exposed == ["index 9"]
    assert account.failures == []


def test_a_passed_window_is_refundable_only_with_the_fault_that_covered_it() -> None:
    many = {one.request_id: one for one in (native(number) for number in range(1, 301))}
    done = [settled(one, word(1000 + (one.index or 0))) for one in many.values()]
    passed = Canonical(head=10 + WINDOW + 1, made=many, settled=done[1:])
    whole = Span(name="node-stop", first=10, last=10 + WINDOW)
    nothing = Given(seeds={}, numbers={})
    account = count(passed, nothing, whole)
    assert account.refundable == {word(1): "node-stop"}
    assert account.failures == []
    for span in (replace(whole, first=12), replace(whole, last=9 + WINDOW)):
        assert count(passed, nothing, span).lost == [word(1)]
    assert count(replace(passed, head=10 + WINDOW), nothing, whole).lost == [word(1)]


def test_more_than_one_in_a_hundred_refundable_fails() -> None:
    many = {one.request_id: one for one in (native(number) for number in range(1, 101))}
    done = [settled(one, word(1000 + (one.index or 0))) for one in many.values()]
    span = Span(name="node-stop", first=0, last=20_000)
    nothing = Given(seeds={}, numbers={})
    one = Canonical(head=20_000, made=many, settled=done[1:])
    assert count(one, nothing, span).failures == []
    assert count(replace(one, settled=done[2:]), nothing, span).failures == ["refundable"]
