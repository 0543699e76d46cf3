from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.bench.gateway import measure

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


async def test_benchmark_draws_every_block_once(tmp_path: Path) -> None:
    figures = await measure(tmp_path, requests=500)
    assert figures.requests == 500
    assert figures.served_twice == 0
    assert 0 < figures.p50_ms <= figures.p99_ms
