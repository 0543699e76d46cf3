"""
A whole node with three endpoints, each a real HTTP proxy on an address of its own, and what it
does when they go wrong.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from oracle.chain import endpoints as chain_endpoints
from oracle.chain import failover
from oracle.chain import reader as chain_reader
from oracle.chain.endpoints import FIRST_PAUSE
from oracle.chain.failover import Endpoint, Endpoints
from oracle.chain.sender import Verdict
from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.network import CHAIN_ID
from oracle.errors import ConfigError
from oracle.protocols.coordinator import REQUESTED
from oracle.request import State
from oracle.store.transactions import Purpose, SlotState, slots_in
from tests.hostile import (
    KEY,
    Proxy,
    behind,
    dropping,
    edited,
    hostile,
    only_logs,
    page,
    says,
    silent,
    status,
    truncated,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from oracle.cli.chains import ConfiguredChain
    from oracle.devnet.network import Ground
    from oracle.request import RandomnessRequest
    from oracle.runner import Runner
    from tests.hostile import Fault
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@dataclass
class Run:
    """
    A node that runs in this process, and its endpoints.
    """

    bench: Bench
    runner: Runner
    link: ConfiguredChain
    proxies: Sequence[Proxy]
    events: Sequence[Any]

    @property
    def endpoints(self) -> Endpoints:
        return self.link.endpoints

    @property
    def reads_from(self) -> Proxy:
        assert self.link.service is not None
        [proxy] = [one for one in self.proxies if one.name == self.link.service.reader.name]  # type: ignore[attr-defined]
        return proxy

    def said(self, event: str) -> list[Any]:
        return [one for one in self.events if one["event"] == event]

    def left(self, one: Proxy, other: Proxy) -> bool:
        """
        Say whether one endpoint was left for another.
        """
        told = [(event["left"], event["taken"]) for event in self.said("endpoint_changed")]
        return (one.name, other.name) in told

    async def slots(self, *states: SlotState, purpose: Purpose | None = None) -> int:
        service = self.bench.service
        async with service.database.read() as connection:
            found = await slots_in(connection, service.chain_id, service.contract, states)
        return sum(purpose in (None, one.purpose) for one in found)

    async def until(self, condition: Callable[[], Awaitable[bool] | bool]) -> None:
        """
        Mine until something is so.
        """
        async with asyncio.timeout(60):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await self.bench.mine()
                # Slower than the node's own pace, so that no window passes meanwhile.
                await asyncio.sleep(0.1)

    async def serve(self) -> RandomnessRequest:
        """
        Ask for a number and mine until it is there.
        """
        request = await self.bench.roll()
        await self.until(lambda: self.is_in(request, State.DONE))
        return request

    async def is_in(self, request: RandomnessRequest, state: State) -> bool:
        return await self.bench.state_or_none(request) is state


@asynccontextmanager
async def running(
    new_bench: NewBench, ground: Ground, *, endpoints: int = 3, trusted: bool = False
) -> AsyncIterator[Run]:
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(hostile(ground.rpc_url, host))
            for host in HOSTS[:endpoints]
        ]
        urls = ", ".join(f'"{one.url}"' for one in proxies)
        bench = await new_bench(endpoints=f"[{urls}]", trusted=str(trusted).lower())
        await bench.service.database.close()
        with capture_logs() as events:
            runner = await compose(Settings.load(bench.devnet.folder / "oracle.toml"), stack)
            [link] = runner.links
            # A devnet may be rolled back at will: what lies is told apart only on other chains.
            service = await link.connect(runner.database, runner.pool)
            bench.service = link.service = replace(service, devnet=False)  # type: ignore[attr-defined]
            node = asyncio.create_task(runner.run())
            try:
                yield Run(bench, runner, link, proxies, events)  # type: ignore[arg-type]
            finally:
                for one in proxies:
                    one.mend()
                runner.stop()
                async with asyncio.timeout(60):
                    await node
    assert KEY not in str(events)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Wait for silent endpoints, and between surveys, for less than an operator would.
    """
    monkeypatch.setattr(chain_reader, "TIMEOUT", 1.0)
    monkeypatch.setattr(failover, "SURVEY_SECONDS", 0.5)


@pytest.mark.parametrize(
    "fault",
    [
        silent,
        dropping,
        status(429, Retry_After="1"),
        status(502),
        page,
        truncated,
        says("internal error"),
        says("missing trie node 17 (path )", "eth_call"),
        edited("eth_getBlockByNumber", lambda *_: None),
    ],
    ids=[
        "silent",
        "dropping",
        "throttling",
        "broken",
        "page",
        "truncated",
        "error",
        "pruned",
        "null",
    ],
)
async def test_the_next_endpoint_is_read_from_at_once_and_the_first_again_when_it_works(
    new_bench: NewBench, ground: Ground, fault: Fault
) -> None:
    async with running(new_bench, ground) as run:
        first, second, _ = run.proxies
        await run.serve()
        assert run.reads_from is first
        first.fault = fault
        await run.serve()
        # One that answers probes is tried again in between.
        assert run.left(first, second)
        first.mend()
        await run.until(lambda: run.reads_from is first)
        await run.serve()
        assert (await run.bench.audit()).clean


