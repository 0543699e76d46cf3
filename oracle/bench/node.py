"""
How fast a node serves a burst, and what it costs: on a chain of its own, in a process of its own,
with a tap between the two.

Node, chain, tap and the one who asks share the machine: all but the node's own processor time
depends on what else it does.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import aiohttp
from eth_abi.abi import encode

from oracle import artifacts
from oracle.bench.process import cpu_seconds, resident_mib
from oracle.bench.tap import Tap
from oracle.chain import transact
from oracle.chain.fees import GWEI, Fees
from oracle.chain.wallets import UnsignedTransaction
from oracle.devnet.network import CHAIN_ID, Devnet, Ground
from oracle.entropy.merkle import BATCH
from oracle.errors import OracleError
from oracle.evm import keccak
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.request import Outcome, RandomnessRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import Self

AUTOMINE: tuple[str, ...] = ()
_ASK = keccak(b"ask()")[:4]
_ASK_GAS = 120_000
_MAX_FEE = 100 * GWEI
# Of what one costs at the largest base fee: all of it is the fee.
_FEE = 10**16
# Before anvil has mined some, it takes only so many of one account.
_CHUNK = 100
_PATIENCE = 60.0
_LOOK = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFigures:
    """
    A burst of requests, some alone after it, and blocks in which nothing happens.

    `seconds` from the first request's broadcast to the last fulfillment in a block. Latencies in
    milliseconds from the block of a request's own to the broadcast of the bytes that fulfilled it;
    processor time is the node's, in milliseconds; where the system does not tell, nothing.
    """

    mining: str
    requests: int
    fulfilled: int
    seconds: float
    asking_seconds: float
    requests_per_second: float
    transactions: int
    cpu_ms_per_fulfillment: float | None
    rpc_calls_per_fulfillment: float
    rpc_calls: dict[str, int]
    peak_memory_mib: float | None
    burst_latency_ms: float
    single_latency_ms: float
    idle_cpu_ms_per_block: float | None
    idle_rpc_calls_per_block: float

    def document(self) -> dict[str, object]:
        """
        Return the figures for `--json`.
        """
        return asdict(self)


async def measure(
    folder: Path,
    *,
    requests: int = 1000,
    block_seconds: int | None = None,
    singles: int = 20,
    idle_blocks: int = 15,
    say: Callable[[str], None] = lambda _: None,
) -> NodeFigures:
    """
    Serve a burst of requests on an anvil that mines at once, or every `block_seconds`; then
    `singles` more, each alone, and `idle_blocks` without any.

    Raises `OracleError` when nothing moves for a minute.
    """
    mining = ("--block-time", str(block_seconds)) if block_seconds else AUTOMINE
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(Ground(folder, mining=mining, say=say))
        site = await stack.enter_async_context(Site.build(ground, requests + singles))
        say(f"{requests} requests in a burst")
        node = site.devnet.node
        assert node is not None
        cpu, calls = cpu_seconds(node.pid), site.tap.methods.copy()
        started = time.perf_counter()
        await site.ask(requests)
        asked = time.perf_counter()
        await site.until_fulfilled(requests)
        seconds = time.perf_counter() - started
        spent, passed = cpu_seconds(node.pid), site.tap.methods - calls
        burst = site.latencies()
        transactions = len({outcome.transaction_hash for outcome in site.fulfilled.values()})
        say(f"{singles} requests, each alone")
        for number in range(singles):
            await site.ask(1)
            await site.until_fulfilled(requests + number + 1)
        alone = site.latencies()[-singles:]
        say(f"{idle_blocks} blocks without a request")
        idle_cpu, idle_calls = await site.idle(idle_blocks, mine=block_seconds is None)
        return NodeFigures(
            mining=f"{block_seconds} s blocks" if block_seconds else "automine",
            requests=requests,
            fulfilled=len(site.fulfilled) - singles,
            seconds=round(seconds, 2),
            asking_seconds=round(asked - started, 2),
            requests_per_second=round(requests / seconds, 1),
            transactions=transactions,
            cpu_ms_per_fulfillment=_per(cpu, spent, requests),
            rpc_calls_per_fulfillment=round(passed.total() / requests, 3),
            rpc_calls=dict(passed.most_common()),
            peak_memory_mib=resident_mib(node.pid, peak=True),
            burst_latency_ms=round(1000 * statistics.median(burst), 1),
            single_latency_ms=round(1000 * statistics.median(alone), 1),
            idle_cpu_ms_per_block=idle_cpu,
            idle_rpc_calls_per_block=idle_calls,
        )


class Site:
    """
    A devnet with a minimal consumer, and what is known of its requests.
    """

    def __init__(self, devnet: Devnet, tap: Tap, consumer: str) -> None:
        self.devnet = devnet
        self.tap = tap
        self.made: dict[bytes, RandomnessRequest] = {}
        self.fulfilled: dict[bytes, Outcome] = {}
        self._consumer = consumer
        self._protocol = CoordinatorProtocol(CHAIN_ID, devnet.deployment.coordinator)
        self._player = devnet.player()
        self._read = 0
        self._blocks: dict[int, float] = {}

    @classmethod
    @asynccontextmanager
    async def build(cls, ground: Ground, requests: int) -> AsyncIterator[Self]:
        """
        Deploy, and start a node that has committed seeds for all the requests to come.
        """
        runway = -(-requests // BATCH) * BATCH
        async with AsyncExitStack() as stack:
            tap = await stack.enter_async_context(Tap.open(ground.rpc_url))
            devnet = Devnet(ground.folder, ground, runway=runway, endpoint=tap.url)
            ground.say(f"node: draws entropy and commits {runway} seeds")
            await stack.enter_async_context(devnet)
            consumer, _ = await transact.deploy(
                devnet.reader,
                devnet.player(),
                artifacts.load("MinimalConsumer"),
                encode(["address", "bool"], [devnet.deployment.coordinator, True]),
            )
            site = cls(devnet, tap, consumer)
            watching = asyncio.create_task(site._watch())
            stack.callback(watching.cancel)
            await site._until(lambda: site._has_runway(runway))
            yield site

    async def ask(self, count: int) -> None:
        """
        Send so many requests, signed beforehand, and wait until all are in blocks.
        """
        reader, player = self.devnet.reader, self._player
        first = await transact.pending_nonce(reader, player.address)
        signed = [
            player.sign(
                UnsignedTransaction(
                    chain_id=CHAIN_ID,
                    nonce=nonce,
                    to=self._consumer,
                    data=_ASK,
                    value=_FEE,
                    gas_limit=_ASK_GAS,
                    fees=Fees(_MAX_FEE, 0),
                )
            )
            for nonce in range(first, first + count)
        ]
        for start in range(0, count, _CHUNK):
            for raw, _ in signed[start : start + _CHUNK]:
                await reader.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        await transact.wait_for(reader, signed[-1][1])

    async def until_fulfilled(self, count: int) -> None:
        """
        Wait for so many fulfillments in all.
        """

        async def enough() -> bool:
            return len(self.fulfilled) >= count

        await self._until(enough)

    def latencies(self) -> list[float]:
        """
        Return the seconds from each request's block to the broadcast that fulfilled it, in order.
        """
        return [
            self.tap.broadcasts[outcome.transaction_hash]
            - self._blocks[self.made[id_].block_number]
            for id_, outcome in self.fulfilled.items()
        ]

    async def idle(self, count: int, *, mine: bool) -> tuple[float | None, float]:
        """
        Let blocks pass, one a second; return what each costs the node, in processor milliseconds
        and calls.
        """
        assert self.devnet.node is not None
        pid = self.devnet.node.pid
        await asyncio.sleep(1)  # what is under way comes to its end
        first, cpu, calls = (
            (await self.devnet.reader.block()).number,
            cpu_seconds(pid),
            self.tap.calls,
        )
        for _ in range(count):
            if mine:
                await self.devnet.reader.rpc("evm_mine")
            await asyncio.sleep(1)
        blocks = (await self.devnet.reader.block()).number - first
        return _per(cpu, cpu_seconds(pid), blocks), round((self.tap.calls - calls) / blocks, 1)

    async def _has_runway(self, runway: int) -> bool:
        answer = await self.devnet.reader.call(self._protocol.contract, self._protocol.SEEDS)
        counters = self._protocol.decode_counters(answer)
        return counters.committed - counters.next >= runway

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """
        Follow the chain until a condition holds; new fulfillments renew the patience.
        """
        node = self.devnet.node
        assert node is not None
        deadline, known = time.monotonic() + _PATIENCE, len(self.fulfilled)
        while not await condition():
            node.check()
            await self._look()
            if len(self.fulfilled) > known:
                deadline, known = time.monotonic() + _PATIENCE, len(self.fulfilled)
            if time.monotonic() > deadline:
                raise OracleError(
                    f"nothing moves any more; the node's last words:\n{node.last_lines()}"
                )
            await asyncio.sleep(_LOOK)

    async def _look(self) -> None:
        head = (await self.devnet.reader.block()).number
        if head <= self._read:
            return
        logs = await self.devnet.reader.logs(self._protocol.contract, self._read + 1, head)
        for event in map(self._protocol.decode, logs):
            if isinstance(event, RandomnessRequest):
                self.made[event.key.request_id] = event
            elif isinstance(event, Outcome):
                self.fulfilled[event.request_id] = event
        self._read = head

    async def _watch(self) -> None:
        """
        Note when every block comes.
        """
        url = self.devnet.ground.websocket_url
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_json(
                {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
            )
            async for message in socket:
                news = message.json()
                if "params" in news:
                    number = int(news["params"]["result"]["number"], 16)
                    self._blocks.setdefault(number, time.perf_counter())


def _per(before: float | None, after: float | None, count: int) -> float | None:
    if before is None or after is None:
        return None
    return round(1000 * (after - before) / count, 3)
