"""
Logs that endpoints leave out for longer than any block is read again: their indices are missed.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from oracle.chain.reader import Web3Reader
from oracle.chain.transact import send_transaction
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import OPERATOR_KEY
from oracle.errors import InconsistentChainError
from oracle.gaps import EVERY
from oracle.protocols import roles
from oracle.request import State
from oracle.steps.watch import TAIL
from oracle.store import indices
from tests.hostile import edited, hostile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from oracle.devnet.network import Ground
    from oracle.request import RandomnessRequest
    from tests.hostile import Fault, Proxy
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def proxies(ground: Ground) -> AsyncIterator[list[Proxy]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(hostile(ground.rpc_url)) for _ in range(2)]


def without(request: RandomnessRequest) -> Fault:
    """
    Leave out whatever concerns a request.
    """
    id_ = "0x" + request.key.request_id.hex()
    return edited("eth_getLogs", lambda _, logs: [log for log in logs if id_ not in log["topics"]])


async def lost(bench: Bench, proxy: Proxy, blocks: int) -> RandomnessRequest:
    """
    Make a request that an endpoint leaves out, and have the node read far past it.
    """
    sent = await bench.send_roll()
    await bench.mine()
    request = bench.made(await bench.mined(sent))
    proxy.fault = without(request)
    for _ in range(blocks):
        await bench.mine()
    return request


async def walked(bench: Bench) -> bool:
    """
    Say whether a pass goes through, or is interrupted by what is missing.
    """
    told: list[str] = []
    try:
        await bench.walk()
    except InconsistentChainError as error:
        told.append(str(error))
    assert all("shows no log that took it" in one for one in told)
    return not told


async def test_a_log_that_was_left_out_for_long_is_found_and_served(
    new_bench: NewBench, proxies: list[Proxy]
) -> None:
    proxy, _ = proxies
    bench = await new_bench(endpoints=f'["{proxy.url}"]')
    request = await lost(bench, proxy, 1)
    with capture_logs() as events:
        for _ in range(12):
            await walked(bench)
            await bench.mine(3)
    assert await bench.state_or_none(request) is None
    [told, *_] = [event for event in events if event["event"] == "log_lost"]
    assert told["index"] == request.seed_index
    assert told["first_block"] <= request.block_number <= told["last_block"]
    proxy.mend()
    for _ in range(12):
        await bench.walk()
        await bench.mine(3)
    assert await bench.state(request) is State.DONE
    report = await bench.audit()
    assert report.clean
    assert report.fulfilled == 1


async def test_others_are_served_beside_a_request_that_nobody_shows(
    new_bench: NewBench, proxies: list[Proxy]
) -> None:
    proxy, _ = proxies
    bench = await new_bench(endpoints=f'["{proxy.url}"]')
    request = await lost(bench, proxy, 1)
    other = await bench.roll()
    failures = 0
    for _ in range(12):
        failures += not await walked(bench)
        await bench.mine()
    assert failures == 1
    assert await bench.state(other) is State.DONE
    assert await bench.state_or_none(request) is None


async def test_a_log_that_one_endpoint_leaves_out_is_read_from_another(
    new_bench: NewBench, proxies: list[Proxy]
) -> None:
    proxy, other = proxies
    bench = await new_bench(endpoints=f'["{proxy.url}"]')
    request = await lost(bench, proxy, TAIL + 4)
    assert not await walked(bench)
    assert await bench.state_or_none(request) is None
    # As the runner's next pass: see test_failover.py.
    reader = Web3Reader(other.url)
    bench.stack.push_async_callback(reader.close)
    first, bench.service = bench.service, replace(bench.service, reader=reader)
    with capture_logs() as events:
        await bench.walk()
    assert [event["index"] for event in events if event["event"] == "lost_log_found"] == [
        request.seed_index
    ]
    for _ in range(3):
        await bench.mine()
        await bench.walk()
    assert await bench.state(request) is State.DONE
    # And the first one is good for all else, once those blocks are not read again.
    await bench.mine(TAIL + 8)
    await bench.walk()
    bench.service = first
    later = await bench.roll()
    for _ in range(3):
        await bench.walk()
        await bench.mine()
    assert await bench.state(later) is State.DONE


async def test_what_was_discarded_is_no_gap_and_what_was_seen_is_not_looked_at_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await bench.roll()
    await bench.mined(
        await send_transaction(
            bench.devnet.reader,
            from_private_key(OPERATOR_KEY),
            to=bench.service.contract,
            data=roles.encode_discard(before.seed_index + 20),
        )
    )
    after = await bench.roll()
    assert after.seed_index == before.seed_index + 20
    for _ in range(6):
        await bench.walk()
        await bench.mine(EVERY)
    await bench.walk()
    assert "log_lost" not in capsys.readouterr().err
    service = bench.service
    async with service.database.read() as connection:
        seen = await indices.seen_below(connection, service.chain_id, service.contract)
    assert seen == after.seed_index + 1
    report: Any = await bench.audit()
    assert report.fulfilled == 2


async def test_a_reorg_below_what_was_seen_is_looked_at_again(bench: Bench) -> None:
    for _ in range(2):
        await bench.roll()
    for _ in range(4):
        await bench.walk()
        await bench.mine(EVERY)
    await bench.walk()
    await bench.fork(4 * EVERY + 1)
    await bench.mine(2)
    again = await bench.roll()
    for _ in range(6):
        await bench.walk()
        await bench.mine(EVERY)
    assert await bench.state(again) is State.DONE
    assert (await bench.audit()).clean
