from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import traceback
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from oracle.entropy.anu import AnuQuantumNumbers
from oracle.entropy.source import http_client
from oracle.errors import (
    ConfigError,
    OracleError,
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceHealthError,
    SourceQuotaError,
    SourceReplyError,
    SourceThrottledError,
    SourceUnavailableError,
)

pytestmark = pytest.mark.unit

KEY = "secret-key-1234"
URL = "https://api.example.org/numbers"

Handler = Callable[[httpx.Request], httpx.Response]


def make_items(count: int) -> list[str]:
    return [hashlib.sha256(b"%d" % at).hexdigest()[:40] for at in range(count)]


ITEMS = make_items(4)


def body(**changes: Any) -> dict[str, Any]:
    return {"success": True, "type": "hex16", "length": "4", "data": ITEMS} | changes


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in body().items() if name != field}


def ok(content: Any = None, **headers: str) -> Handler:
    text = json.dumps(body() if content is None else content)
    return lambda _: httpx.Response(200, text=text, headers=headers)


def status(code: int, content: Any = None, headers: dict[str, str] | None = None) -> Handler:
    return lambda _: httpx.Response(code, text=json.dumps(content), headers=headers)


def source(handler: Handler, **changes: Any) -> AnuQuantumNumbers:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler), follow_redirects=True)
    settings: dict[str, Any] = {
        "client": client,
        "base_url": URL,
        "api_key": KEY,
        "allow_simulated": False,
    }
    return AnuQuantumNumbers(**(settings | changes))


async def refused(handler: Handler, n_bytes: int = 80, **changes: Any) -> OracleError:
    """Fetch, and return the error after checking that it gives nothing away."""
    with pytest.raises(OracleError) as caught:
        await source(handler, **changes).fetch(n_bytes)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in shown
    assert not any(item in shown for item in ITEMS)
    assert "length=" not in shown
    return caught.value


async def test_bytes_arrive_as_the_vendor_sent_them() -> None:
    sample = await source(ok()).fetch(80)
    assert sample.data == bytes.fromhex("".join(ITEMS))
    assert sample.source == "anu"
    assert not sample.simulated
    assert abs(datetime.now(UTC) - sample.received_at) < timedelta(minutes=1)


async def test_sample_does_not_show_its_bytes() -> None:
    sample = await source(ok()).fetch(80)
    assert repr(sample.data) not in repr(sample)
    assert KEY not in repr(source(ok()))


@pytest.mark.parametrize(("n_bytes", "length"), [(1, 1), (20, 1), (21, 2), (20_480, 1024)])
async def test_one_call_asks_for_enough_items(n_bytes: int, length: int) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        items = make_items(length)
        return httpx.Response(200, json=body(length=str(length), data=items))

    sample = await source(handler).fetch(n_bytes)
    assert len(sample.data) == 20 * length
    (request,) = seen
    assert dict(request.url.params) == {"length": str(length), "type": "hex16", "size": "10"}
    assert request.headers["x-api-key"] == KEY
    assert request.headers["cache-control"] == "no-cache"


async def test_more_than_the_maximum_gives_the_maximum() -> None:
    items = make_items(1024)
    anu = source(ok(body(length=1024, data=items)))
    assert len((await anu.fetch(1_000_000)).data) == anu.max_bytes == 20_480


async def test_less_than_one_byte_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        await source(ok()).fetch(0)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_base_url_may_end_in_a_slash(slash: str) -> None:
    paths: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(200, json=body())

    await source(handler, base_url=URL + slash).fetch(80)
    assert paths == ["/numbers" + slash]


async def test_length_may_be_a_number() -> None:
    assert len((await source(ok(body(length=4))).fetch(80)).data) == 80


