"""
How fast the gateway serves a real pool, and whether it ever serves a block twice.

Gateway and clients share the machine, so the clients' own work is part of every figure.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import aiohttp

from oracle.bench.process import cpu_seconds, resident_mib, start_gateway
from oracle.devnet.processes import free_port
from oracle.errors import OracleError
from oracle.store import clients
from oracle.store.engine import Access, Database, now
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey
from oracle.store.seed_blocks import SeedBlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oracle.devnet.processes import Process

BLOCK_BYTES = 32
_FILL = 5_000
_WARM_PART = 10
_READY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFigures:
    """
    What fifty clients saw, each drawing one block of 32 bytes at a time.

    Latencies in milliseconds. Of the gateway's process, nothing where the system does not tell:
    its own work per request (which other work on the machine does not change), and its resident
    set in MiB after a tenth of the requests and at the end.
    """

    clients: int
    requests: int
    seconds: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    served_twice: int
    cpu_ms_per_request: float | None
    memory_warm_mib: float | None
    memory_end_mib: float | None

    def document(self) -> dict[str, object]:
        """
        Return the figures for `--json`.
        """
        return asdict(self)


async def measure(
    folder: Path,
    *,
    requests: int = 100_000,
    concurrency: int = 50,
    say: Callable[[str], None] = lambda _: None,
) -> GatewayFigures:
    """
    Fill a pool in an empty folder, serve it from a process of its own, and draw it empty.

    Raises `OracleError` when the gateway does not answer, or answers with an error.
    """
    async with AsyncExitStack() as stack:
        upstream_port, port = free_port(), free_port()
        say(f"filling a pool with {requests} blocks")
        key = await _prepare(folder, requests, upstream_port)
        await start_gateway(stack, "upstream", folder, "--simulate", port=upstream_port)
        process = await start_gateway(
            stack,
            "gateway",
            folder,
            *("--config", "gateway.toml", "--allow-simulated"),
            port=port,
        )
        url = f"http://127.0.0.1:{port}"
        await until_ready(url, process)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                base_url=url,
                connector=aiohttp.TCPConnector(limit=concurrency),
                headers={"Authorization": f"Bearer {key}"},
            )
        )
        say(f"drawing them with {concurrency} clients")
        return await _draw(session, process, requests, concurrency)


async def _prepare(folder: Path, count: int, upstream_port: int) -> str:
    for name, text in (("pool.key", PoolKey.generate()), ("anu.key", "simulated")):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")
    (folder / "gateway.toml").write_text(
        f"""\
database = "gateway.db"
pool.key_file = "pool.key"
pool.fresh = 256

[sources.anu]
kind = "anu-quantum-numbers"
url = "http://127.0.0.1:{upstream_port}/anu"
key_file = "anu.key"
""",
        encoding="utf-8",
    )
    database = await Database.open(folder / "gateway.db", Access.SOLE)
    try:
        key = PoolKey.from_text((folder / "pool.key").read_text(encoding="ascii"))
        pool = Pool(key, EpochFile(folder / "pool.key.epoch"))
        await pool.unlock(database)
        for start in range(0, count, _FILL):
            async with database.write() as tx:
                await pool.add(
                    tx,
                    [
                        SeedBlock(
                            id=os.urandom(16),
                            sources=("bench",),
                            simulated=True,
                            received_at=now(),
                            seed=os.urandom(BLOCK_BYTES),
                        )
                        for _ in range(min(_FILL, count - start))
                    ],
                )
        async with database.write() as tx:
            client = await clients.create(
                tx, "bench", ["qrng-open-api"], rate=None, quota_bytes=None
            )
    finally:
        await database.close()
    assert client is not None
    return client


async def until_ready(url: str, process: Process) -> None:
    """
    Wait for a gateway to answer. Raises `OracleError` when it does not.
    """
    deadline = time.monotonic() + _READY_SECONDS
    async with aiohttp.ClientSession() as session:
        while True:
            process.check()
            try:
                async with session.get(f"{url}/healthz"):
                    return
            except aiohttp.ClientError:
                if time.monotonic() > deadline:
                    raise OracleError(f"{process.name} does not answer: see its log") from None
            await asyncio.sleep(0.05)


async def _draw(
    session: aiohttp.ClientSession, process: Process, requests: int, concurrency: int
) -> GatewayFigures:
    body = json.dumps({"block_size": BLOCK_BYTES})
    # Digests, as the promise is about what was served, not about what is kept.
    seen: set[bytes] = set()
    latencies: list[float] = []
    memory: list[float | None] = []
    left = requests

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            at = time.perf_counter()
            async with session.post("/qrng-open-api/v1/entropy", data=body) as reply:
                document = await reply.json()
            latencies.append(time.perf_counter() - at)
            if not reply.ok:
                raise OracleError(f"the gateway answers {reply.status}: see gateway.log")
            seen.add(hashlib.sha256(base64.b64decode(document["entropy"][0])).digest())
            if len(latencies) == requests // _WARM_PART:
                memory.append(resident_mib(process.pid))

    cpu = cpu_seconds(process.pid)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(client())
    seconds = time.perf_counter() - started
    memory.append(resident_mib(process.pid))
    used = cpu_seconds(process.pid)
    latencies.sort()
    return GatewayFigures(
        clients=concurrency,
        requests=len(latencies),
        seconds=round(seconds, 2),
        requests_per_second=round(len(latencies) / seconds, 1),
        p50_ms=round(1000 * latencies[len(latencies) // 2], 2),
        p99_ms=round(1000 * latencies[len(latencies) * 99 // 100], 2),
        served_twice=len(latencies) - len(seen),
        cpu_ms_per_request=None
        if used is None or cpu is None
        else round(1000 * (used - cpu) / len(latencies), 3),
        memory_warm_mib=memory[0],
        memory_end_mib=memory[-1],
    )
