"""
What each dialect does that no other does.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import (
    KeyRefusedError,
    OracleError,
    PoolError,
    QuotaExhaustedError,
    RateLimitedError,
)
from oracle.gateway import anu_legacy, qci
from oracle.gateway.desk import Scope
from oracle.gateway.simulator import Simulator
from tests.gateway import CountingDesk, call, client_of

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.unit

LEGACY = "/anu/API/jsonI.php"
BEARER = {"Authorization": "Bearer any"}
EMPTY = PoolError("The pool is empty.")
TOO_FAST = RateLimitedError("too fast", retry_after=2.5)
ALL_DRAWN = QuotaExhaustedError("all drawn", retry_after=100)
OPEN_API = ["/qrng-open-api", "/qrng-open-api/v1", "/qrng-open-api/api/v1"]
NUMBERS = {
    "distribution": "uniform_discrete",
    "output_type": "decimal",
    "n_samples": 3,
    "n_bits": 8,
}


def base64_of(*blocks: bytes) -> list[str]:
    return [base64.b64encode(block).decode() for block in blocks]


# ANU, the first API


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("length=2&type=uint8", {"type": "uint8", "length": 2, "data": [0, 1]}),
        ("length=2&type=uint16&size=9", {"type": "uint16", "length": 2, "data": [1, 0x0203]}),
        (
            "length=2&type=hex16&size=2",
            {"type": "hex16", "length": 2, "size": 2, "data": ["0001", "0203"]},
        ),
    ],
)
async def test_legacy_length_is_a_number_and_size_counts_bytes(
    query: str, document: dict[str, Any]
) -> None:
    reply = await call(CountingDesk(open_to=(Scope.ANU_LEGACY,)), f"{LEGACY}?{query}", headers={})
    assert reply.json() == {**document, "success": True}


@pytest.mark.parametrize(
    "query",
    ["", "length=0&type=uint8", "length=1025&type=uint8", "length=1&type=hex8", "length=1"]
    + [f"length=1&type=hex16{size}" for size in ("", "&size=0", "&size=1025", "&size=x")],
)
async def test_legacy_mistake_is_a_200_without_success(query: str) -> None:
    desk = CountingDesk()
    reply = await call(desk, f"{LEGACY}?{query}")
    assert (reply.status_code, reply.json()) == (200, {"success": False})
    assert desk.drawn == []


@pytest.mark.parametrize(
    ("error", "limited"), [(TOO_FAST, True), (ALL_DRAWN, True), (EMPTY, False)]
)
async def test_legacy_refusal_is_a_500_in_plain_text(error: OracleError, *, limited: bool) -> None:
    reply = await call(CountingDesk(error=error), f"{LEGACY}?length=1&type=uint8")
    assert reply.status_code == 500
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert (reply.text == anu_legacy.RATE_TEXT) is limited


# QRNG Open API


@pytest.mark.parametrize("prefix", OPEN_API)
@pytest.mark.parametrize("headers", [BEARER, {"X-API-KEY": "any"}])
async def test_open_api_serves_every_prefix_and_both_headers(
    prefix: str, headers: dict[str, str]
) -> None:
    desk = CountingDesk()
    capabilities = await call(desk, f"{prefix}/capabilities", headers=headers)
    assert capabilities.json() == {
        "entropy": {
            "min_block_size": 1,
            "max_block_size": 1024,
            "min_block_count": 1,
            "max_block_count": 512,
            "entropy_types": ["quantum"],
            "extensions": [],
        },
        "healthtest": {
            "test_threshold": [
                {"test_type": "pool_level", "good": 0.5, "warning": 0.1, "error": 0.01}
            ]
        },
        "extensions": [],
    }
    entropy = await call(
        desk,
        f"{prefix}/entropy",
        method="POST",
        headers=headers,
        json={"block_size": 2, "block_count": 2},
    )
    assert entropy.json() == {"entropy": base64_of(b"\0\1", b"\2\3"), "extensions": []}
    health = (await call(desk, f"{prefix}/healthtest", headers=headers)).json()
    [result] = health["test_result"]
    assert (result["test_type"], result["test_result"]) == ("pool_level", 0.25)
    assert datetime.fromisoformat(result["time_stamp"]).tzinfo == UTC


@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "text/plain", "application/json"]
)
async def test_open_api_reads_a_body_whatever_its_content_type_says(
    content_type: str | None,
) -> None:
    headers = {**BEARER, **({"Content-Type": content_type} if content_type else {})}
    reply = await call(
        CountingDesk(),
        "/qrng-open-api/v1/entropy",
        method="POST",
        headers=headers,
        content=b'{"block_size": 3.0, "entropy_type": "quantum", "unknown": 1}',
    )
    assert reply.json()["entropy"] == base64_of(b"\0\1\2")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b"[" * 70_000, b"{" + b" " * 70_000 + b"}"]
    + [
        json.dumps(body).encode()
        for body in (
            {},
            {"block_size": 0},
            {"block_size": 1025},
            {"block_size": "1"},
            {"block_size": True},
            {"block_size": 1.5},
            {"block_size": None},
            {"block_size": 1, "block_count": 0},
            {"block_size": 1, "block_count": 513},
            {"block_size": 1, "block_count": None},
            {"block_size": 1, "entropy_type": "raw"},
            {"block_size": 1, "entropy_type": None},
        )
    ],
)
async def test_open_api_mistake_is_a_422_and_draws_nothing(body: bytes) -> None:
    desk = CountingDesk()
    reply = await call(desk, "/qrng-open-api/entropy", method="POST", headers=BEARER, content=body)
    assert reply.status_code == 422
    assert reply.json()["detail"]
    assert desk.drawn == []


async def test_open_api_never_promises_more_than_the_supply_holds() -> None:
    desk = CountingDesk(largest=8 * 1024)
    capabilities = (await call(desk, "/qrng-open-api/capabilities")).json()
    assert capabilities["entropy"]["max_block_count"] == 8
    body = {"block_size": 1, "block_count": 9}
    reply = await call(desk, "/qrng-open-api/entropy", method="POST", json=body)
    assert reply.status_code == 422


@given(size=st.integers(1, 1024), count=st.integers(1, 512))
async def test_open_api_returns_exactly_the_blocks_asked_for(size: int, count: int) -> None:
    desk = CountingDesk()
    body = {"block_size": size, "block_count": count}
    reply = await call(desk, "/qrng-open-api/v1/entropy", method="POST", json=body)
    blocks = [base64.b64decode(block, validate=True) for block in reply.json()["entropy"]]
    assert [len(block) for block in blocks] == [size] * count
    assert desk.drawn == [size * count]


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (KeyRefusedError("no"), 401, ("WWW-Authenticate", "Bearer")),
        (TOO_FAST, 429, ("Retry-After", "3")),
        (ALL_DRAWN, 429, ("Retry-After", "100")),
        (EMPTY, 503, ("Cache-Control", "no-store")),
    ],
)
async def test_open_api_refusals(error: OracleError, status: int, header: tuple[str, str]) -> None:
    body = {"block_size": 1}
    desk = CountingDesk(error=error)
    reply = await call(desk, "/qrng-open-api/v1/entropy", method="POST", json=body)
    assert reply.status_code == status
    assert reply.headers[header[0]] == header[1]


async def test_open_api_of_a_simulator_says_so_in_every_place() -> None:
    capabilities = (await call(Simulator(), "/qrng-open-api/v1/capabilities")).json()
    assert capabilities["entropy"]["entropy_types"] == ["simulated"]
    assert capabilities["extensions"] == [{"simulated": True}]
    body = {"block_size": 1}
    reply = await call(Simulator(), "/qrng-open-api/v1/entropy", method="POST", json=body)
    assert reply.json()["extensions"] == [{"simulated": True}]


# Qrypt


@pytest.mark.parametrize(("query", "size"), [("", 1), ("?size=1", 1), ("?size=512", 512)])
async def test_qrypt_serves_blocks_of_1_kib(query: str, size: int) -> None:
    reply = await call(CountingDesk(), f"/qrypt/api/v1/quantum-entropy{query}", headers=BEARER)
    document = reply.json()
    assert set(document) == {"random", "size"}
    assert document["size"] == size
    assert {len(block) for block in document["random"]} == {1368}
    assert len(document["random"]) == size


@pytest.mark.parametrize("size", ["0", "513", "-1", "one", "", "1.0"])
async def test_qrypt_mistake_is_a_400(size: str) -> None:
    desk = CountingDesk()
    reply = await call(desk, f"/qrypt/api/v1/quantum-entropy?size={size}", headers=BEARER)
    assert reply.status_code == 400
    assert desk.drawn == []


@pytest.mark.parametrize("method_path", [("GET", "quantum-entropy"), ("POST", "entropy")])
@pytest.mark.parametrize(
    ("error", "status"), [(ALL_DRAWN, 403), (TOO_FAST, 429), (EMPTY, 503), (None, 401)]
)
async def test_qrypt_quota_is_403_and_a_bad_token_401(
    method_path: tuple[str, str], error: OracleError | None, status: int
) -> None:
    method, path = method_path
    reply = await call(
        CountingDesk(error=error),
        f"/qrypt/api/v1/{path}",
        method=method,
        headers=BEARER if error else {"Authorization": "Bearer stale"},
        content=b'{"block_size": 1}',
    )
    assert reply.status_code == status


async def test_qrypt_serves_the_open_api_on_the_same_host() -> None:
    desk = CountingDesk()
    capabilities = await call(desk, "/qrypt/api/v1/capabilities", headers=BEARER)
    assert capabilities.json()["entropy"]["max_block_size"] == 512
    assert "healthtest" not in capabilities.json()
    # As qseed sends it: JSON under curl's default content type.
    reply = await call(
        desk,
        "/qrypt/api/v1/entropy",
        method="POST",
        headers={**BEARER, "Content-Type": "application/x-www-form-urlencoded"},
        content=b'{"block_size": 2, "block_count": 1}',
    )
    assert reply.json()["entropy"] == base64_of(b"\0\1")


# QCI


async def token(client: httpx.AsyncClient, path: str = "") -> dict[str, Any]:
    reply = await client.post(f"/qci/auth/v1/access-tokens{path}", json={"refresh_token": "any"})
    assert reply.status_code == 200
    document: dict[str, Any] = reply.json()
    return document


async def ask_qci(desk: CountingDesk, path: str, body: object) -> httpx.Response:
    async with client_of(desk) as client:
        access = (await token(client))["access_token"]
        return await client.post(
            f"/qci/qrng/{path}", json=body, headers={"Authorization": f"Bearer {access}"}
        )


async def test_qci_token_expires_at_an_absolute_time() -> None:
    async with client_of(CountingDesk()) as client:
        document = await token(client)
    assert set(document) == {"access_token", "expires_in", "scope", "token_type"}
    assert document["expires_in"] == pytest.approx(datetime.now(UTC).timestamp() + 3600, abs=60)


async def test_qci_token_at_the_path_with_a_slash_names_its_time_in_rfc3339() -> None:
    async with client_of(CountingDesk()) as client:
        document = await token(client, "/")
    assert set(document) == {
        "access_token",
        "expires_at_rfc3339",
        "token_type",
        "organization_id",
        "user_id",
    }
    assert document["expires_at_rfc3339"].endswith("Z")
    assert datetime.fromisoformat(document["expires_at_rfc3339"]) > datetime.now(UTC)


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({}, [0, 1, 2]),
        ({"n_bits": 16, "n_samples": 2}, [0x0001, 0x0203]),
        ({"n_bits": 12, "n_samples": 2}, [0x000, 0x020]),
        ({"n_bits": 1, "n_samples": 1}, [0]),
        ({"output_type": "binary", "n_bits": 12, "n_samples": 2}, ["0" * 12, "000000100000"]),
    ],
)
async def test_qci_numbers_are_a_bare_array_of_fixed_width(
    changes: dict[str, Any], numbers: list[Any]
) -> None:
    reply = await ask_qci(CountingDesk(), "random_numbers", {**NUMBERS, **changes})
    assert reply.json() == numbers


@given(bits=st.integers(1, 64))
async def test_qci_numbers_fit_their_bits_and_reach_all_of_them(bits: int) -> None:
    async with client_of(Simulator()) as client:
        access = (await token(client))["access_token"]
        reply = await client.post(
            "/qci/qrng/random_numbers",
            json={**NUMBERS, "n_bits": bits, "n_samples": 200},
            headers={"Authorization": f"Bearer {access}"},
        )
    seen = 0
    for number in reply.json():
        assert 0 <= number < 1 << bits
        seen |= number
    # Each bit stays zero in all of 200 numbers once in 2^200.
    assert seen == (1 << bits) - 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("distribution", "gaussian"),
        ("output_type", "octal"),
        ("n_samples", 0),
        ("n_samples", 1_000_001),
        ("n_bits", 65),
        ("n_bits", "8"),
        ("n_bits", None),
    ],
)
async def test_qci_mistake_names_the_field(field: str, value: object) -> None:
    desk = CountingDesk()
    reply = await ask_qci(desk, "random_numbers", {**NUMBERS, field: value})
    assert reply.status_code == 422
    assert [mistake["loc"] for mistake in reply.json()["detail"]] == [["body", field]]
    assert desk.drawn == []


async def test_qci_usage_asks_for_days() -> None:
    desk = CountingDesk()
    assert (await ask_qci(desk, "random_numbers", NUMBERS)).status_code == 200
    reply = await ask_qci(desk, "usage", {"start_date": "2026-04-14", "end_date": "2026-04-15"})
    assert reply.json() == {"n_bits": 24}
    assert desk.asked == [(date(2026, 4, 14), date(2026, 4, 15))]
    assert (await ask_qci(desk, "usage", {"start_date": "April"})).status_code == 422


@pytest.mark.parametrize(("error", "status"), [(ALL_DRAWN, 403), (TOO_FAST, 429), (EMPTY, 503)])
async def test_qci_refusals(error: OracleError, status: int) -> None:
    reply = await ask_qci(CountingDesk(error=error), "random_numbers", NUMBERS)
    assert reply.status_code == status
    assert isinstance(reply.json()["detail"], str)


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer any", "Bearer a.b", "Basic x"])
async def test_qci_numbers_need_a_token_that_was_issued_here(authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = await call(
        CountingDesk(), "/qci/qrng/random_numbers", method="POST", headers=headers, json=NUMBERS
    )
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_qci_token_is_refused_once_it_has_expired_or_was_changed() -> None:
    tokens = qci.Tokens()
    assert tokens.client_of(tokens.issue("client", 2**40)) == "client"
    with pytest.raises(KeyRefusedError, match="expired"):
        tokens.client_of(tokens.issue("client", 1))
    with pytest.raises(KeyRefusedError, match="validate"):
        tokens.client_of(tokens.issue("client", 2**40)[:-1])
    with pytest.raises(KeyRefusedError, match="validate"):
        tokens.client_of(qci.Tokens().issue("client", 2**40))


@pytest.mark.parametrize("body", [{}, {"refresh_token": 1}, []])
async def test_qci_token_needs_an_api_token(body: object) -> None:
    reply = await call(CountingDesk(), "/qci/auth/v1/access-tokens", method="POST", json=body)
    assert reply.status_code == 422


async def test_qci_tokens_tell_their_health_and_version() -> None:
    base = "/qci/auth/v1/access-tokens"
    assert set((await call(CountingDesk(), f"{base}/health")).json()) == {"message"}
    version = (await call(CountingDesk(), f"{base}/version")).json()
    assert set(version) == {"application_name", "version"}


# All of them


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{LEGACY}?length=1&type=uint8", 200),
        ("/qrypt/api/v1/quantum-entropy", 200),
        ("/qrypt/api/v1/quantum-entropy?size=0", 400),
        ("/qrng-open-api/capabilities", 200),
        ("/qrng-open-api/entropy", 405),
        ("/qci/qrng/random_numbers", 405),
    ],
)
async def test_head_consumes_nothing(path: str, status: int) -> None:
    desk = CountingDesk()
    reply = await call(desk, path, method="HEAD", headers={**BEARER, "x-api-key": "any"})
    assert reply.status_code == status
    assert desk.drawn == []
    assert not reply.content or status == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{LEGACY}?length=1&type=uint8"),
        ("GET", "/anu?length=1&type=uint8"),
        ("POST", "/qrng-open-api/v1/entropy"),
        ("GET", "/qrypt/api/v1/quantum-entropy"),
        ("POST", "/qci/auth/v1/access-tokens"),
        ("POST", "/qci/qrng/random_numbers"),
    ],
)
async def test_no_reply_may_be_kept_and_the_simulator_marks_all(method: str, path: str) -> None:
    reply = await call(CountingDesk(simulated=True), path, method=method, headers=BEARER)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Entropy-Simulated"] == "1"
