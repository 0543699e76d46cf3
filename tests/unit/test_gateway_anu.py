from __future__ import annotations

from typing import Any

import httpx
import pytest

from oracle.errors import PoolError
from oracle.gateway.app import create_app
from oracle.gateway.simulator import Simulator

pytestmark = pytest.mark.unit

KEY = {"x-api-key": "any"}


class CountingFeed:
    """Bytes 0, 1, 2, … that remembers what was drawn."""

    def __init__(self, *, simulated: bool = False, surplus: int = 0) -> None:
        self.simulated = simulated
        self.drawn: list[int] = []
        self._surplus = surplus

    def accepts(self, key: str) -> bool:
        return key in ("any", "")

    async def draw(self, n_bytes: int) -> bytes:
        self.drawn.append(n_bytes)
        return bytes(at % 256 for at in range(n_bytes + self._surplus))


class EmptyFeed(CountingFeed):
    async def draw(self, n_bytes: int) -> bytes:
        raise PoolError("The pool is empty: refill it.")


async def call(
    feed: Any, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(feed))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, headers=KEY if headers is None else headers)


@pytest.mark.parametrize(
    ("query", "data", "drawn"),
    [
        ("length=3&type=uint8", [0, 1, 2], 3),
        ("length=2&type=uint16", [0x0001, 0x0203], 4),
        ("length=2&type=hex8&size=2", ["0001", "0203"], 4),
        ("length=2&type=hex16&size=4", ["0001020304050607", "08090a0b0c0d0e0f"], 16),
        ("length=1&type=uint8&size=99", [0], 1),
    ],
)
async def test_types_have_the_vendors_widths(query: str, data: list[Any], drawn: int) -> None:
    feed = CountingFeed()
    reply = await call(feed, f"/anu?{query}")
    assert reply.status_code == 200
    assert reply.json()["data"] == data
    assert feed.drawn == [drawn]


@pytest.mark.parametrize("path", ["/anu", "/anu/"])
async def test_largest_reply_has_the_vendors_shape(path: str) -> None:
    reply = await call(Simulator(), f"{path}?length=1024&type=hex16&size=10")
    content = reply.json()
    items = content.pop("data")
    assert content == {"success": True, "type": "hex16", "length": "1024"}
    assert len(items) == len(set(items)) == 1024
    assert {len(item) for item in items} == {40}
    assert "".join(items) == "".join(items).lower()


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "  "}])
async def test_missing_key_is_forbidden_before_all_else(headers: dict[str, str]) -> None:
    reply = await call(CountingFeed(), "/anu?length=0", headers=headers)
    assert reply.status_code == 403
    assert reply.json() == {"message": "Forbidden"}


async def test_key_that_the_feed_refuses_draws_nothing() -> None:
    feed = CountingFeed()
    reply = await call(feed, "/anu?length=1&type=uint8", headers={"x-api-key": "other"})
    assert reply.status_code == 403
    assert feed.drawn == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "type=uint8",
        "length=&type=uint8",
        "length=0&type=uint8",
        "length=1025&type=uint8",
        "length=-1&type=uint8",
        "length=1.0&type=uint8",
        "length=one&type=uint8",
        "length=%D9%A1&type=uint8",
        "length=" + "9" * 5_000 + "&type=uint8",
        "length=1",
        "length=1&type=",
        "length=1&type=uint32",
        "length=1&type=hex16",
        "length=1&type=hex8&size=",
        "length=1&type=hex8&size=0",
        "length=1&type=hex16&size=11",
        "length=1&type=hex16&size=ten",
    ],
)
async def test_bad_parameters_get_400_and_draw_nothing(query: str) -> None:
    feed = CountingFeed()
    reply = await call(feed, f"/anu?{query}")
    assert reply.status_code == 400
    content = reply.json()
    assert content["success"] is False
    assert content["message"]
    assert set(content) == {"success", "message"}
    assert feed.drawn == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/anu?length=5&type=uint8", 200),
        ("/anu/?length=5&type=uint8", 200),
        ("/anu?length=0&type=uint8", 400),
    ],
)
async def test_head_draws_nothing(path: str, code: int) -> None:
    feed = CountingFeed()
    reply = await call(feed, path, method="HEAD")
    assert reply.status_code == code
    assert reply.content == b""
    assert feed.drawn == []
    assert (await call(feed, path, method="HEAD", headers={})).status_code == 403


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/anu?length=5&type=uint8", KEY),
        ("/anu?length=0", KEY),
        ("/anu", {}),
        ("/anu/other", KEY),
        ("/healthz", {}),
    ],
)
async def test_every_reply_of_the_simulator_is_marked(path: str, headers: dict[str, str]) -> None:
    reply = await call(Simulator(), path, headers=headers)
    assert reply.headers["X-Entropy-Simulated"] == "1"


async def test_real_entropy_is_not_marked_and_never_cached() -> None:
    reply = await call(CountingFeed(), "/anu?length=5&type=uint8")
    assert "X-Entropy-Simulated" not in reply.headers
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("feed", [EmptyFeed(), CountingFeed(surplus=1), CountingFeed(surplus=-1)])
async def test_feed_that_cannot_deliver_means_come_back_later(feed: CountingFeed) -> None:
    reply = await call(feed, "/anu?length=5&type=uint8")
    assert reply.status_code == 503
    assert reply.json() == {"message": "Service Unavailable"}


async def test_health_needs_no_key() -> None:
    reply = await call(CountingFeed(), "/healthz", headers={})
    assert reply.json() == {"status": "ok"}


async def test_documentation_names_the_parameters_and_no_422() -> None:
    assert (await call(CountingFeed(), "/docs")).status_code == 200
    paths = (await call(CountingFeed(), "/openapi.json")).json()["paths"]
    operation = paths["/anu/"]["get"]
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "length",
        "type",
        "size",
    ]
    assert set(operation["responses"]) == {"200", "400", "403", "503"}
    assert operation["security"]