async def test_an_endpoint_that_is_asked_less_is_left_alone_for_as_long_as_it_says(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground) as run:
        first, second, _ = run.proxies
        await run.serve()
        first.fault = status(429, Retry_After="600")
        await run.until(lambda: run.reads_from is second)
        asked = first.asked.total()
        first.mend()
        await run.serve()
        # A query may have been under way.
        assert first.asked.total() - asked <= 2
        assert run.reads_from is second


async def test_one_that_jumps_back_is_left(new_bench: NewBench, ground: Ground) -> None:
    async with running(new_bench, ground) as run:
        first, second, _ = run.proxies
        request = await run.serve()
        first.fault = behind(request.block_number - 1)
        again = await run.serve()
        assert run.reads_from is second
        # Nothing was taken for undone.
        for one in (request, again):
            assert await run.is_in(one, State.DONE)
        assert run.said("request_reorged") == []


async def test_one_that_lags_is_left_after_a_while(
    new_bench: NewBench, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_endpoints, "LAG_PATIENCE", 1.0)
    async with running(new_bench, ground) as run:
        first, second, third = run.proxies
        request = await run.serve()
        head = (await run.bench.devnet.reader.block()).number
        # Exactly what the node has read: it neither fails nor goes on.
        first.fault = behind(head)
        await run.bench.rpc("anvil_mine", "0x8", "0x14")
        await run.until(lambda: run.reads_from is second)
        await run.serve()
        first.mend()
        await run.until(lambda: run.reads_from is first)
        # One alone that is ahead makes nobody lag.
        third.fault = edited(
            "eth_getBlockByNumber",
            lambda _, block: block and {**block, "number": "0xffffff", "timestamp": "0xffffffff"},
        )
        changed = len(run.said("endpoint_changed"))
        for _ in range(3):
            await run.endpoints.survey()
        await run.serve()
        assert len(run.said("endpoint_changed")) == changed
        assert await run.is_in(request, State.DONE)


async def test_one_that_turns_into_another_chain_is_refused_for_good(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground) as run:
        first, second, _ = run.proxies
        await run.serve()
        first.fault = edited("eth_chainId", lambda *_: "0x1")
        await run.until(lambda: run.reads_from is second)
        first.mend()
        asked = first.asked.total()
        await run.serve()
        await run.endpoints.survey()
        assert run.reads_from is second
        assert first.asked.total() == asked
        [told] = run.said("endpoint_refused")
        assert told["endpoint"] == first.name


async def test_one_that_is_down_at_the_start_is_taken_when_it_comes_up(ground: Ground) -> None:
    async with AsyncExitStack() as stack:
        first, second, third = [
            await stack.enter_async_context(hostile(ground.rpc_url, host)) for host in HOSTS
        ]
        now = 0.0

        async def admit(endpoint: Endpoint) -> None:
            if not await endpoint.is_devnet():
                raise ConfigError(f"{endpoint.name} is no anvil or Hardhat node")

        endpoints = Endpoints(
            [first.url, second.url, third.url],
            CHAIN_ID,
            trusted=False,
            admit=admit,
            clock=lambda: now,
        )
        stack.push_async_callback(endpoints.close)
        first.fault = dropping
        third.fault = dropping
        with capture_logs() as events:
            [only] = await endpoints.admit()
        assert only is endpoints.view().reader
        assert only.name == second.name
        # Nobody is there to agree with it: that is not the same as trust.
        assert endpoints.view().witnesses == ()
        assert [event["event"] for event in events] == 2 * ["endpoint_unreachable"]
        assert KEY not in str(events)

        first.mend()
        third.fault = says("no such method", "anvil_nodeInfo", "hardhat_metadata")
        await endpoints.survey()
        assert endpoints.view().reader is only
        now += FIRST_PAUSE
        await endpoints.survey()
        # What was never let in is not let in for having come late.
        assert endpoints.view().reader is endpoints.all[0]
        assert endpoints.view().witnesses == (only,)
        assert endpoints.all[2].health.refused is not None


