from __future__ import annotations

from itertools import pairwise
from math import ceil, log2
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.evm import TRANSACTION_GAS_CAP
from oracle.protocols.coordinator import BATCH
from oracle.steps.sign import MAX_GAP, most_together, plan_runs
from tests.factories import PROTOCOL, make_request

if TYPE_CHECKING:
    from oracle.request import RandomnessRequest, RequestKey

pytestmark = pytest.mark.unit

LONGEST_PROOF = 16

# Close together, around the edges of batches, and anywhere.
indices = st.lists(
    st.integers(0, 600) | st.integers(BATCH - 5, BATCH + 5), max_size=60, unique=True
).map(sorted)
gas_limits = st.integers(0, 2_500_000)
drawn = indices.flatmap(
    lambda chosen: st.lists(gas_limits, min_size=len(chosen), max_size=len(chosen)).map(
        lambda limits: [
            make_request(index, callback_gas_limit=limit)
            for index, limit in zip(chosen, limits, strict=True)
        ]
    )
)
caps = st.integers(100_000, TRANSACTION_GAS_CAP)


def gas_of(run: list[RandomnessRequest]) -> int:
    """
    Return the gas limit of the run's transaction, at the longest proof.
    """
    first, last = run[0].seed_index, run[-1].seed_index
    gaps = last - first + 1 - len(run)
    return PROTOCOL.fulfill_gas(run, gaps=gaps, proof=LONGEST_PROOF)


@given(drawn, caps)
def test_every_request_is_in_exactly_one_run_and_order_is_kept(
    requests: list[RandomnessRequest], cap: int
) -> None:
    runs = plan_runs(requests, cap)
    assert [request for run in runs for request in run] == requests
    assert all(runs)


@given(drawn, caps)
def test_run_stays_inside_one_batch(requests: list[RandomnessRequest], cap: int) -> None:
    for run in plan_runs(requests, cap):
        assert len({request.seed_index // BATCH for request in run}) == 1


@given(drawn, caps)
def test_run_skips_little_at_a_time(requests: list[RandomnessRequest], cap: int) -> None:
    for run in plan_runs(requests, cap):
        for before, after in pairwise(run):
            assert after.seed_index - before.seed_index <= MAX_GAP


@given(drawn, caps)
def test_run_of_several_is_under_the_gas_cap(requests: list[RandomnessRequest], cap: int) -> None:
    for run in plan_runs(requests, cap):
        assert len(run) == 1 or gas_of(run) <= cap


@given(st.integers(2, 40), st.integers(1, 6), gas_limits)
def test_cap_one_below_what_a_run_costs_splits_it(count: int, step: int, limit: int) -> None:
    requests = [make_request(at * step, callback_gas_limit=limit) for at in range(count)]
    cap = gas_of(requests) - 1
    runs = plan_runs(requests, cap)
    assert len(runs) > 1
    assert all(len(run) == 1 or gas_of(run) <= cap for run in runs)


def test_request_above_the_cap_still_gets_a_run_of_its_own() -> None:
    requests = [make_request(index, callback_gas_limit=2_500_000) for index in range(3)]
    assert plan_runs(requests, 1_000_000) == [[request] for request in requests]


def test_neighbours_share_a_run_when_there_is_room() -> None:
    requests = [make_request(index) for index in range(10)]
    assert plan_runs(requests, TRANSACTION_GAS_CAP) == [requests]


def test_batch_boundary_splits_neighbours() -> None:
    before, after = make_request(BATCH - 1), make_request(BATCH)
    assert plan_runs([before, after], TRANSACTION_GAS_CAP) == [[before], [after]]


def test_gap_splits_exactly_above_its_limit() -> None:
    first = make_request(0)
    near, far = make_request(MAX_GAP), make_request(MAX_GAP + 1)
    assert plan_runs([first, near], TRANSACTION_GAS_CAP) == [[first, near]]
    assert plan_runs([first, far], TRANSACTION_GAS_CAP) == [[first], [far]]


def test_nothing_drawn_makes_no_run() -> None:
    assert plan_runs([], TRANSACTION_GAS_CAP) == []


@given(drawn, caps, st.data())
def test_what_reverted_together_is_split_and_nothing_else_changes(
    requests: list[RandomnessRequest], cap: int, data: st.DataObject
) -> None:
    sizes = st.none() | st.integers(1, BATCH)
    drawn_sizes = data.draw(st.lists(sizes, min_size=len(requests), max_size=len(requests)))
    reverted = {
        request.key: size
        for request, size in zip(requests, drawn_sizes, strict=True)
        if size is not None
    }
    runs = plan_runs(requests, cap, reverted)
    assert [request for run in runs for request in run] == requests
    for run in runs:
        sizes_in_run = [reverted.get(request.key) for request in run]
        assert len(run) <= min(map(most_together, sizes_in_run))
        # Nobody waits for the poison of a run that it was never in.
        assert None not in sizes_in_run or set(sizes_in_run) == {None}
        assert len({request.seed_index // BATCH for request in run}) == 1
        assert len(run) == 1 or gas_of(run) <= cap


@given(st.integers(1, 200), st.data())
def test_a_poison_stands_alone_after_as_many_reverts_as_halvings(
    count: int, data: st.DataObject
) -> None:
    requests = [make_request(index, callback_gas_limit=0) for index in range(count)]
    poison = data.draw(st.sampled_from(requests))
    waiting = requests
    reverted: dict[RequestKey, int] = {}
    for _ in range(ceil(log2(count))):
        [run] = [run for run in plan_runs(waiting, TRANSACTION_GAS_CAP, reverted) if poison in run]
        reverted |= {request.key: len(run) for request in run}
        waiting = run
    assert [poison] in plan_runs(waiting, TRANSACTION_GAS_CAP, reverted)


def test_a_run_that_reverted_is_halved_and_halved_again() -> None:
    requests = [make_request(index) for index in range(8)]
    for size, most in ((8, 4), (4, 2), (3, 2), (2, 1), (1, 1)):
        reverted = {request.key: size for request in requests}
        runs = plan_runs(requests, TRANSACTION_GAS_CAP, reverted)
        assert [len(run) for run in runs] == [most] * (8 // most)


def test_a_fresh_request_does_not_join_those_that_reverted() -> None:
    suspect, fresh = make_request(0), make_request(1)
    runs = plan_runs([suspect, fresh], TRANSACTION_GAS_CAP, {suspect.key: 8})
    assert runs == [[suspect], [fresh]]
