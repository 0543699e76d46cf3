"""
Heads that are announced over a WebSocket: what they save, and what becomes of a node without them.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from oracle.chain import heads
from oracle.chain.heads import HeadSubscription
from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.network import CHAIN_ID
from oracle.devnet.processes import Process, find_anvil, free_port
from oracle.errors import EndpointError
from oracle.request import State
from tests.line import Line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from oracle.devnet.network import Ground
    from oracle.runner import Runner
    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]
    Events = Sequence[Any]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

HASH = "0x" + 32 * "ab"


def said(events: Events, event: str) -> int:
    return sum(one["event"] == event for one in events)


async def until(condition: Callable[[], bool], between: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await between()
            await asyncio.sleep(0.05)


async def nothing() -> None:
    pass


def secret_url(port: int) -> str:
    return f"ws://user:hunter2@127.0.0.1:{port}/?key=hunter2"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


class Run(NamedTuple):
    bench: Bench
    runner: Runner
    node: asyncio.Task[None]
    events: Events

    async def serve(self) -> None:
        """
        Ask for a number and mine until it is there.
        """
        request = await self.bench.roll()
        async with asyncio.timeout(60):
            while await self.bench.state_or_none(request) is not State.DONE:
                await self.bench.mine()
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        self.runner.stop()
        async with asyncio.timeout(30):
            await self.node


@asynccontextmanager
async def running(
    new_bench: NewBench, websocket: str, *, poll_seconds: float
) -> AsyncIterator[Run]:
    """
    A whole node, in this process, that is told of heads from there.
    """
    bench = await new_bench(websocket=f'"{websocket}"')
    await bench.service.database.close()
    path = bench.devnet.folder / "oracle.toml"
    before = path.read_text(encoding="utf-8")
    assert "poll_seconds = 0.1\n" in before
    path.write_text(before.replace("= 0.1\n", f"= {poll_seconds}\n"), encoding="utf-8")
    async with AsyncExitStack() as stack:
        with capture_logs() as events:
            runner = await compose(Settings.load(path), stack)
            bench.service = await runner.links[0].connect(runner.database, runner.pool)
            run = Run(bench, runner, asyncio.create_task(runner.run()), events)
            yield run
            await run.stop()
    assert "hunter2" not in str(events)


async def test_a_head_is_looked_at_when_it_is_announced(
    new_bench: NewBench, ground: Ground
) -> None:
    port = port_of(ground.rpc_url)
    # Whoever waits for the next poll waits longer than this test.
    async with running(new_bench, secret_url(port), poll_seconds=60) as run:
        await run.serve()
        await asyncio.sleep(1)  # so that it is stopped in a pause


async def test_a_node_without_its_websocket_polls_and_takes_it_up_again(
    new_bench: NewBench, ground: Ground
) -> None:
    async with (
        Line.to(port_of(ground.rpc_url)) as line,
        running(new_bench, secret_url(line.port), poll_seconds=0.1) as run,
    ):
        await until(lambda: said(run.events, "heads_followed") == 1, run.bench.mine)
        await line.cut()
        tried = line.connections
        await run.serve()
        await until(lambda: line.connections >= tried + 2, nothing)
        line.mend()
        await until(lambda: said(run.events, "heads_followed") == 2, run.bench.mine)
        await run.serve()
    assert said(run.events, "heads_lost") == 1


async def test_a_websocket_that_falls_silent_delays_nothing(
    new_bench: NewBench, ground: Ground
) -> None:
    async with (
        Line.to(port_of(ground.rpc_url)) as line,
        running(new_bench, secret_url(line.port), poll_seconds=0.1) as run,
    ):
        await until(lambda: said(run.events, "heads_followed") == 1, run.bench.mine)
        line.silence()
        await run.serve()
        await run.serve()
        await run.stop()
    assert said(run.events, "heads_lost") == 0


async def test_a_websocket_that_never_answers_keeps_nobody_from_serving_and_stopping(
    new_bench: NewBench, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_ANSWER_SECONDS", 600.0)
    async with Line.to(port_of(ground.rpc_url)) as line:
        line.silence()
        async with running(new_bench, secret_url(line.port), poll_seconds=0.1) as run:
            await run.serve()
            assert line.connections == 1


async def test_heads_go_on_after_the_chain_was_restarted(tmp_path: Path) -> None:
    port, announced, lost = free_port(), list[bytes](), list[bool]()

    async def anvil() -> Process:
        argv = [find_anvil(), "--port", str(port), "--block-time", "1", "--silent"]
        return await Process.start("anvil", argv, tmp_path)

    chain = await anvil()
    subscription = HeadSubscription(secret_url(port), CHAIN_ID)
    with capture_logs() as events:
        task = asyncio.create_task(
            subscription.follow(announced.append, lambda: lost.append(True))
        )
        try:
            await until(lambda: len(announced) > 1, nothing)
            await chain.kill()
            await until(lambda: bool(lost), nothing)
            before = len(announced)
            chain = await anvil()
            await until(lambda: len(announced) > before, nothing)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await chain.stop()
    assert all(len(head) == 32 for head in announced)
    assert len(lost) == 1
    # One before the chain answered at all, perhaps, and one when it ended.
    assert 1 <= said(events, "heads_lost") <= 2
    assert said(events, "heads_followed") == 2
    assert "hunter2" not in str(events)


ERROR = {"error": {"code": -32000, "message": "hunter2 may not subscribe"}}
SERVES = {"result": hex(CHAIN_ID)}
SUBSCRIBED = {"result": "0x1"}


class Other(NamedTuple):
    """
    What another endpoint answers, by method; and sends when it was subscribed to.
    """

    chain: Any = SERVES
    subscribed: Any = SUBSCRIBED
    sent: str | bytes | None = None


def notice(head: Any, subscription: str = "0x1") -> str:
    return json.dumps({"params": {"subscription": subscription, "result": head}})


@asynccontextmanager
async def speaking(other: Other) -> AsyncIterator[tuple[str, list[bool]]]:
    """
    Yield the URL of an endpoint that speaks so, and its connections.
    """
    connections: list[bool] = []

    async def handle(asked: web.Request) -> web.StreamResponse:
        connections.append(True)
        if isinstance(other.chain, int):
            headers = {"Location": str(asked.url)}
            return web.Response(status=other.chain, text="hunter2", headers=headers)
        socket = web.WebSocketResponse()
        await socket.prepare(asked)
        async for message in socket:
            call = message.json()
            reply = other.chain if call["method"] == "eth_chainId" else other.subscribed
            if isinstance(reply, dict):
                await socket.send_json({"jsonrpc": "2.0", "id": call["id"]} | reply)
            else:
                await socket.send_str(reply)
            if call["method"] == "eth_subscribe":
                if isinstance(other.sent, bytes):
                    await socket.send_bytes(other.sent)
                elif other.sent is not None:
                    await socket.send_str(other.sent)
                else:
                    await socket.close(message=b"hunter2")
        return socket

    app = web.Application()
    app.router.add_get("/hunter2", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/hunter2", connections
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Other(chain=401), "accepts no WebSocket: status 401"),
        (Other(chain=307), "sends elsewhere"),
        (Other(chain={"result": "0x1"}), f"serves chain 1, not {CHAIN_ID}"),
        (Other(chain={"result": ["hunter2"]}), "malformed"),
        (Other(chain=ERROR), "refuses eth_chainId"),
        (Other(chain="<html>hunter2</html>"), "malformed"),
        (Other(chain="[" * 100_000), "malformed"),
        (Other(chain="[1]"), "malformed"),
        (Other(subscribed=ERROR), "refuses eth_subscribe"),
        (Other(), "ended the connection"),
        (Other(sent="hunter2"), "malformed"),
        (Other(sent=b"\xff\x00hunter2"), "malformed"),
        (Other(sent=notice({"number": "0x1"})), "malformed"),
        (Other(sent=notice({"hash": HASH[:-2]})), "malformed"),
        (Other(sent=notice({"hash": 7})), "malformed"),
        (Other(sent=notice({"hash": HASH}, "0x2")), "malformed"),
        (Other(sent=notice({"hash": HASH, "extraData": "a" * 300_000})), "ended the connection"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
async def test_who_speaks_otherwise_announces_nothing_and_is_warned_of_once(
    other: Other, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_BACKOFF_FIRST", 0.01)
    announced: list[bytes] = []
    async with speaking(other) as (url, connections):
        subscription = HeadSubscription(url, CHAIN_ID)
        with capture_logs() as events:
            task = asyncio.create_task(subscription.follow(announced.append, lambda: None))
            await until(lambda: len(connections) >= 4, nothing)
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert announced == []
    [lost] = events
    assert (lost["event"], lost["log_level"]) == ("heads_lost", "warning")
    assert reason in lost["error"]
    assert "hunter2" not in str(events) + repr(subscription) + subscription.name


async def test_who_speaks_no_http_is_not_quoted() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 hunter2\r\nhunter2\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        url = secret_url(server.sockets[0].getsockname()[1])
        with pytest.raises(EndpointError, match="cannot be reached") as caught:
            await HeadSubscription(url, CHAIN_ID).probe()
    assert "hunter2" not in str(caught.value)


async def test_a_head_before_the_word_that_it_will_come_is_no_trouble() -> None:
    early = notice({"hash": HASH})
    announced: list[bytes] = []

    async def handle(asked: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(asked)
        async for message in socket:
            call = message.json()
            subscribes = call["method"] == "eth_subscribe"
            if subscribes:
                await socket.send_str(early)
            await socket.send_json(
                {"id": call["id"], "result": "0x1" if subscribes else hex(CHAIN_ID)}
            )
            if subscribes:
                await socket.send_str(early)
        return socket

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        subscription = HeadSubscription(f"ws://127.0.0.1:{runner.addresses[0][1]}", CHAIN_ID)
        task = asyncio.create_task(subscription.follow(announced.append, lambda: None))
        await until(lambda: bool(announced), nothing)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    finally:
        await runner.cleanup()
    assert announced == [bytes.fromhex(HASH[2:])]
