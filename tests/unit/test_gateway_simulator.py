from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from oracle.gateway import anu_legacy
from oracle.gateway.simulator import FAULTS, Simulator
from tests.gateway import CountingDesk, call, client_of

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.unit

HEADERS = {"Authorization": "Bearer any", "x-api-key": "any"}
#: How to draw eight bytes in each dialect, and where they are in the reply.
DIALECTS: dict[str, tuple[str, str, Any]] = {
    "anu-legacy": ("GET", "/anu/API/jsonI.php?length=8&type=uint8", None),
    "anu": ("GET", "/anu?length=8&type=uint8", None),
    "qrng-open-api": ("POST", "/qrng-open-api/v1/entropy", {"block_size": 8}),
    "qrypt": ("GET", "/qrypt/api/v1/quantum-entropy", None),
    "qci": (
        "POST",
        "/qci/qrng/random_numbers",
        {
            "distribution": "uniform_discrete",
            "output_type": "decimal",
            "n_samples": 8,
            "n_bits": 8,
        },
    ),
}


async def draw(
    client: httpx.AsyncClient, dialect: str, fault: str, *, prefix: bool
) -> httpx.Response:
    method, path, body = DIALECTS[dialect]
    headers = dict(HEADERS)
    if dialect == "qci":
        reply = await client.post("/qci/auth/v1/access-tokens", json={"refresh_token": "any"})
        headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
    if prefix:
        path = f"/faults/{fault}{path}"
    else:
        headers["X-Simulate-Fault"] = fault
    return await client.request(method, path, headers=headers, json=body)


def data_of(dialect: str, reply: httpx.Response) -> bytes:
    document = reply.json()
    match dialect:
        case "qci":
            return bytes(document)
        case "anu" | "anu-legacy":
            assert document["success"] is True
            return bytes(document["data"])
        case _:
            blocks = document["random" if dialect == "qrypt" else "entropy"]
            return b"".join(base64.b64decode(block, validate=True) for block in blocks)


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("rate-limit", (500, 429, 429, 429, 429)),
        ("quota", (500, 429, 429, 403, 403)),
        ("unavailable", (500, 503, 503, 503, 503)),
        ("wrong-key", (403, 403, 401, 401, 401)),
        ("expired-token", (200, 200, 200, 200, 401)),
    ],
)
async def test_refusal_is_answered_as_each_dialect_answers_it(
    fault: str, statuses: tuple[int, ...], *, prefix: bool
) -> None:
    async with client_of(Simulator()) as client:
        replies = [await draw(client, dialect, fault, prefix=prefix) for dialect in DIALECTS]
    assert tuple(reply.status_code for reply in replies) == statuses
    assert (replies[0].text == anu_legacy.RATE_TEXT) is (fault in ("rate-limit", "quota"))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_data_faults_reach_every_dialect(dialect: str) -> None:
    async with client_of(Simulator()) as client:

        async def data(fault: str) -> bytes:
            return data_of(dialect, await draw(client, dialect, fault, prefix=True))

        whole = len(await data("slow:0"))
        assert whole == (1024 if dialect == "qrypt" else 8)
        assert len(await data("short")) == whole // 2
        assert await data("empty") == b""
        assert set(await data("stuck-bits")) == {255}
        assert await data("repeat") == await data("repeat")
        assert await data("slow:0") != await data("slow:0")
        reply = await draw(client, dialect, "garbage", prefix=True)
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/html")


async def test_unknown_fault_is_refused_with_those_that_there_are() -> None:
    reply = await call(Simulator(), "/faults/typo/anu?length=1&type=uint8")
    assert reply.status_code == 400
    assert set(reply.json()["faults"]) == set(FAULTS)


async def test_real_entropy_knows_no_faults() -> None:
    desk = CountingDesk()
    reply = await call(
        desk, "/anu?length=4&type=uint8", headers={**HEADERS, "X-Simulate-Fault": "stuck-bits"}
    )
    assert reply.json()["data"] == [0, 1, 2, 3]
    assert (await call(desk, "/faults/stuck-bits/anu?length=4&type=uint8")).status_code == 404


async def test_usage_of_one_key_is_not_that_of_another() -> None:
    days = {"start_date": "2000-01-01", "end_date": "2999-12-31"}
    async with client_of(Simulator()) as client:
        await draw(client, "qci", "slow:0", prefix=True)
        used = []
        for key in ("any", "other"):
            reply = await client.post("/qci/auth/v1/access-tokens", json={"refresh_token": key})
            bearer = {"Authorization": f"Bearer {reply.json()['access_token']}"}
            usage = await client.post("/qci/qrng/usage", headers=bearer, json=days)
            used.append(usage.json()["n_bits"])
    assert used == [64, 0]
