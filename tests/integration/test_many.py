"""
Several chains in one node, and endpoints that have to agree.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.processes import free_port
from oracle.errors import EndpointError
from oracle.request import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Block, Log
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


class Witness:
    """
    A second endpoint that shows what the first does, but for what a test takes away.
    """

    def __init__(self, reader: ChainReader) -> None:
        self._reader = reader
        self.behind = 0
        self.silent = False
        self.blind = False
        self.forked = False

    async def block(self, number: int | None = None) -> Block:
        if self.silent:
            raise EndpointError("no answer")
        head = await self._reader.block(number)
        return replace(head, number=head.number - self.behind)

    async def logs(
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        logs = await self._reader.logs(address, first, last, topics)
        if self.forked:
            return [replace(item, block_hash=bytes(32)) for item in logs]
        return [] if self.blind else logs


@pytest.fixture
def witness(bench: Bench) -> Witness:
    """
    Take the trust from the bench's endpoint and set another beside it.
    """
    witness = Witness(bench.service.reader)
    bench.service = replace(bench.service, witnesses=(witness,))  # type: ignore[arg-type]
    return witness


@pytest.mark.parametrize("fault", ["silent", "blind", "forked", "behind"])
async def test_no_seed_is_signed_before_a_second_endpoint_shows_the_request(
    bench: Bench, witness: Witness, fault: str
) -> None:
    request = await bench.roll()
    setattr(witness, fault, 1)
    with capture_logs() as events:
        await bench.walk(3)
    assert await bench.state(request) is State.DRAWN
    [told, *_] = [event for event in events if event["event"] == "requests_unconfirmed"]
    assert told["requests"] == 1
    assert (await bench.tracked(request)).reason == "waiting_second_endpoint"
    setattr(witness, fault, 0)
    await bench.walk()
    assert await bench.state(request) is State.SENT


async def test_one_of_several_witnesses_is_enough(bench: Bench, witness: Witness) -> None:
    other = Witness(bench.service.reader)
    bench.service = replace(bench.service, witnesses=(witness, other))  # type: ignore[arg-type]
    witness.silent = True
    request = await bench.roll()
    await bench.walk()
    assert await bench.state(request) is State.SENT


async def test_a_dead_chain_stops_only_itself(new_bench: NewBench) -> None:
    bench = await new_bench()
    await bench.service.database.close()
    path = bench.devnet.folder / "oracle.toml"
    before, section = path.read_text(encoding="utf-8").split("[chains.devnet]")
    url = f"http://127.0.0.1:{free_port()}"
    dead = section.replace(bench.devnet.deployment.rpc_url, url).replace("= 31337", "= 31338")
    path.write_text(f"{before}[chains.dead]{dead}\n[chains.devnet]{section}", encoding="utf-8")
    async with AsyncExitStack() as stack:
        with capture_logs() as events:
            runner = await compose(Settings.load(path), stack)
            bench.service = await runner.links[1].connect(runner.database, runner.pool)
            node = asyncio.create_task(runner.run())
            request = await bench.roll()
            async with asyncio.timeout(30):
                while await bench.state_or_none(request) is not State.DONE:
                    await bench.mine()
                    await asyncio.sleep(0.1)
            runner.stop()
            await node
    assert {event["chain"] for event in events if event["event"] == "chain_unreachable"} == {
        "dead"
    }
    assert any(event["event"] == "pass_interrupted" for event in events)
