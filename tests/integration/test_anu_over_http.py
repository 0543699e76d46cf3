from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from oracle.devnet.processes import free_port
from oracle.entropy.anu import AnuQuantumNumbers
from oracle.entropy.source import http_client
from oracle.errors import ConfigError, PortInUseError, SimulatedEntropyError, SourceReplyError
from oracle.errors import SourceCredentialsError as CredentialsError
from oracle.errors import SourceUnavailableError as UnavailableError
from oracle.gateway.app import create_app
from oracle.gateway.server import _listen, serve
from oracle.gateway.simulator import Simulator
from tests.gateway_server import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx


pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[str]:
    async with running(free_port()) as url:
        yield url


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as client:
        yield client


@pytest.mark.parametrize("path", ["/anu", "/anu/"])
async def test_largest_draw_arrives_and_is_never_the_same(
    gateway: str, client: httpx.AsyncClient, path: str
) -> None:
    anu = AnuQuantumNumbers(
        client=client, base_url=gateway + path, api_key="good", allow_simulated=True
    )
    first, second = await anu.fetch(20_480), await anu.fetch(20_480)
    assert len(first.data) == len(second.data) == 20_480
    assert first.data != second.data
    assert first.simulated


async def test_simulated_entropy_is_refused_where_it_is_not_allowed(
    gateway: str, client: httpx.AsyncClient
) -> None:
    anu = AnuQuantumNumbers(
        client=client, base_url=f"{gateway}/anu", api_key="good", allow_simulated=False
    )
    with pytest.raises(SimulatedEntropyError):
        await anu.fetch(64)


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [("/anu", "bad", CredentialsError), ("/elsewhere", "good", SourceReplyError)],
)
async def test_wrong_key_and_wrong_path_are_told_apart(
    gateway: str, client: httpx.AsyncClient, path: str, key: str, expected: type[Exception]
) -> None:
    anu = AnuQuantumNumbers(
        client=client, base_url=gateway + path, api_key=key, allow_simulated=True
    )
    with pytest.raises(expected):
        await anu.fetch(64)


async def test_server_that_is_gone_is_unavailable(client: httpx.AsyncClient) -> None:
    async with running(free_port()) as url:
        pass
    anu = AnuQuantumNumbers(
        client=client, base_url=f"{url}/anu", api_key="good", allow_simulated=True
    )
    with pytest.raises(UnavailableError):
        await anu.fetch(64)


async def test_head_over_http_is_no_error(gateway: str, client: httpx.AsyncClient) -> None:
    query = {"length": "5", "type": "uint8"}
    reply = await client.head(f"{gateway}/anu", params=query, headers={"x-api-key": "good"})
    assert reply.status_code == 200
    assert reply.headers["X-Entropy-Simulated"] == "1"


async def test_taken_port_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"Port {port} on 127.0.0.1 is in use"):
            await serve(create_app(Simulator()), "127.0.0.1", port)


def test_replies_wait_for_no_acknowledgement() -> None:
    with _listen("127.0.0.1", 0) as listener:
        # By this asyncio decides whether to set TCP_NODELAY.
        assert listener.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 8100), ("127.0.0.1", 70_000)])
async def test_address_that_cannot_be_listened_on_is_a_matter_of_configuration(
    host: str, port: int
) -> None:
    with pytest.raises(ConfigError):
        await serve(create_app(Simulator()), host, port)


async def test_port_is_free_again_after_the_server_stops() -> None:
    port = free_port()
    for _ in range(2):
        async with running(port) as url, http_client() as client:
            assert (await client.get(f"{url}/healthz")).json() == {"status": "ok"}
