"""
A short chaos run: everything around the nodes fails, and not one request is lost or served twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.report import document
from tests.chaos.run import chaos
from tests.chaos.schedule import Plan

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.chaos

# One node for itself, and two that share a server which is restarted under them.
PLANS = [
    Plan(seed=7, requests=200, faults=40, nodes=1, database="sqlite"),
    Plan(seed=7, requests=150, faults=40, nodes=2, database="postgres"),
]


def say(words: str) -> None:
    print(words)  # noqa: T201 - shown when the run fails


@pytest.mark.timeout(900)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: str(plan.database))
async def test_faults_of_all_kinds_lose_nothing_and_repeat_nothing(
    plan: Plan, tmp_path: Path
) -> None:
    outcome = await chaos(plan, tmp_path, say)
    found = document(plan, outcome)
    assert outcome.failures == [], found
    assert found["requests"] >= plan.requests
    assert found["fulfilled"] == found["requests"]
    assert sum(found["faults"].values()) == plan.faults
