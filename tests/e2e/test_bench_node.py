from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.bench.node import measure

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


async def test_benchmark_sees_every_request_fulfilled(tmp_path: Path) -> None:
    figures = await measure(tmp_path, requests=20, singles=2, idle_blocks=2)
    assert figures.fulfilled == figures.requests == 20
    # One batch of 256, few transactions: far fewer than one for each.
    assert 1 <= figures.transactions < 10
    assert figures.rpc_calls["eth_sendRawTransaction"] >= figures.transactions
    assert figures.burst_latency_ms > 0
    assert figures.single_latency_ms > 0
    assert figures.idle_rpc_calls_per_block > 0
