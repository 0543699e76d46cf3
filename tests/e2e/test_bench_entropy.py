"""
`oracle bench entropy` as a process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


async def test_it_fills_two_pools_and_gives_every_block_of_a_third_once(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oracle", "bench", "entropy", "--requests", "500", "--json"),
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, said = await child.communicate()
    assert child.returncode == 0, said.decode()
    figures = json.loads(output)
    assert [(each["sources_per_seed"], each["seeds"]) for each in figures["refill"]] == [
        (1, 500),
        (2, 500),
    ]
    assert all(each["seeds_per_second"] > 0 for each in figures["refill"])
    assert figures["gateway"]["requests"] == 500
    assert figures["gateway"]["served_twice"] == 0
    assert 0 < figures["gateway"]["p50_ms"] <= figures["gateway"]["p99_ms"]
    assert list(tmp_path.iterdir()) == []