async def test_what_one_endpoint_alone_shows_is_revealed_to_nobody_whichever_is_read_from(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground, endpoints=2, trusted=True) as run:
        first, second = run.proxies
        await run.serve()
        # The operator's own fails, and the other one has nobody who agrees with it.
        first.fault = status(502)
        await run.until(lambda: run.reads_from is second)
        request = await run.bench.roll()
        await run.until(lambda: run.is_in(request, State.DRAWN))
        for _ in range(5):
            await run.bench.mine()
            await asyncio.sleep(0.1)
        assert await run.is_in(request, State.DRAWN)
        assert run.said("requests_unconfirmed")
        assert second.asked["eth_sendRawTransaction"] == first.asked["eth_sendRawTransaction"]
        first.mend()
        await run.until(lambda: run.is_in(request, State.DONE))
        assert run.reads_from is first


async def test_two_urls_of_one_host_are_one_opinion(new_bench: NewBench, ground: Ground) -> None:
    async with AsyncExitStack() as stack:
        first, twin, second = [
            await stack.enter_async_context(hostile(ground.rpc_url, host))
            for host in (HOSTS[0], HOSTS[0], HOSTS[1])
        ]
        bench = await new_bench(
            endpoints=f'["{first.url}", "{twin.url}", "{second.url}"]', trusted="false"
        )
        reader, witnesses = bench.service.reader, bench.service.witnesses
        assert reader.name == first.name  # type: ignore[attr-defined]
        assert [one.name for one in witnesses or ()] == [second.name]  # type: ignore[attr-defined]


async def test_signed_bytes_go_to_every_endpoint_that_works(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground) as run:
        first, second, third = run.proxies
        await run.serve()
        counts = {one.asked["eth_sendRawTransaction"] for one in run.proxies}
        assert counts != {0}
        # A mempool that forgets them, or refuses them, is not the only one.
        first.fault = says("replacement transaction underpriced", "eth_sendRawTransaction")
        third.fault = silent
        await run.serve()
        assert second.asked["eth_sendRawTransaction"] > 0
        assert (await run.bench.audit()).clean


async def test_the_verdict_is_the_best_that_anybody_gave(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground) as run:
        first, second, third = run.proxies
        run.runner.stop()
        send = "eth_sendRawTransaction"
        for words, others, verdict in (
            ("nonce too low", "already known", Verdict.KNOWN),
            ("insufficient funds", "nonce too low", Verdict.UNFUNDED),
            ("too many requests", "replacement transaction underpriced", Verdict.UNDERPRICED),
        ):
            first.fault = says(words, send)
            second.fault = third.fault = says(others, send)
            told, _ = await run.endpoints.broadcast(b"signed")
            assert told is verdict


@pytest.mark.parametrize(
    "words",
    ["block range is too wide", "You can make eth_getLogs requests with up to a 10 block range"],
)
async def test_an_endpoint_that_gives_few_logs_at_once_serves_all(
    new_bench: NewBench, ground: Ground, words: str
) -> None:
    async with running(new_bench, ground, endpoints=2) as run:
        for one in run.proxies:
            one.fault = only_logs(10, words)
        for _ in range(2):
            await run.serve()
            await run.bench.mine(50)
        await run.serve()
        assert run.reads_from is run.proxies[0]
        assert run.said("endpoint_changed") == []


async def test_logs_told_twice_are_one_and_logs_from_elsewhere_are_nobodys(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground) as run:
        first, second, _ = run.proxies
        first.fault = edited("eth_getLogs", lambda _, logs: [*logs, *logs])
        request = await run.serve()
        assert run.reads_from is first
        assert await run.is_in(request, State.DONE)
        first.fault = edited(
            "eth_getLogs", lambda _, logs: [{**log, "blockNumber": "0xfffff"} for log in logs]
        )
        await run.serve()
        assert run.left(first, second)


async def test_logs_that_an_endpoint_loses_are_read_from_the_next(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground) as run:
        first, second, _ = run.proxies
        request = await run.bench.roll()
        await run.until(lambda: run.is_in(request, State.SENT))
        first.fault = edited(
            "eth_getLogs",
            lambda _, logs: [log for log in logs if log["topics"][0] != "0x" + REQUESTED.hex()],
        )
        await run.until(lambda: run.is_in(request, State.DONE))
        assert run.left(first, second)
        assert run.said("request_reorged") == []


async def test_receipts_that_are_not_there_yet_are_waited_for(
    new_bench: NewBench, ground: Ground
) -> None:
    async with running(new_bench, ground) as run:
        for one in run.proxies:
            one.fault = edited("eth_getTransactionReceipt", lambda *_: None)
        # What became of it is read from its log all the same.
        request = await run.serve()
        assert await run.slots(SlotState.SENT, purpose=Purpose.FULFILL) == 1
        for one in run.proxies:
            one.mend()

        async def closed() -> bool:
            return await run.slots(SlotState.SENT) == 0

        await run.until(closed)
        assert (await run.bench.tracked(request)).cost is not None
        report = await run.bench.audit()
        assert report.clean
        assert report.duplicates == 0
