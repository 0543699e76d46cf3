"""
`oracle commit` on a real chain: what it commits is what a node serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import TYPE_CHECKING

import pytest

from oracle.cli.main import main
from oracle.config import Settings
from oracle.store import batches
from oracle.store.batches import BatchState
from oracle.store.engine import Access, Database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.integration.conftest import Bench

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


def _run(arguments: list[str]) -> tuple[int, str, str]:
    # A CliRunner of click 8.1 mixes what stdout and stderr say; a script reads stdout alone.
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else -1
    return code, out.getvalue(), err.getvalue()


async def _commit(config: Path, *arguments: str) -> tuple[int, str, str]:
    given = ["commit", "--config", str(config), "--yes", "--json", *arguments]
    return await asyncio.to_thread(_run, given)


async def test_roots_are_committed_once_and_only_while_no_node_runs(
    new_bench: Callable[..., Awaitable[Bench]], tmp_path: Path
) -> None:
    config = tmp_path / "oracle.toml"
    bench = await new_bench()
    before = await bench.counters()
    code, out, err = await _commit(config, "--roots", "1")
    assert (code, out) == (2, "")
    assert "runs and commits by itself" in err

    await bench.service.database.close()
    await bench.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    code, out, err = await _commit(config, "--roots", "1")
    assert code == 0, err
    document = json.loads(out)
    assert (document["roots"], document["committed"]) == (1, before.committed + 256)
    assert document["runway"] == before.committed + 256 - before.next
    receipt = await bench.service.reader.receipt(bytes.fromhex(document["transaction"][2:]))
    assert receipt is not None
    assert receipt.ok
    database = await Database.open(Settings.load(config).database, Access.VISIT)
    async with database.read() as connection:
        state = await batches.state_at(
            connection, bench.service.chain_id, bench.service.contract, before.committed
        )
    await database.close()
    assert state in (BatchState.BUILT, BatchState.COMMITTED)

    code, out, err = await _commit(config)
    assert code == 0, err
    nothing = json.loads(out)
    assert (nothing["roots"], nothing["transaction"]) == (0, None)