@pytest.mark.parametrize(
    "content",
    [
        [],
        "text",
        None,
        without("success"),
        without("type"),
        without("length"),
        body(success="true"),
        body(success=1),
        body(type="hex8"),
        body(length="5"),
        body(length=4.0),
        body(length=None),
        body(length=[4]),
        body(data="".join(ITEMS)),
        body(data=dict.fromkeys(ITEMS)),
        body(data=ITEMS[:3]),
        body(data=[*ITEMS, "ab" * 20]),
        body(data=[*ITEMS[:3], 7]),
        body(data=[*ITEMS[:3], None]),
        body(data=[*ITEMS[:3], ITEMS[3][:38]]),
        body(data=[*ITEMS[:3], ITEMS[3] + "00"]),
        body(data=[*ITEMS[:3], ITEMS[3] + "\n"]),
        body(data=[*ITEMS[:3], "AB" + ITEMS[3][2:]]),
        body(data=[*ITEMS[:3], "xy" + ITEMS[3][2:]]),
        body(data=[*ITEMS[:3], "\u0660\u0661" + ITEMS[3][2:]]),
    ],
)
async def test_malformed_reply_is_destroyed(content: Any) -> None:
    error = await refused(lambda _: httpx.Response(200, text=json.dumps(content)))
    assert type(error) is SourceReplyError
    assert not error.retryable


@pytest.mark.parametrize("data", [[ITEMS[0]] * 4, [*ITEMS[:3], ITEMS[0]]])
async def test_item_that_comes_twice_is_unhealthy(data: list[str]) -> None:
    error = await refused(ok(body(data=data)))
    assert isinstance(error, SourceHealthError)
    assert error.failure == "repeat"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        '{"success": true',
        "[" * 50_000,
        '{"length": ' + "9" * 5_000 + "}",
        "\xff\xfe",
    ],
)
async def test_text_that_is_no_json_is_destroyed(text: str) -> None:
    error = await refused(lambda _: httpx.Response(200, content=text.encode("latin-1")))
    assert type(error) is SourceReplyError


async def test_short_reply_is_called_short() -> None:
    error = await refused(ok(body(data=ITEMS[:3])))
    assert "another number of items" in str(error)


async def test_single_item_of_one_repeated_byte_is_destroyed() -> None:
    error = await refused(ok(body(length="1", data=["00" * 20])), n_bytes=20)
    assert type(error) is SourceHealthError


@pytest.mark.parametrize(
    "headers",
    [
        {"Age": "1"},
        {"Age": "soon"},
        {"X-Cache": "Hit from cloudfront"},
        {"X-Cache": "RefreshHit from cloudfront"},
        {"X-Cache": "HIT"},
    ],
)
async def test_cached_reply_is_destroyed(headers: dict[str, str]) -> None:
    assert type(await refused(ok(**headers))) is SourceReplyError


async def test_fresh_reply_through_a_cache_passes() -> None:
    headers = {"Age": "0", "X-Cache": "Miss from cloudfront"}
    assert len((await source(ok(**headers)).fetch(80)).data) == 80


async def test_endless_reply_is_cut_off() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 4096
            yield b" " * 4096

    error = await refused(lambda _: httpx.Response(200, content=endless()))
    assert type(error) is SourceReplyError
    assert sent <= 256 * 1024


async def test_compressed_reply_is_never_inflated() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    headers = {"Content-Encoding": "gzip"}

    async def content() -> AsyncIterator[bytes]:
        yield bomb

    error = await refused(lambda _: httpx.Response(200, content=content(), headers=headers))
    assert type(error) is SourceReplyError
    assert "compressed" in str(error)


@pytest.mark.parametrize(
    "content", [body(success=False), {"success": False}, body(data=[]), without("data")]
)
async def test_reply_without_numbers_means_come_back_later(content: Any) -> None:
    error = await refused(ok(content))
    assert type(error) is SourceUnavailableError
    assert error.retryable


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_server_errors_mean_come_back_later(code: int) -> None:
    assert type(await refused(status(code, body()))) is SourceUnavailableError


@pytest.mark.parametrize("code", [401, 403])
async def test_refused_key_is_a_matter_of_credentials(code: int) -> None:
    error = await refused(status(code, {"message": "Forbidden"}))
    assert type(error) is SourceCredentialsError
    assert not error.retryable


