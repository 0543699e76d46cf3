"""
What every source over HTTP does with good, bad and refusing servers.
"""

from __future__ import annotations

import asyncio
import base64
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import RedirectResponse, Response

from oracle.entropy.json_http import ErrorRule, JsonHttp, Recipe
from oracle.errors import (
    ConfigError,
    OracleError,
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceError,
    SourceQuotaError,
    SourceReplyError,
    SourceThrottledError,
    SourceUnavailableError,
)
from tests.vendors import anu, json_http, qci, qrng_open_api, qrypt
from tests.vendors.server import Answer, Seen, always, in_turn, quantum, reply, serving, text

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.sources

Make = Any
KEY = "secret-key-1234"


def good() -> dict[str, Answer]:
    return {
        "anu": anu.quantum_numbers,
        "anu-legacy": anu.legacy,
        "qrng-open-api": qrng_open_api.server(),
        "qrypt": qrypt.entropy,
        "qci": qci.Uqrng(),
        "lfd": json_http.lfd,
        "quandela": json_http.quandela,
        "outshift": json_http.outshift,
    }


def behind_the_token(kind: str, answer: Answer) -> Answer:
    """
    Let what comes before the numbers go well.
    """
    before = good()[kind]

    def split(seen: Seen) -> Response:
        first = seen.path.endswith(("/access-tokens", "/capabilities"))
        return (before if first else answer)(seen)

    return split


async def refused(make: Make, kind: str, answer: Answer, n_bytes: int = 128) -> OracleError:
    """
    Fetch, and return the error after checking that it gives nothing away.
    """
    async with serving(behind_the_token(kind, answer)) as server:
        with pytest.raises(OracleError) as caught:
            await make(kind, server.url).fetch(n_bytes)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert qci.REFRESH_TOKEN not in shown
    return caught.value


@pytest.mark.parametrize("kind", good())
@pytest.mark.parametrize("n_bytes", [1, 64, 1024, 4096, 10**9])
async def test_a_draw_covers_what_was_asked_for(make: Make, kind: str, n_bytes: int) -> None:
    async with serving(good()[kind]) as server:
        source = make(kind, server.url)
        sample = await source.fetch(n_bytes)
    assert min(n_bytes, source.max_bytes) <= len(sample.data) <= source.max_bytes
    assert sample.source == kind
    assert not sample.simulated
    assert repr(sample.data)[:20] not in repr(sample)


@pytest.mark.parametrize("kind", good())
async def test_every_request_says_that_it_wants_nothing_from_a_cache(
    make: Make, kind: str
) -> None:
    async with serving(good()[kind]) as server:
        await make(kind, server.url).fetch(64)
    assert {seen.headers["cache-control"] for seen in server.seen} == {"no-cache"}


@pytest.mark.parametrize("kind", good())
@pytest.mark.parametrize("header", [{"Age": "7"}, {"X-Cache": "Hit from cloudfront"}])
async def test_a_reply_out_of_a_cache_is_destroyed(
    make: Make, kind: str, header: dict[str, str]
) -> None:
    def cached(seen: Seen) -> Response:
        response = good()[kind](seen)
        response.headers.update(header)
        return response

    async with serving(cached) as server:
        with pytest.raises(SourceReplyError, match="cache"):
            await make(kind, server.url).fetch(64)


@pytest.mark.parametrize("kind", good())
async def test_a_simulated_reply_is_refused_off_devnets(make: Make, kind: str) -> None:
    def simulated(seen: Seen) -> Response:
        response = good()[kind](seen)
        response.headers["X-Entropy-Simulated"] = "1"
        return response

    async with serving(simulated) as server:
        with pytest.raises(SimulatedEntropyError):
            await make(kind, server.url).fetch(64)
        # The vendors' numbers depend on the request alone: only what is marked differs.
        fresh = make(kind, server.url, allow_simulated=True)
        assert (await fresh.fetch(64)).simulated


@pytest.mark.parametrize("kind", good())
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed_with_credentials(
    make: Make, kind: str, status: int
) -> None:
    async with serving(good()[kind]) as thief:
        error = await refused(make, kind, always(lambda: RedirectResponse(thief.url, status)))
    assert type(error) is SourceReplyError
    assert thief.seen == []


