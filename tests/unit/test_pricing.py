from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.fees import GWEI, Price
from oracle.evm import TRANSACTION_GAS_CAP
from oracle.pricing import expected_costs, within_limit
from oracle.protocols.coordinator import BATCH
from oracle.steps.sign import plan_runs
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
