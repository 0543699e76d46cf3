from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import StaleStateError
from oracle.request import TRANSITIONS, State, check_transition

pytestmark = pytest.mark.unit

HAPPY_PATH = (
    State.OBSERVED,
    State.CONFIRMED,
    State.DRAWN,
    State.SIGNED,
    State.SENT,
    State.MINED,
    State.DONE,
)
EXITS = (State.ORPHANED, State.REJECTED, State.CANCELLED, State.EXPIRED, State.FAILED)


def reachable(start: State) -> set[State]:
    found, waiting = set[State](), [start]
    while waiting:
        for after in TRANSITIONS[waiting.pop()] - found:
            found.add(after)
            waiting.append(after)
    return found


def test_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(State) == {*HAPPY_PATH, *EXITS}


def test_every_state_is_reachable_from_observed() -> None:
    assert reachable(State.OBSERVED) | {State.OBSERVED} == set(State)


def test_happy_path_is_allowed_step_by_step() -> None:
    for before, after in pairwise(HAPPY_PATH):
        check_transition(before, after)


def test_nothing_but_a_reorg_leads_out_of_done() -> None:
    assert TRANSITIONS[State.DONE] <= {State.CONFIRMED, State.ORPHANED}


def test_only_mined_leads_to_done() -> None:
    assert [state for state in State if State.DONE in TRANSITIONS[state]] == [State.MINED]


def test_only_a_confirmed_request_is_drawn() -> None:
    assert [state for state in State if State.DRAWN in TRANSITIONS[state]] == [State.CONFIRMED]


def test_bytes_leave_only_after_they_are_stored() -> None:
    # From mined, the same stored bytes go out again after a reorg.
    before_sent = {state for state in State if State.SENT in TRANSITIONS[state]}
    assert before_sent == {State.SIGNED, State.MINED}


def test_orphaned_request_starts_again_from_the_beginning() -> None:
    assert TRANSITIONS[State.ORPHANED] == {State.OBSERVED}


def test_every_unfinished_request_can_be_orphaned_by_a_reorg() -> None:
    for state in set(State) - {State.DONE, State.ORPHANED}:
        check_transition(state, State.ORPHANED)


def test_everybody_may_fulfill_an_open_request_at_any_moment() -> None:
    for state in set(HAPPY_PATH) - {State.MINED, State.DONE}:
        check_transition(state, State.MINED)


@pytest.mark.parametrize(("before", "after"), product(State, State))
def test_check_refuses_every_edge_that_is_not_in_the_table(before: State, after: State) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
        return
    with pytest.raises(StaleStateError, match=f"from {before} to {after}"):
        check_transition(before, after)


@given(st.lists(st.sampled_from(State), max_size=30))
def test_no_path_without_a_reorg_leads_out_of_done(wishes: list[State]) -> None:
    state = State.OBSERVED
    reorg = {State.CONFIRMED, State.ORPHANED}
    for after in [*HAPPY_PATH[1:], *(wish for wish in wishes if wish not in reorg)]:
        try:
            check_transition(state, after)
        except StaleStateError:
            continue
        state = after
    assert state is State.DONE
