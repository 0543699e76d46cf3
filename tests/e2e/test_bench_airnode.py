from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.bench.requesters import measure_airnode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

# A minimal consumer that writes one used slot: more means that something is wrong.
MOST_GAS = 43_500


async def test_benchmark_sees_every_sponsors_requests_answered(tmp_path: Path) -> None:
    figures = await measure_airnode(tmp_path, requests=20, sponsors=2, singles=3)
    assert figures.fulfilled == figures.requests == 20
    assert figures.gas_per_fulfillment <= MOST_GAS
    assert 0 < figures.single_median_ms <= figures.single_p95_ms
    assert figures.single_median_blocks >= 1
