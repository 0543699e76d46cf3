from __future__ import annotations

from typing import Any

import pytest

from oracle.errors import (
    OracleError,
    PoolError,
    QuotaExhaustedError,
    RateLimitedError,
)
from oracle.gateway.simulator import Simulator
from tests.gateway import CountingDesk, call

pytestmark = pytest.mark.unit

KEY = {"x-api-key": "any"}


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
    desk = CountingDesk()
    reply = await call(desk, f"/anu?{query}")
    assert reply.status_code == 200
    assert reply.json()["data"] == data
    assert desk.drawn == [drawn]


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
    reply = await call(CountingDesk(), "/anu?length=0", headers=headers)
    assert reply.status_code == 403
    assert reply.json() == {"message": "Forbidden"}


async def test_key_that_is_refused_draws_nothing() -> None:
    desk = CountingDesk()
    reply = await call(desk, "/anu?length=1&type=uint8", headers={"x-api-key": "other"})
    assert reply.status_code == 403
    assert desk.drawn == []


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
    desk = CountingDesk()
    reply = await call(desk, f"/anu?{query}")
    assert reply.status_code == 400
    content = reply.json()
    assert content["success"] is False
    assert content["message"]
    assert set(content) == {"success", "message"}
    assert desk.drawn == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/anu?length=5&type=uint8", 200),
        ("/anu/?length=5&type=uint8", 200),
        ("/anu?length=0&type=uint8", 400),
    ],
)
async def test_head_draws_nothing(path: str, code: int) -> None:
    desk = CountingDesk()
    reply = await call(desk, path, method="HEAD")
    assert reply.status_code == code
    assert reply.content == b""
    assert desk.drawn == []
    assert (await call(desk, path, method="HEAD", headers={})).status_code == 403


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
    reply = await call(CountingDesk(), "/anu?length=5&type=uint8")
    assert "X-Entropy-Simulated" not in reply.headers
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PoolError("The pool is empty."), 503, "Service Unavailable"),
        (RateLimitedError("too fast", retry_after=1), 429, "Too Many Requests"),
        (QuotaExhaustedError("all drawn", retry_after=1), 429, "Limit Exceeded"),
    ],
)
async def test_refusals_are_the_vendors(error: OracleError, status: int, message: str) -> None:
    reply = await call(CountingDesk(error=error), "/anu?length=5&type=uint8")
    assert reply.status_code == status
    assert reply.json() == {"message": message}


async def test_health_needs_no_key() -> None:
    reply = await call(CountingDesk(), "/healthz", headers={})
    assert reply.json() == {"status": "ok"}


async def test_documentation_names_the_parameters_and_no_422() -> None:
    assert (await call(CountingDesk(), "/docs")).status_code == 200
    paths = (await call(CountingDesk(), "/openapi.json")).json()["paths"]
    operation = paths["/anu/"]["get"]
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "length",
        "type",
        "size",
    ]
    assert set(operation["responses"]) == {"200", "400", "403", "429", "503"}
    assert operation["security"]
