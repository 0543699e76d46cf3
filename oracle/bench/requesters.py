"""
How fast a node answers API3's QRNG consumers, and what that costs: one sponsor or several, on a
chain of its own with the genuine AirnodeRrpV0.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from eth_abi.abi import encode

from oracle import artifacts
from oracle.airnode_settings import UINT256
from oracle.bench.process import cpu_seconds, resident_mib
from oracle.chain import transact
from oracle.chain.fees import GWEI, Fees
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.chain.wallets import UnsignedTransaction
from oracle.devnet.network import CHAIN_ID, Devnet, Ground
from oracle.devnet.qrng import MNEMONIC, read_events
from oracle.errors import OracleError, PackageError
from oracle.evm import keccak

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from oracle.devnet.qrng import QrngEvents

_ASK = keccak(b"ask()")[:4]
_ASK_GAS = 200_000
_FUNDS = 10 * 10**18
_CHUNK = 100
_PATIENCE = 120.0
_LOOK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodeFigures:
    """
    A burst of requests, and some alone after it.

    `seconds` from the first request's broadcast to the last fulfillment in a block; latencies in
    milliseconds, and in blocks, from a request's block to that of its fulfillment; gas is the
    median; processor time is the node's, in milliseconds.
    """

    mining: str
    sponsors: int
    requests: int
    fulfilled: int
    seconds: float
    asking_seconds: float
    requests_per_second: float
    gas_per_fulfillment: int
    cpu_ms_per_fulfillment: float | None
    peak_memory_mib: float | None
    single_median_ms: float
    single_p95_ms: float
    single_median_blocks: float

    def document(self) -> dict[str, object]:
        """
        Return the figures for `--json`.
        """
        return asdict(self)


async def measure_airnode(
    folder: Path,
    *,
    requests: int = 200,
    sponsors: int = 1,
    block_seconds: int | None = None,
    singles: int = 40,
    say: Callable[[str], None] = lambda _: None,
) -> AirnodeFigures:
    """
    Answer a burst of requests of so many sponsors on an anvil that mines at once, or every
    `block_seconds`; then `singles` more, each alone.

    Raises `PackageError` where API3's contract is not installed, and `OracleError` when nothing
    moves for two minutes.
    """
    mining = ("--block-time", str(block_seconds)) if block_seconds else ()
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(Ground(folder, mining=mining, say=say))
        devnet = Devnet(folder, ground, runway=256, airnode=True)
        await stack.enter_async_context(devnet)
        if devnet.deployment.qrng is None:
            raise PackageError("AirnodeRrpV0 is not installed: run scripts/install.sh")
        site = _Site(devnet, await _consumers(devnet, sponsors))
        watching = asyncio.create_task(site.watch())
        stack.callback(watching.cancel)
        await site.listening.wait()
        await site.ask(sponsors)  # every sponsor's first: its keys are derived then
        await site.until(sponsors)
        node = devnet.node
        assert node is not None
        say(f"{requests} requests of {sponsors} sponsors in a burst")
        cpu, started = cpu_seconds(node.pid), time.perf_counter()
        await site.ask(requests)
        asked = time.perf_counter()
        await site.until(sponsors + requests)
        seconds = time.perf_counter() - started
        spent = cpu_seconds(node.pid)
        burst = len(site.events.answered) - sponsors
        say(f"{singles} requests, each alone")
        for number in range(singles):
            await site.ask(1)
            await site.until(sponsors + requests + number + 1)
        await asyncio.sleep(0.5)  # the last blocks are announced
        alone = site.waits()[-singles:]
        seconds_alone = [one for one, _ in alone]
        return AirnodeFigures(
            mining=f"{block_seconds} s blocks" if block_seconds else "automine",
            sponsors=sponsors,
            requests=requests,
            fulfilled=burst,
            seconds=round(seconds, 2),
            asking_seconds=round(asked - started, 2),
            requests_per_second=round(requests / seconds, 1),
            gas_per_fulfillment=await site.gas(),
            cpu_ms_per_fulfillment=None
            if cpu is None or spent is None
            else round(1000 * (spent - cpu) / requests, 2),
            peak_memory_mib=resident_mib(node.pid, peak=True),
            single_median_ms=round(1000 * statistics.median(seconds_alone), 1),
            single_p95_ms=round(
                1000 * statistics.quantiles([one for one, _ in alone], n=20)[-1], 1
            ),
            single_median_blocks=statistics.median(blocks for _, blocks in alone),
        )


async def _consumers(devnet: Devnet, count: int) -> list[str]:
    """
    Deploy consumers, each its own sponsor, with funds in their wallets.
    """
    qrng = devnet.deployment.qrng
    assert qrng is not None
    keys, player, reader = AirnodeKeys(MNEMONIC), devnet.player(), devnet.reader
    found = []
    for _ in range(count):
        # A consumer names its own sponsor wallet, which follows from its address.
        nonce = await transact.pending_nonce(reader, player.address)
        wallet = keys.xpub.sponsor_wallet(transact.created_address(player.address, nonce))
        consumer, _ = await transact.deploy(
            reader,
            player,
            artifacts.load("MinimalAirnodeConsumer"),
            encode(
                ["address", "address", "bytes32", "address", "bool"],
                [qrng.rrp, qrng.airnode, bytes.fromhex(UINT256[0][2:]), wallet, False],
            ),
        )
        await transact.send_transaction(reader, player, to=wallet, data=b"", value=_FUNDS)
        found.append(consumer)
    return found


@dataclass
class _Site:
    """
    A devnet with consumers, and what is known of their requests.
    """

    devnet: Devnet
    consumers: Sequence[str]
    blocks: dict[int, float] = field(default_factory=dict)
    asked: int = 0
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    events: QrngEvents = field(init=False)

    async def ask(self, count: int) -> None:
        """
        Send so many requests, signed beforehand, and wait until all are in blocks.
        """
        reader, player = self.devnet.reader, self.devnet.player()
        first = await transact.pending_nonce(reader, player.address)
        signed = [
            player.sign(
                UnsignedTransaction(
                    chain_id=CHAIN_ID,
                    nonce=first + number,
                    to=self.consumers[(self.asked + number) % len(self.consumers)],
                    data=_ASK,
                    gas_limit=_ASK_GAS,
                    fees=Fees(100 * GWEI, 0),
                )
            )
            for number in range(count)
        ]
        self.asked += count
        for start in range(0, count, _CHUNK):
            for raw, _ in signed[start : start + _CHUNK]:
                await reader.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        await transact.wait_for(reader, signed[-1][1])

    async def until(self, count: int) -> None:
        """
        Wait for so many answers in all; new ones renew the patience.
        """
        qrng, node = self.devnet.deployment.qrng, self.devnet.node
        assert qrng is not None
        assert node is not None
        deadline, known = time.monotonic() + _PATIENCE, -1
        while True:
            self.events = await read_events(self.devnet.reader, qrng)
            answered = len(self.events.answered)
            if answered >= count:
                return
            node.check()
            if answered > known:
                deadline, known = time.monotonic() + _PATIENCE, answered
            if time.monotonic() > deadline:
                raise OracleError(
                    f"nothing moves any more; the node's last words:\n{node.last_lines()}"
                )
            await asyncio.sleep(_LOOK)

    def waits(self) -> list[tuple[float, int]]:
        """
        Return the seconds and blocks from each request's block to that of its answer, in the order
        of the requests.
        """
        answered = self.events.answered
        return [
            (
                self.blocks[answered[id_].place.block_number] - self.blocks[one.block_number],
                answered[id_].place.block_number - one.block_number,
            )
            for id_, one in self.events.made.items()
            if id_ in answered
        ]

    async def gas(self) -> int:
        """
        Return the median gas of the answers.
        """
        used = []
        for one in self.events.answered.values():
            receipt = await self.devnet.reader.receipt(one.place.transaction_hash)
            assert receipt is not None
            used.append(receipt.gas_used)
        return round(statistics.median(used))

    async def watch(self) -> None:
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
                self.listening.set()
                if "params" in news:
                    number = int(news["params"]["result"]["number"], 16)
                    self.blocks.setdefault(number, time.perf_counter())
