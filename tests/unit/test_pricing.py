from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.fees import GWEI, Price
from oracle.evm import TRANSACTION_GAS_CAP
from oracle.pricing import FeeBand, Quote, cost_of, expected_costs, margin_for, within_limit
from oracle.protocols.coordinator import BATCH
from oracle.steps.sign import plan_runs
from oracle.store.costs import Work
from tests.factories import PROTOCOL, make_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.request import RandomnessRequest

pytestmark = pytest.mark.unit

CAP = TRANSACTION_GAS_CAP
# Fees around what a request costs at some gwei, alone and in company.
drawn = st.lists(
    st.tuples(
        st.integers(0, 100) | st.integers(BATCH - 40, BATCH + 40),
        st.integers(0, 300_000),
        st.integers(1, 5),
        st.integers(0, 5 * 10**14),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda one: one[0],
).map(
    lambda terms: [
        make_request(index, callback_gas_limit=limit, num_words=words, fee=fee)
        for index, limit, words, fee in sorted(terms)
    ]
)
prices = st.builds(
    Price,
    gas=st.integers(0, 5 * GWEI),
    rollup_million_gas=st.integers(0, 10**12),
    rollup_thousand_bytes=st.integers(0, 10**13),
)


def plan(run: Sequence[RandomnessRequest]) -> list[list[RandomnessRequest]]:
    return plan_runs(run, CAP)


def total(run: Sequence[RandomnessRequest], price: Price) -> int:
    gaps = run[-1].seed_index - run[0].seed_index + 1 - len(run)
    return price.of(PROTOCOL.expected_gas(run, gaps=gaps), PROTOCOL.expected_size(run, gaps=gaps))


@given(drawn, prices, st.integers(0, 10**14), st.data())
def test_nobody_is_served_beyond_the_limit_but_who_must_be(
    made: list[RandomnessRequest], price: Price, limit: int, data: st.DataObject
) -> None:
    forced = data.draw(st.sets(st.sampled_from(made)))
    runs, losing = within_limit(
        plan(made),
        price=price,
        max_loss=limit,
        always={request.key for request in forced},
        plan=plan,
    )
    served = [request for run in runs for request in run]
    # Everybody is in one place, in order, in runs that a transaction can take.
    assert sorted([*served, *losing], key=lambda one: one.seed_index) == made
    assert served == [one for one in made if one in served]
    assert forced <= set(served)
    for run in runs:
        assert [run] == plan(run)
    # The money adds up: what all of it costs, less the fees, is no more than the limits allow.
    forced_loss = 0
    for run in runs:
        shares = expected_costs(run, price)
        assert sum(shares) == total(run, price)
        for request, cost in zip(run, shares, strict=True):
            if request in forced:
                forced_loss += cost - request.fee
            else:
                assert cost - request.fee <= limit
    loss = sum(total(run, price) for run in runs) - sum(request.fee for request in served)
    assert loss <= forced_loss + limit * len(set(served) - forced)


def test_the_dear_one_goes_and_the_others_are_looked_at_again() -> None:
    price = Price(gas=GWEI)
    pays = make_request(0, fee=10**18)
    # Its fee covers half of what is fixed, and no more than that.
    half = sum(expected_costs([pays, make_request(1)], price)) // 2
    leans = make_request(1, fee=half)
    dear = make_request(2, fee=0)

    def judged(run: list[RandomnessRequest]) -> tuple[object, object]:
        return within_limit([run], price=price, max_loss=0, always=(), plan=plan)

    assert judged([pays, leans, dear]) == ([[pays, leans]], [dear])
    assert judged([leans, dear]) == ([], [leans, dear])


def test_a_rollup_charges_for_bytes_and_gas_besides() -> None:
    price = Price(gas=3, rollup_million_gas=5_000_000, rollup_thousand_bytes=7000)
    assert price.of(100, 10) == 300 + 500 + 70


margins = st.integers(1, 65_535)
bands = st.builds(
    lambda ends, gain: FeeBand(lowest=min(ends), highest=max(ends), gain_percent=gain, pause=1),
    st.tuples(margins, margins),
    st.integers(0, 1000),
)
# A margin of the gas price of some requests, rounded down as the contract does.
quotes = st.builds(
    lambda full, flat, margin: Quote(fee=flat + full * margin // 10_000, flat=flat, margin=margin),
    st.integers(10**6, 10**18),
    st.integers(0, 10**17),
    st.integers(0, 65_535),
)


@given(st.integers(0, 10**19), quotes, bands)
def test_a_margin_is_in_its_band_and_covers_the_cost_where_the_band_allows_it(
    cost: int, quote: Quote, band: FeeBand
) -> None:
    margin = margin_for(cost, quote, band)
    assert band.lowest <= margin <= band.highest
    if quote.margin == 0:
        assert margin == band.lowest
        return
    wanted = cost * (100 + band.gain_percent) // 100
    if margin not in (quote.margin, band.highest):
        assert quote.at(margin) >= wanted - 1
    if margin not in (quote.margin, band.lowest):
        assert quote.at(margin - 1) <= wanted
    inside = band.lowest <= quote.margin <= band.highest
    if inside and margin != quote.margin:
        assert abs(quote.at(margin) - quote.fee) * 10 > quote.fee


def test_a_fee_that_is_off_by_less_than_a_tenth_stays() -> None:
    band = FeeBand(lowest=1, highest=65_535, gain_percent=0, pause=1)
    quote = Quote(fee=12_000_000, flat=0, margin=12_000)
    assert margin_for(13_100_000, quote, band) == 12_000
    assert margin_for(10_900_000, quote, band) == 12_000
    assert margin_for(13_300_000, quote, band) == 13_300
    assert margin_for(10_700_000, quote, band) == 10_700
    # A flat fee is a part of what is asked.
    assert margin_for(13_300_000, Quote(fee=12_000_000, flat=6_000_000, margin=12_000), band) == (
        12_000 * 73 // 60
    )


def test_what_served_nobody_is_paid_by_those_who_were_served() -> None:
    made = [make_request(index) for index in range(4)]
    price = Price(gas=10)
    useful = Work(transactions=1, gas_used=400_000, served=made)
    wasteful = Work(transactions=3, gas_used=400_000 + 100_000 + 21_000, served=made)
    commit = PROTOCOL.commit_gas(1) * 10 // BATCH
    assert cost_of(useful, price) == 10 * 100_000 + commit
    assert cost_of(wasteful, price) == 10 * 521_000 // 4 + commit