@pytest.mark.parametrize("kind", good())
async def test_an_endless_reply_is_cut_off(make: Make, kind: str) -> None:
    error = await refused(make, kind, always(lambda: Response(b" " * 3_000_000)))
    assert type(error) is SourceReplyError
    assert "longer than" in str(error)


SHAPES: dict[str, Callable[[bytes], Any]] = {
    "anu": lambda data: {
        "success": True,
        "type": "hex16",
        "length": str(len(data) // 20),
        "data": [data[at : at + 20].hex() for at in range(0, len(data), 20)],
    },
    "anu-legacy": lambda data: {
        "success": True,
        "type": "hex16",
        "length": 2,
        "size": 64,
        "data": [data[at : at + 64].hex() for at in range(0, len(data), 64)],
    },
    "qrng-open-api": lambda data: {"entropy": [base64.b64encode(data).decode()]},
    "qrypt": lambda data: {
        "random": [
            base64.b64encode(data[at : at + 1024]).decode() for at in range(0, len(data), 1024)
        ]
    },
    "qci": list,
    "lfd": lambda data: {"qrn": data.hex(), "length": 128},
    "quandela": lambda data: {"jobs": [{"bytes": base64.b64encode(data).decode()}]},
    "outshift": lambda data: {
        "random_numbers": [
            {"decimal": str(int.from_bytes(data[at : at + 64], "big"))}
            for at in range(0, len(data), 64)
        ]
    },
}
#: What a draw of 128 bytes brings.
EXACT = {"anu": 140, "qrypt": 1024}


@pytest.mark.parametrize("kind", SHAPES)
async def test_bytes_arrive_in_the_vendors_order(make: Make, kind: str) -> None:
    data = quantum(EXACT.get(kind, 128))
    answer = behind_the_token(kind, always(lambda: reply(SHAPES[kind](data))))
    async with serving(answer) as server:
        assert (await make(kind, server.url).fetch(128)).data == data


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:-64],
        lambda data: data + quantum(64, "more"),
        lambda data: bytes(len(data)),
        lambda data: b"\xff" * len(data),
        lambda data: data[: len(data) // 2] * 2,
        lambda data: data[:-32] + data[:32],
    ],
    ids=["empty", "short", "long", "zero", "ones", "twice", "end-is-start"],
)
async def test_a_draw_that_is_not_what_it_should_be_is_destroyed(
    make: Make, kind: str, change: Callable[[bytes], bytes]
) -> None:
    data = change(quantum(EXACT.get(kind, 128)))
    error = await refused(make, kind, always(lambda: reply(SHAPES[kind](data))))
    # What the vendor says where it has nothing may also be an empty success.
    assert isinstance(error, SourceReplyError | SourceUnavailableError)
    assert data == b"" or isinstance(error, SourceReplyError)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(
    "content", [None, [], {}, 7, "text", {"data": {}}, [True] * 128, {"entropy": [3]}, [256] * 128]
)
async def test_another_shape_is_destroyed(make: Make, kind: str, content: Any) -> None:
    error = await refused(make, kind, always(lambda: reply(content)))
    assert isinstance(error, SourceReplyError | SourceUnavailableError)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data": [', b"[" * 50_000, b"\xff\xfe"])
async def test_a_text_that_is_no_json_is_never_entropy(make: Make, kind: str, body: bytes) -> None:
    error = await refused(make, kind, always(lambda: Response(body)))
    assert isinstance(error, SourceReplyError | SourceUnavailableError)


@pytest.mark.parametrize("kind", ["qrng-open-api", "qrypt", "quandela"])
@pytest.mark.parametrize(
    "change", [lambda t: t + "=", lambda t: "-" + t[1:], lambda t: t + "\n", lambda t: " " + t]
)
async def test_base64_is_strict(make: Make, kind: str, change: Callable[[str], str]) -> None:
    data = b"\xff" + quantum(EXACT.get(kind, 128) - 1)
    content = SHAPES[kind](data)
    [name] = content
    item = content[name][0]
    if isinstance(item, dict):
        item["bytes"] = change(item["bytes"])
    else:
        content[name][0] = change(item)
    error = await refused(make, kind, always(lambda: reply(content)))
    assert type(error) is SourceReplyError


def status(code: int, content: Any = None, **headers: str) -> Answer:
    return always(lambda: reply(content, code, headers))


def later(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


NEVER = {"resets": None}
#: What a vendor's refusal means to it.
MEANINGS: list[tuple[str, Answer, type[SourceError], dict[str, Any]]] = [
    ("anu", status(403, {"message": "Forbidden"}), SourceCredentialsError, {}),
    ("anu", status(400, {"success": False}), SourceReplyError, {}),
    ("anu", status(429, {"message": "Too Many Requests"}), SourceThrottledError, {"after": 1}),
    ("anu", status(429, {"message": "Limit Exceeded"}), SourceQuotaError, {"resets": "month"}),
    ("anu", status(200, {"success": False}), SourceUnavailableError, {}),
    ("anu", status(502), SourceUnavailableError, {}),
    ("anu-legacy", always(anu.limited), SourceThrottledError, {"after": 61}),
    ("anu-legacy", always(lambda: text("database down", 500)), SourceUnavailableError, {}),
    ("anu-legacy", status(200, {"success": False}), SourceUnavailableError, {}),
    ("anu-legacy", always(lambda: text("sorry", 200)), SourceUnavailableError, {}),
    ("qrng-open-api", status(422), SourceReplyError, {}),
    ("qrng-open-api", status(503), SourceUnavailableError, {}),
    ("qrng-open-api", status(503, **later(30)), SourceThrottledError, {"after": 30}),
    ("qrng-open-api", status(401), SourceCredentialsError, {}),
    ("qrng-open-api", status(403), SourceCredentialsError, {}),
    ("qrng-open-api", status(500), SourceUnavailableError, {}),
    ("qrypt", status(400), SourceReplyError, {}),
    ("qrypt", status(401), SourceCredentialsError, {}),
    ("qrypt", status(403), SourceQuotaError, {"resets": None}),
    ("qrypt", status(429), SourceThrottledError, {"after": 10}),
    ("qrypt", status(500), SourceUnavailableError, {}),
    ("qrypt", status(503), SourceUnavailableError, {}),
    ("qci", status(401), SourceCredentialsError, {}),
    ("qci", status(403), SourceQuotaError, {"resets": "month"}),
    ("qci", status(429), SourceQuotaError, {"resets": "month"}),
    ("qci", status(429, **later(5)), SourceThrottledError, {"after": 10}),
    ("qci", status(422), SourceReplyError, {}),
    ("qci", status(503), SourceUnavailableError, {}),
    ("lfd", status(200, {"error": "length param out of bounds"}), SourceReplyError, {}),
    ("lfd", status(200, {"error": "Failed to open device"}), SourceUnavailableError, {}),
    ("lfd", status(500, {"error": "Failed to read device"}), SourceUnavailableError, {}),
    ("quandela", status(400), SourceReplyError, {}),
    ("quandela", status(422), SourceReplyError, {}),
    ("quandela", status(401, {"detail": "Invalid job token"}), SourceCredentialsError, {}),
    ("quandela", status(401, {"detail": "Not enough credits"}), SourceQuotaError, NEVER),
    ("quandela", status(403), SourceCredentialsError, {}),
    ("quandela", status(404, {"detail": "Entropy Pool empty"}), SourceUnavailableError, {}),
    ("quandela", status(404, {"detail": "Not Found"}), SourceReplyError, {}),
    ("outshift", status(401), SourceCredentialsError, {}),
    ("outshift", status(403), SourceCredentialsError, {}),
    ("outshift", status(422), SourceReplyError, {}),
    ("outshift", status(429, {"message": "daily limit"}), SourceQuotaError, {"resets": "day"}),
    ("outshift", status(500), SourceUnavailableError, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "answer", "meaning", "more"),
    MEANINGS,
    ids=[f"{kind}-{at}" for at, (kind, *_) in enumerate(MEANINGS)],
)
async def test_a_refusal_means_what_the_vendor_means(
    make: Make, kind: str, answer: Answer, meaning: type[SourceError], more: dict[str, Any]
) -> None:
    error = await refused(make, kind, answer)
    assert type(error) is meaning
    if isinstance(error, SourceThrottledError):
        assert error.retry_after == more["after"]
    if isinstance(error, SourceQuotaError):
        days = {"day": 1, "month": 31, None: None}[more["resets"]]
        if days is None:
            assert error.resets_at is None
        else:
            assert error.resets_at is not None
            assert 0 < (error.resets_at - datetime.now(UTC)).total_seconds() <= days * 86_400


async def test_a_server_that_is_gone_is_unavailable(make: Make) -> None:
    async with serving(anu.legacy) as server:
        pass
    for kind in good():
        with pytest.raises(SourceUnavailableError):
            await make(kind, server.url).fetch(64)


# The traps of the vendors, one by one.


@pytest.mark.parametrize("prefix", ["", "/v1", "/api/v1", "/api/v1/"])
async def test_trap_the_prefix_differs_between_vendors_of_one_api(make: Make, prefix: str) -> None:
    async with serving(qrng_open_api.server()) as server:
        await make("qrng-open-api", server.url + prefix).fetch(64)
    assert [seen.path for seen in server.seen] == [
        prefix.rstrip("/") + "/capabilities",
        prefix.rstrip("/") + "/entropy",
    ]


async def test_trap_hex16_counts_bytes_in_one_api_and_pairs_of_bytes_in_the_other(
    make: Make,
) -> None:
    async with serving(anu.legacy) as server:
        old = await make("anu-legacy", server.url).fetch(64)
    async with serving(anu.quantum_numbers) as server_of_new:
        new = await make("anu", server_of_new.url).fetch(20)
    assert (server.seen[0].query["size"], len(old.data)) == ("64", 64)
    assert (server_of_new.seen[0].query["size"], len(new.data)) == ("10", 20)
    # Each refuses what the other would answer.
    async with serving(anu.quantum_numbers) as server:
        with pytest.raises(SourceReplyError):
            await make("anu-legacy", server.url).fetch(64)


async def test_trap_length_is_a_text_and_success_may_be_empty(make: Make) -> None:
    content = {"success": True, "type": "hex16", "length": "1", "data": []}
    assert type(await refused(make, "anu", status(200, content))) is SourceUnavailableError
    content["data"] = [quantum(20).hex()]
    async with serving(status(200, content)) as server:
        assert (await make("anu", server.url).fetch(20)).data == quantum(20)


async def test_trap_a_rate_limit_may_be_a_server_error(make: Make) -> None:
    error = await refused(make, "anu-legacy", always(anu.limited))
    assert isinstance(error, SourceThrottledError)
    assert error.retry_after >= 60


async def test_trap_403_is_quota_here_and_credentials_there(make: Make) -> None:
    assert type(await refused(make, "qrypt", status(403))) is SourceQuotaError
    assert type(await refused(make, "anu", status(403))) is SourceCredentialsError


async def test_trap_an_error_may_come_with_status_200(make: Make) -> None:
    broke = {"error": "Not Found", "message": "Wrong key", "status": 404}
    recipe = Recipe(
        path="{key}/qbck/block/hex",
        query={"size": "{items}", "length": "32"},
        data="data.result[]",
        encoding="hex",
        item_bytes=32,
        expect={"error": "OK"},
        errors=(ErrorRule(contains="wrong key", meaning="credentials"),),
    )
    fine = {"data": {"result": ["0x" + quantum(32).hex()]}, "error": "OK"}
    async with serving(in_turn(always(lambda: reply(broke)), status(200, fine))) as server:
        source = make("lfd", server.url, recipe=recipe, api_key=KEY)
        with pytest.raises(SourceCredentialsError) as caught:
            await source.fetch(32)
        assert KEY not in str(caught.value)
        assert (await source.fetch(32)).data == quantum(32)
    assert server.seen[0].path == f"/{KEY}/qbck/block/hex"


async def test_trap_json_is_posted_as_json(make: Make) -> None:
    async with serving(qrng_open_api.server()) as server:
        await make("qrng-open-api", server.url).fetch(32)
    assert server.seen[1].headers["content-type"] == "application/json"
    assert server.seen[1].json() == {
        "block_size": 32,
        "block_count": 1,
        "entropy_type": "quantum",
    }


async def test_trap_leading_zeros_keep_their_place(make: Make) -> None:
    async with serving(json_http.outshift) as server:
        sample = await make("outshift", server.url).fetch(128)
    assert sample.data[:3] == bytes(2) + quantum(62)[:1]
    assert len(sample.data) == 128


@pytest.mark.parametrize(
    ("encoding", "items", "data"),
    [
        ("binary", ["101", "0"], b"\x00\x05\x00\x00"),
        ("decimal", ["258", "65535"], b"\x01\x02\xff\xff"),
        ("integer", [258, 0], b"\x01\x02\x00\x00"),
        ("hex", ["0xabcd", "00Ff"], b"\xab\xcd\x00\xff"),
        ("base64", ["q80=", "AP8="], b"\xab\xcd\x00\xff"),
    ],
)
async def test_every_encoding_has_a_fixed_width(
    make: Make, encoding: Any, items: list[Any], data: bytes
) -> None:
    recipe = Recipe(data="a.b[].c", encoding=encoding, item_bytes=2)
    content = {"a": {"b": [{"c": item} for item in items]}}
    async with serving(always(lambda: reply(content))) as server:
        assert (await make("lfd", server.url, recipe=recipe).fetch(4)).data == data


@pytest.mark.parametrize(
    ("encoding", "item"),
    [
        ("binary", "2"), ("binary", "1" * 17), ("binary", ""), ("binary", "0b1"), ("binary", 1),
        ("decimal", "65536"), ("decimal", "-1"), ("decimal", "1e3"), ("decimal", "\u0661"),
        ("decimal", ""), ("decimal", "1_0"), ("decimal", "9" * 4001), ("decimal", 7),
        ("integer", "7"), ("integer", 65536), ("integer", -1), ("integer", True),
        ("integer", 7.0), ("integer", None),
        ("hex", "abc"), ("hex", "ab cd"), ("hex", "abcdef"), ("hex", "ab"), ("hex", None),
        ("base64", "q80"), ("base64", "q81="), ("base64", "q80=\n"), ("base64", "q807"),
    ],
    ids=lambda value: str(value)[:12],
)  # fmt: skip
async def test_an_item_outside_its_width_or_alphabet_is_destroyed(
    make: Make, encoding: Any, item: Any
) -> None:
    recipe = Recipe(data="x[]", encoding=encoding, item_bytes=2)
    async with serving(always(lambda: reply({"x": [item]}))) as server:
        with pytest.raises(SourceReplyError):
            await make("lfd", server.url, recipe=recipe).fetch(2)


def test_a_recipe_without_a_width_is_refused_where_zeros_get_lost(make: Make) -> None:
    with pytest.raises(ConfigError, match="item_bytes"):
        make("lfd", "http://localhost", recipe=Recipe(data="x[]", encoding="decimal"))


async def test_quandela_joins_all_jobs_and_keeps_what_they_say(make: Make) -> None:
    async with serving(json_http.quandela) as server:
        sample = await make("quandela", server.url).fetch(200)
    assert sample.data == quantum(200)
    assert sample.provenance["jobs[].chsh"] == [2.7, 2.6]
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


async def test_what_a_vendor_says_at_length_is_not_kept(make: Make) -> None:
    answer = qrng_open_api.server(extensions=[{"note": "x" * 10_000}])
    async with serving(answer) as server:
        sample = await make("qrng-open-api", server.url).fetch(64)
    assert "extensions" not in sample.provenance


async def test_credentials_are_trimmed_before_they_are_sent(make: Make, client: Any) -> None:
    async with serving(json_http.quandela) as server:
        from oracle.entropy.json_http import QUANDELA  # noqa: PLC0415

        source = JsonHttp(
            client=client,
            base_url=server.url,
            recipe=QUANDELA,
            api_key=f" {KEY},\r\n",
            allow_simulated=False,
        )
        await source.fetch(64)
    # Some keys do end in a comma.
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY},"


async def test_a_draw_that_is_given_up_leaves_the_source_usable(make: Make) -> None:
    async with serving(qci.Uqrng()) as server:
        source = make("qci", server.url)
        task = asyncio.create_task(source.fetch(64))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len((await source.fetch(64)).data) == 64
