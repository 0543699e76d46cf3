"""
The proxy of a chaos run, over real HTTP: each fault is what it says, and ends.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from oracle.evm import keccak
from tests.chaos.proxy import Proxy, call
from tests.chaos.schedule import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.chaos

HEAD = 100
SIGNED = b"signed bytes"
LOGS = [{"logIndex": "0x0"}, {"logIndex": "0x1"}]


class Upstream:
    """
    What is behind the proxy: a chain that answers by method, and a gateway that names its fault.
    """

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.seen: list[bytes] = []
        self.url = ""

    async def saw(self, node: str, signed: bytes) -> None:
        self.seen.append(signed)

    async def chain(self, request: web.Request) -> web.Response:
        asked = await request.json()
        params = asked["params"]
        match asked["method"]:
            case "eth_blockNumber":
                result: Any = hex(HEAD)
            case "eth_getBlockByNumber":
                result = {"number": hex(HEAD) if params[0] == "latest" else params[0]}
            case "eth_getTransactionCount":
                result = "0x9"
            case "eth_getLogs":
                result = LOGS
            case "eth_getTransactionReceipt":
                result = {"blockNumber": hex(HEAD - 1)}
            case _:
                self.taken.append(params[0])
                result = "0x" + keccak(bytes.fromhex(params[0][2:])).hex()
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    async def gateway(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"path": request.path, "fault": request.headers.get("X-Simulate-Fault", "")}
        )


@asynccontextmanager
async def serving(upstream: Upstream) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/chain", upstream.chain)
    app.router.add_get("/gateway/{path:.*}", upstream.gateway)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Line:
    """
    A node's side of the proxy.
    """

    def __init__(self, proxy: Proxy, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.session = session

    def begin(self, kind: str, target: str = "node-0", **arguments: Any) -> None:
        target = "gateway" if kind.startswith("gateway") else target
        self.proxy.begin(Fault(tick=0, kind=kind, target=target, ticks=1, arguments=arguments))

    async def post(self, content: object, node: str = "node-0/a") -> aiohttp.ClientResponse:
        return await self.session.post(f"{self.proxy.url}/{node}", json=content)

    async def ask(self, method: str, *params: object) -> Any:
        reply = await (await self.post(call(method, *params))).json()
        return reply.get("result", reply.get("error"))

    async def broadcast(self) -> Any:
        return await self.ask("eth_sendRawTransaction", "0x" + SIGNED.hex())

    async def get(self, path: str) -> Any:
        return await (await self.session.get(f"{self.proxy.url}/gateway{path}")).json()


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    upstream = Upstream()
    async with (
        serving(upstream) as url,
        Proxy(f"{url}/chain", f"{url}/gateway", upstream, seed=1) as proxy,
        aiohttp.ClientSession() as session,
    ):
        yield Line(proxy, upstream, session)


async def test_without_faults_all_passes_and_every_broadcast_is_shown(line: Line) -> None:
    assert await line.ask("eth_blockNumber") == hex(HEAD)
    assert await line.broadcast() == "0x" + keccak(SIGNED).hex()
    both = await (await line.post([call("eth_blockNumber"), call("eth_getLogs")])).json()
    assert [one["result"] for one in both] == [hex(HEAD), LOGS]
    assert line.upstream.seen == [SIGNED]
    assert await line.get("/anu?length=1") == {"path": "/gateway/anu", "fault": ""}


@pytest.mark.parametrize(
    ("kind", "status", "begins"),
    [
        ("rpc-429", 429, '{"error"'),
        ("rpc-5xx", 503, "upstream"),
        ("rpc-html", 200, "<!doctype html>"),
        ("rpc-truncated", 200, '{"jsonrpc"'),
    ],
)
async def test_an_endpoint_fails_as_told_and_recovers(
    line: Line, kind: str, status: int, begins: str
) -> None:
    line.begin(kind)
    reply = await line.post(call("eth_blockNumber"))
    text = await reply.text()
    assert (reply.status, text.startswith(begins)) == (status, True)
    await line.proxy.tick(1)
    assert await line.ask("eth_blockNumber") == hex(HEAD)


async def test_a_truncated_answer_is_no_json(line: Line) -> None:
    line.begin("rpc-truncated")
    text = await (await line.post(call("eth_blockNumber"))).text()
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


@pytest.mark.parametrize(
    ("target", "untouched"),
    [("node-0", ["node-1/a"]), ("node-0/a", ["node-0/b", "node-1/a"])],
)
async def test_another_endpoint_is_not_touched(
    line: Line, target: str, untouched: list[str]
) -> None:
    line.begin("rpc-dropped", target)
    with pytest.raises(aiohttp.ClientError):
        await line.ask("eth_blockNumber")
    for node in untouched:
        assert (await line.post(call("eth_blockNumber"), node)).ok


async def test_a_lost_answer_leaves_the_broadcast_done_or_not(line: Line) -> None:
    for done in (False, True):
        line.begin("rpc-dropped", done=done)
        with pytest.raises(aiohttp.ClientError):
            await line.broadcast()
        assert len(line.upstream.taken) == done
        await line.proxy.calm()
    assert line.upstream.seen == [SIGNED, SIGNED]


async def test_a_hanging_call_ends_with_its_fault(line: Line) -> None:
    line.begin("rpc-timeout")
    hanging = asyncio.create_task(line.ask("eth_blockNumber"))
    while not line.proxy.hits["rpc-timeout"]:
        await asyncio.sleep(0)
    await line.proxy.tick(0)
    assert not hanging.done()
    await line.proxy.tick(1)
    with pytest.raises(aiohttp.ClientError):
        await hanging


async def test_an_endpoint_that_is_behind_is_so_in_all_that_it_says(line: Line) -> None:
    line.begin("stale-head", behind=5)
    assert await line.ask("eth_blockNumber") == hex(HEAD - 5)
    assert await line.ask("eth_getBlockByNumber", "latest") == {"number": hex(HEAD - 5)}
    assert await line.ask("eth_getBlockByNumber", hex(HEAD)) is None
    assert await line.ask("eth_getBlockByNumber", hex(3)) == {"number": "0x3"}
    assert await line.ask("eth_getTransactionReceipt", "0x1") is None


async def test_logs_are_lost_or_there_twice(line: Line) -> None:
    line.begin("missing-logs", rate=1.0)
    assert await line.ask("eth_getLogs") == []
    await line.proxy.calm()
    line.begin("duplicate-logs")
    assert await line.ask("eth_getLogs") == [LOGS[0], LOGS[0], LOGS[1], LOGS[1]]


async def test_receipts_are_lost_and_nonces_are_stale(line: Line) -> None:
    line.begin("null-receipts")
    line.begin("stale-nonce", behind=2)
    assert await line.ask("eth_getTransactionReceipt", "0x1") is None
    assert await line.ask("eth_getTransactionCount", "0x1", "latest") == "0x7"


async def test_a_broadcast_is_swallowed(line: Line) -> None:
    line.begin("broadcast-lost")
    assert await line.broadcast() == "0x" + keccak(SIGNED).hex()
    assert (line.upstream.taken, line.upstream.seen) == ([], [SIGNED])


async def test_a_broadcast_is_handed_on_later(line: Line) -> None:
    line.begin("broadcast-delayed", by=3)
    assert await line.broadcast() == "0x" + keccak(SIGNED).hex()
    await line.proxy.tick(2)
    assert line.upstream.taken == []
    await line.proxy.tick(3)
    assert line.upstream.taken == ["0x" + SIGNED.hex()]


async def test_what_is_delayed_when_the_calm_begins_is_handed_on(line: Line) -> None:
    line.begin("broadcast-delayed", by=30)
    await line.broadcast()
    await line.proxy.calm()
    assert line.upstream.taken == ["0x" + SIGNED.hex()]


async def test_a_broadcast_is_taken_and_nobody_hears_of_it(line: Line) -> None:
    line.begin("broadcast-unanswered")
    with pytest.raises(aiohttp.ClientError):
        await line.broadcast()
    assert line.upstream.taken == ["0x" + SIGNED.hex()]


async def test_a_broadcast_is_refused_whether_it_was_taken_or_not(line: Line) -> None:
    for done in (True, False):
        line.begin("broadcast-refused", words="already known", done=done)
        assert (await line.broadcast())["message"] == "already known"
        assert len(line.upstream.taken) == 1
        await line.proxy.calm()


async def test_a_gateways_fault_reaches_it_and_a_bad_one_only_the_first_source(
    line: Line,
) -> None:
    line.begin("gateway-fault", fault="rate-limit")
    assert (await line.get("/qrng-open-api/v1/x"))["fault"] == "rate-limit"
    await line.proxy.calm()
    line.begin("gateway-bad", fault="stuck-bits")
    assert (await line.get("/qrng-open-api/v1/x"))["fault"] == ""
    assert (await line.get("/anu"))["fault"] == "stuck-bits"
