from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from oracle.request import State
from oracle.store import requests, retention
from oracle.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.conftest import Bench

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

GROWING = (
    "requests|pruned_requests|request_events|transactions|attempts|blocks|block_inputs|reveals"
    "|batches"
)
# Indices of what is left to do, and those that a listing walks down until it has enough.
SHORT = r"ix_blocks_fresh|ix_reveals_kept|ix_requests_(state_)?created_at_seed_index"
# A listing walks an index down to its limit; what it has to sort, it reads all of.
LISTING = re.compile(r"ORDER BY requests.created_at DESC, .* LIMIT", re.DOTALL)
# From end to end, or over all that one chain, coordinator or wallet ever had.
FULL_SCAN = re.compile(
    rf"SCAN ({GROWING})\b(?!.* USING (COVERING )?INDEX ({SHORT})$)"
    rf"|SEARCH ({GROWING}) .*\((chain_id=\?)?( AND (contract|wallet)=\?)?\)"
)
# What is done is read from a block on, never up to one.
WHOLE_PAST = re.compile(r"SEARCH requests .*state=\?( AND \w+_(number|block)<\?)?\)")


def reads_all(statement: str, plan: list[str], parameters: Any) -> bool:
    if LISTING.search(statement):
        by_state = "requests.state = ?" in statement
        return "TEMP B-TREE" in plan[-1] or by_state != ("state=?" in plan[0])
    done = State.DONE in parameters
    return any(FULL_SCAN.search(line) or (done and WHOLE_PAST.search(line)) for line in plan)


async def test_no_query_of_a_pass_reads_a_growing_table_from_end_to_end(
    new_bench: Callable[..., Awaitable[Bench]],
) -> None:
    band = {"fee.gas_margin_bps_min": 1, "fee.gas_margin_bps_max": 20_000, "fee.pause_blocks": 1}
    bench = await new_bench(window=64, max_loss_gwei=10**9, **band)
    database = bench.service.database
    said: dict[str, Any] = {}

    def listen(*told: Any) -> None:
        _, _, statement, parameters, _, many = told
        said[statement] = parameters[0] if many else parameters

    assert isinstance(database, SqliteDatabase)
    engine = database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", listen)
    request = await bench.roll()
    await bench.mine(3)
    for _ in range(6):
        await bench.walk()
        await bench.mine()
    assert await bench.state(request) is State.DONE
    await bench.fork(2)
    await bench.mine(4)
    await bench.walk(2)
    await bench.roll()
    await bench.mine(90)
    bench.service = replace(bench.service, keep_days=1e-9)
    await bench.walk()
    assert await bench.state_or_none(request) is None
    # Read again from the start on, past what was pruned.
    await bench.fork(1)
    await bench.walk()
    async with database.read() as connection:
        await requests.newest(connection)
        await requests.newest(connection, state=State.DONE)
        await requests.by_prefix(connection, request.key.request_id[:2])
        await requests.history(connection, request.key)
        await retention.by_prefix(connection, request.key.request_id[:2])
    event.remove(engine, "before_cursor_execute", listen)

    found = {}
    async with database.read() as connection:
        for statement, parameters in said.items():
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                rows = await connection.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN {statement}", parameters
                )
                plan = [row.detail for row in rows]
                if reads_all(statement, plan, parameters):
                    found[statement] = plan
    assert len(said) > 30
    assert found == {}
