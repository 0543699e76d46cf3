from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.fees import GWEI, FeePolicy, Fees

pytestmark = pytest.mark.unit

fee = st.integers(0, 10_000 * GWEI)
policies = st.builds(FeePolicy, max_fee=fee, priority_fee=fee, max_priority_fee=fee)
paid = st.tuples(fee, fee).map(lambda both: Fees(max(both), min(both)))
BUMP = Fraction(9, 8)


def least_bump(paid: int) -> Fraction:
    """
    Return the least that clients take to replace a fee: an eighth more, and more than nothing.
    """
    return max(paid * BUMP, Fraction(paid + 1))


@given(policies, fee)
def test_quote_covers_the_base_fee_and_stays_under_the_cap(
    policy: FeePolicy, base_fee: int
) -> None:
    fees = policy.quote(base_fee)
    if fees is None:
        assert base_fee + policy.priority_fee > policy.max_fee
        return
    assert base_fee + policy.priority_fee <= fees.max_fee <= policy.max_fee
    assert fees.priority_fee == policy.priority_fee <= fees.max_fee


@given(policies, fee)
def test_quote_holds_while_the_base_fee_doubles_where_the_cap_allows_it(
    policy: FeePolicy, base_fee: int
) -> None:
    doubled = 2 * base_fee + policy.priority_fee
    fees = policy.quote(base_fee)
    if doubled <= policy.max_fee:
        assert fees is not None
        assert fees.max_fee >= doubled


def test_quote_at_the_cap_is_the_cap() -> None:
    policy = FeePolicy(max_fee=20 * GWEI, priority_fee=2 * GWEI, max_priority_fee=2 * GWEI)
    assert policy.quote(18 * GWEI) == Fees(20 * GWEI, 2 * GWEI)
    assert policy.quote(18 * GWEI + 1) is None


@given(policies, paid, fee)
def test_bump_raises_both_fees_by_an_eighth_and_stays_under_the_cap(
    policy: FeePolicy, last: Fees, base_fee: int
) -> None:
    fees = policy.bump(last, base_fee)
    if fees is None:
        return
    assert fees.max_fee >= least_bump(last.max_fee)
    assert fees.priority_fee >= least_bump(last.priority_fee)
    assert fees.max_fee <= policy.max_fee
    assert fees.priority_fee <= min(fees.max_fee, policy.max_priority_fee)


@given(policies, paid, fee)
def test_bump_is_refused_exactly_when_a_cap_is_too_low(
    policy: FeePolicy, last: Fees, base_fee: int
) -> None:
    too_dear = (
        least_bump(last.max_fee) > policy.max_fee
        or least_bump(last.priority_fee) > policy.max_priority_fee
    )
    assert (policy.bump(last, base_fee) is None) == too_dear


def test_bump_raises_even_a_fee_of_nothing() -> None:
    policy = FeePolicy(max_fee=10, priority_fee=0, max_priority_fee=10)
    assert policy.bump(Fees(0, 0), 0) == Fees(1, 1)


def test_bump_follows_a_base_fee_that_rose_by_more() -> None:
    policy = FeePolicy(max_fee=1000 * GWEI, priority_fee=GWEI, max_priority_fee=5 * GWEI)
    fees = policy.bump(Fees(10 * GWEI, GWEI), 100 * GWEI)
    assert fees is not None
    assert fees.max_fee >= 200 * GWEI


legacy = st.builds(
    FeePolicy, max_fee=fee, priority_fee=fee, max_priority_fee=fee, legacy=st.just(value=True)
)


@given(legacy, fee)
def test_where_there_is_no_base_fee_one_price_is_paid_and_it_is_under_the_cap(
    policy: FeePolicy, suggested: int
) -> None:
    fees = policy.quote(suggested)
    if fees is None:
        assert suggested > policy.max_fee
        return
    assert suggested <= fees.max_fee == fees.priority_fee <= policy.max_fee
    # All of it is paid: there is no head room that costs nothing.
    assert fees.max_fee <= suggested * 9 // 8


@given(legacy, fee, fee)
def test_where_there_is_no_base_fee_a_replacement_is_an_eighth_dearer(
    policy: FeePolicy, last: int, suggested: int
) -> None:
    fees = policy.bump(Fees(last, last), suggested)
    if fees is None:
        assert least_bump(last) > policy.max_fee
        return
    assert least_bump(last) <= fees.max_fee == fees.priority_fee <= policy.max_fee
