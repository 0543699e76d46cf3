"""
A node that prunes what is finished, and whoever asks for it afterwards.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from oracle.cli.requests import requests as cli_requests
from oracle.cli.verify import verify as cli_verify
from oracle.request import State
from oracle.store import retention
from oracle.store.schema import attempts, metadata, request_events
from tests.integration.test_audit import audited, cancel, codes, hex_id, tamper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import click

    from oracle.request import RandomnessRequest
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

WINDOW = 64
# What is finished may go at once.
KEEP = 1e-9


async def _serve(bench: Bench, blocks: int = 3) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk()


async def _serve_until(bench: Bench, request: RandomnessRequest, state: State) -> None:
    for _ in range(20):
        await _serve(bench, 1)
        if await bench.state_or_none(request) is state:
            return
    pytest.fail(f"the request is {await bench.state_or_none(request)}")


async def _prune(bench: Bench) -> None:
    await bench.mine(WINDOW + 20)
    bench.service = replace(bench.service, keep_days=KEEP)
    await bench.walk(2)
    bench.service = replace(bench.service, keep_days=0)


async def _tombstones(bench: Bench) -> dict[bytes, State]:
    place = (bench.service.chain_id, bench.service.contract)
    async with bench.service.database.read() as connection:
        found = await retention.page(connection, *place, b"", 1000)
    return {one.key.request_id: one.state for one in found}


async def _sizes(bench: Bench) -> dict[str, int]:
    async with bench.service.database.read() as connection:
        return {
            name: await connection.scalar(select(func.count()).select_from(one)) or 0
            for name, one in metadata.tables.items()
            # Up to where indices were seen is forgotten in a rollback, and found again later.
            if name != "settings"
        }


async def _said(bench: Bench, command: click.Command, *arguments: str) -> Any:
    config = str(bench.devnet.folder / "oracle.toml")
    result = await asyncio.to_thread(
        CliRunner().invoke, command, [*arguments, "--config", config, "--json"], env={}
    )
    return json.loads(result.stdout)


def _show(bench: Bench, request: RandomnessRequest) -> Awaitable[Any]:
    return _said(bench, cli_requests, "show", hex_id(request))


async def _history_of_a_coordinator(
    new_bench: NewBench,
) -> tuple[Bench, list[RandomnessRequest], RandomnessRequest, RandomnessRequest]:
    """
    Return requests that are done, one that was cancelled and one that expired.
    """
    bench = await new_bench(window=WINDOW)
    cancelled = await bench.roll()
    await bench.mine(WINDOW - 4)
    await _serve(bench, 5)
    await cancel(bench, cancelled)
    expired = await bench.roll()
    await bench.mine(WINDOW)
    await _serve(bench)
    done = []
    for _ in range(3):
        done.append(await bench.roll())
        await _serve(bench)
    assert await bench.state(cancelled) is State.CANCELLED
    assert await bench.state(expired) is State.EXPIRED
    return bench, done, cancelled, expired


async def test_what_is_pruned_is_audited_verified_and_shown_as_before(
    new_bench: NewBench,
) -> None:
    bench, done, cancelled, expired = await _history_of_a_coordinator(new_bench)
    await bench.mine(WINDOW + 20)
    await bench.walk(2)
    before, proof = await audited(bench), await _said(bench, cli_verify, hex_id(done[0]))
    shown = await _show(bench, done[0])
    await _prune(bench)

    assert await _tombstones(bench) == {
        cancelled.key.request_id: State.CANCELLED,
        **{request.key.request_id: State.DONE for request in done},
    }
    after = await audited(bench)
    assert codes(after) == codes(before) == []
    assert after | {"block": 0} == before | {"block": 0}
    assert (after["fulfilled"], after["notInStore"]) == (3, 0)
    verified = await _said(bench, cli_verify, hex_id(done[0]))
    assert verified | {"block": 0} == proof | {"block": 0}

    tombstone = await _show(bench, done[0])
    assert tombstone["prunedAt"] is not None
    assert tombstone["history"] == []
    for name in ("state", "reason", "index", "requestBlock", "fulfillmentBlock", "entropy"):
        assert tombstone[name] == shown[name] is not None, name
    assert (await _show(bench, cancelled))["reason"] == "by_requester"
    # Its requester can still cancel it.
    assert (await _show(bench, expired))["state"] == "expired"
    await cancel(bench, expired)
    await _serve(bench)
    assert await bench.state(expired) is State.CANCELLED
    listed = await _said(bench, cli_requests, "list")
    assert (listed["counts"], listed["pruned"]) == ({"cancelled": 1}, 4)
    async with bench.service.database.read() as connection:
        assert set(await connection.scalars(select(request_events.c.request_id))) == {
            expired.key.request_id
        }
        commits = await connection.scalar(select(func.count()).select_from(attempts))
    assert commits == 1


async def test_tombstones_are_held_against_the_chain(new_bench: NewBench) -> None:
    bench, _, _, _ = await _history_of_a_coordinator(new_bench)
    await _prune(bench)
    for statement, code, findings in (
        ("UPDATE pruned_requests SET seed_index = seed_index + 10", "terms_differ", 4),
        ("UPDATE pruned_requests SET seed_index = seed_index - 10", "", 0),
        ("UPDATE pruned_requests SET outcome_block = outcome_block + 1", "outcome_differs", 3),
        ("UPDATE pruned_requests SET outcome_block = outcome_block - 1", "", 0),
        ("UPDATE pruned_requests SET callback_succeeded = 0 WHERE state = 'done'", "outcome_", 3),
        ("UPDATE pruned_requests SET callback_succeeded = 1 WHERE state = 'done'", "", 0),
        ("DELETE FROM reveals", "revealed_elsewhere", 3),
        ("UPDATE pruned_requests SET state = 'cancelled'", "state_differs", 3),
        ("UPDATE pruned_requests SET request_id = zeroblob(32) WHERE seed_index = 2", "not_on", 1),
    ):
        tamper(bench, statement)
        found = codes(await audited(bench))
        assert len([one for one in found if one.startswith(code or "?")]) == findings, statement
        assert code or found == []
    tamper(bench, "DELETE FROM pruned_requests")
    after = await audited(bench)
    assert (codes(after), after["notInStore"]) == ([], 4)


@pytest.mark.parametrize("devnet", [True, False])
async def test_everything_read_again_after_pruning_changes_nothing(
    new_bench: NewBench,
    devnet: bool,  # noqa: FBT001 - a parameter
) -> None:
    bench, done, _, _ = await _history_of_a_coordinator(new_bench)
    await _prune(bench)
    pruned, sizes = await _tombstones(bench), await _sizes(bench)
    assert len(pruned) == 4

    # Deeper than all that is read again with every head; or a rollback, as devnets have them.
    await bench.fork(21)
    await bench.mine(10 if devnet else 30)
    bench.service = replace(bench.service, devnet=devnet)
    await bench.walk(2)
    assert await _tombstones(bench) == pruned
    assert await _sizes(bench) == sizes
    again = await bench.roll()
    assert again.seed_index == done[-1].seed_index + 1
    await _serve_until(bench, again, State.DONE)
    assert codes(await audited(bench)) == []


async def test_what_was_pruned_is_observed_anew_when_its_chain_is_gone(
    new_bench: NewBench,
) -> None:
    bench, done, cancelled, _ = await _history_of_a_coordinator(new_bench)
    await _prune(bench)
    head = (await bench.service.reader.block()).number
    await bench.fork(head - done[-1].block_number + 1)
    await bench.mine(3)
    taker = await bench.roll()
    assert taker.seed_index == done[-1].seed_index
    # Its seed went with the window of the request that had its index.
    await _serve_until(bench, taker, State.FAILED)

    assert await _tombstones(bench) == {}
    for request in done[:-1]:
        assert await bench.state(request) is State.DONE
    assert await bench.state(cancelled) is State.CANCELLED
    assert await bench.state_or_none(done[-1]) is None
    await _prune(bench)
    assert len(await _tombstones(bench)) == 3


async def test_nothing_is_pruned_before_its_time_or_for_ever(new_bench: NewBench) -> None:
    bench = await new_bench(window=WINDOW)
    assert bench.service.keep_days == 90
    request = await bench.roll()
    await _serve(bench)
    await bench.mine(WINDOW + 10)
    bench.service = replace(bench.service, keep_days=KEEP)
    await bench.walk(2)
    assert await bench.state(request) is State.DONE
    # Deep enough, but too young, and then kept for ever.
    for keep_days in (1, 0):
        bench.service = replace(bench.service, keep_days=keep_days)
        await bench.mine(20)
        await bench.walk(2)
        assert await bench.state(request) is State.DONE
    bench.service = replace(bench.service, keep_days=KEEP)
    await bench.walk()
    assert await bench.state_or_none(request) is None
