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

REQUESTS, FAULTS = 200, 40


def say(words: str) -> None:
    print(words)  # noqa: T201 - shown when the run fails


@pytest.mark.timeout(600)
async def test_faults_of_all_kinds_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    plan = Plan(seed=7, requests=REQUESTS, faults=FAULTS, nodes=1, database="sqlite")
    outcome = await chaos(plan, tmp_path, say)
    found = document(plan, outcome)
    assert outcome.failures == [], found
    assert found["requests"] >= REQUESTS
    assert found["fulfilled"] == found["requests"]
    assert sum(found["faults"].values()) == FAULTS
