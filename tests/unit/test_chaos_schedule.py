"""
The schedule of a chaos run is made from its seed alone.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.nodes import find_points
from tests.chaos.schedule import KINDS, REST, Plan, make_schedule

pytestmark = pytest.mark.unit

POINTS = ["bound", "drawn", "signed"]


def plan(**changes: object) -> Plan:
    values: dict[str, object] = {
        "seed": 7,
        "requests": 500,
        "faults": 400,
        "nodes": 2,
        "database": "postgres",
    }
    return Plan(**{**values, **changes})  # type: ignore[arg-type]


def test_a_seed_gives_the_same_schedule_again_and_another_seed_another_one() -> None:
    first = make_schedule(plan(), POINTS)
    assert make_schedule(plan(), reversed_points()) == first
    assert make_schedule(plan(seed=8), POINTS) != first
    assert json.loads(json.dumps(first.document()))["plan"]["seed"] == 7


def reversed_points() -> list[str]:
    return POINTS[::-1]


@given(
    seed=st.integers(0, 10**6),
    requests=st.integers(1, 2000),
    faults=st.integers(0, 300),
    nodes=st.integers(1, 3),
)
def test_all_that_was_planned_is_in_it_and_begins_before_the_calm(
    seed: int, requests: int, faults: int, nodes: int
) -> None:
    made = make_schedule(plan(seed=seed, requests=requests, faults=faults, nodes=nodes), POINTS)
    assert sum(burst.native + burst.airnode for burst in made.bursts) == requests
    assert len(made.faults) == faults
    assert all(0 <= fault.tick < made.ticks for fault in made.faults)
    assert all(0 <= burst.tick < made.ticks for burst in made.bursts)


def test_a_node_that_was_killed_is_left_alone_until_it_can_have_started() -> None:
    made = make_schedule(plan(), POINTS)
    for name in ("node-0", "node-1", "gateway", "database"):
        alone = [one for one in made.faults if one.target == name and KINDS[one.kind].alone]
        assert len(alone) > 1
        for before, after in itertools.pairwise(alone):
            assert after.tick >= before.end + REST


def test_a_short_run_has_nearly_all_kinds() -> None:
    for seed in range(20):
        made = make_schedule(plan(seed=seed, faults=60), POINTS)
        assert len({one.kind for one in made.faults}) >= len(KINDS) - 4


def test_every_kind_comes_and_a_server_is_restarted_only_where_there_is_one() -> None:
    kinds = Counter(one.kind for one in make_schedule(plan(faults=2000), POINTS).faults)
    assert set(kinds) == set(KINDS)
    alone = make_schedule(plan(nodes=1, database="sqlite", faults=2000), POINTS)
    assert {one.kind for one in alone.faults} == set(KINDS) - {"database-restart"}


def test_the_fault_points_are_those_of_a_node_at_work() -> None:
    found = find_points()
    assert {"observed", "signed", "sent-recorded", "broadcast", "replaced", "drawn"} <= {*found}
    assert not [name for name in found if name.startswith(("reply-", "rotation-"))]