@pytest.mark.parametrize("code", [204, 206, 400, 404, 405])
async def test_other_statuses_are_no_reply_at_all(code: int) -> None:
    error = await refused(status(code, body()))
    assert type(error) is SourceReplyError


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_redirect_is_not_followed_with_the_key(code: int) -> None:
    calls: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.host)
        return httpx.Response(code, headers={"Location": "https://thief.example.org/"})

    assert type(await refused(handler)) is SourceReplyError
    assert calls == ["api.example.org"]


@pytest.mark.parametrize(
    ("headers", "at_least", "at_most"),
    [
        ({}, 1, 1),
        ({"Retry-After": "0"}, 1, 1),
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "never"}, 1, 1),
        ({"Retry-After": "999999999"}, 86_400, 86_400),
        (
            {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)},
            3_600,  # collected long before it runs
            7_200,
        ),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1, 1),
    ],
)
async def test_throttle_says_how_long_to_wait(
    headers: dict[str, str], at_least: float, at_most: float
) -> None:
    error = await refused(status(429, {"message": "Too Many Requests"}, headers))
    assert type(error) is SourceThrottledError
    assert at_least <= error.retry_after <= at_most


async def test_throttle_without_json_is_a_throttle() -> None:
    error = await refused(lambda _: httpx.Response(429, text="slow down"))
    assert type(error) is SourceThrottledError


async def test_used_up_plan_is_no_throttle() -> None:
    error = await refused(status(429, {"message": "Limit Exceeded"}))
    assert type(error) is SourceQuotaError
    assert not error.retryable


@pytest.mark.parametrize(
    "fault",
    [httpx.ConnectError, httpx.ReadTimeout, httpx.ConnectTimeout, httpx.RemoteProtocolError],
)
async def test_transport_fault_means_come_back_later(fault: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise fault(f"{KEY} {ITEMS[0]} {request.url}", request=request)

    assert type(await refused(handler)) is SourceUnavailableError


async def test_reply_that_breaks_off_means_come_back_later() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield json.dumps(body()).encode()
        raise httpx.ReadError(ITEMS[0])

    error = await refused(lambda _: httpx.Response(200, content=broken()))
    assert type(error) is SourceUnavailableError


async def test_reply_in_drops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle.entropy.source.EXCHANGE_SECONDS", 0.05)

    async def drops() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b" "

    error = await refused(lambda _: httpx.Response(200, content=drops()))
    assert type(error) is SourceUnavailableError


@pytest.mark.parametrize("mark", ["1", "0", ""])
async def test_simulated_reply_is_refused(mark: str) -> None:
    error = await refused(ok(**{"X-Entropy-Simulated": mark}))
    assert type(error) is SimulatedEntropyError
    assert not error.retryable


async def test_simulated_reply_is_labelled_where_it_is_allowed() -> None:
    anu = source(ok(**{"X-Entropy-Simulated": "1"}), allow_simulated=True)
    assert (await anu.fetch(80)).simulated


async def test_key_is_trimmed() -> None:
    keys: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["x-api-key"])
        return httpx.Response(200, json=body())

    await source(handler, api_key=f"  {KEY}\n").fetch(80)
    assert keys == [KEY]


def test_empty_key_is_called_empty() -> None:
    with pytest.raises(SourceCredentialsError, match="key is empty"):
        source(ok(), api_key=" ")


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "nul\0", "schlüssel"])
def test_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(SourceCredentialsError) as caught:
        source(ok(), api_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.org",
        "ftp://example.org",
        "https://",
        "https://example.org:port",
        "https://user:hunter2@example.org",
        "https://example.org?key=hunter2",
        "https://example.org#hunter2",
    ],
)
def test_unusable_base_url_is_a_matter_of_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        source(ok(), base_url=url)
    assert "hunter2" not in str(caught.value)


async def test_client_follows_no_redirect_and_no_proxy_variable() -> None:
    async with http_client(3.0) as client:
        assert not client.follow_redirects
        assert not client.trust_env
        assert client.timeout == httpx.Timeout(3.0)
