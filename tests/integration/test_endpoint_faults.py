"""
What one endpoint can do wrong, seen through a real HTTP proxy: each is an error that says so, and
none of them shows the key in its URL.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from oracle.chain import reader as chain_reader
from oracle.chain.failover import Endpoint
from oracle.chain.sender import Verdict, Web3Sender
from oracle.devnet.network import CHAIN_ID
from oracle.errors import (
    AnsweredError,
    EndpointError,
    InconsistentChainError,
    OtherChainError,
    PrunedError,
    ThrottledError,
    UnreachableError,
)
from tests.hostile import (
    KEY,
    Proxy,
    dropping,
    edited,
    hostile,
    page,
    says,
    silent,
    status,
    truncated,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.devnet.network import Ground
    from tests.hostile import Fault

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

ADDRESS = "0x" + "11" * 20


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(ground: Ground) -> AsyncIterator[Proxy]:
    async with hostile(ground.rpc_url) as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    monkeypatch.setattr(chain_reader, "TIMEOUT", 0.5)
    endpoint = Endpoint(proxy.url, CHAIN_ID)
    yield endpoint
    await endpoint.close()


FAULTS: list[tuple[str, Fault, type[EndpointError], str]] = [
    ("timing out", silent, EndpointError, "does not answer within"),
    ("dropping connections", dropping, UnreachableError, "cannot be reached"),
    ("throttling", status(429), ThrottledError, "asked less"),
    ("throttling in words", says("Too Many Requests"), ThrottledError, "asked less"),
    ("broken", status(502), EndpointError, "status 502"),
    ("refusing the key", status(401), EndpointError, "status 401"),
    ("returning a page", page, EndpointError, "malformed"),
    ("truncating", truncated, EndpointError, "malformed"),
    ("quoting its URL", says(f"bad http://rpc.example/v2/{KEY} here"), AnsweredError, "bad"),
    ("quoting its key", says(f"unknown key {KEY}"), AnsweredError, "unknown key"),
    ("pruned", says("missing trie node 17 (path )"), PrunedError, "archive node"),
]


@pytest.mark.parametrize(
    ("fault", "kind", "said"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS]
)
async def test_what_an_endpoint_does_wrong_is_named_and_its_key_is_not(
    proxy: Proxy, endpoint: Endpoint, fault: Fault, kind: type[EndpointError], said: str
) -> None:
    proxy.fault = fault
    for ask in (
        endpoint.block,
        lambda: endpoint.logs(ADDRESS, 0, 1),
        lambda: endpoint.call(ADDRESS, b"\1\2\3\4"),
        lambda: endpoint.receipt(bytes(32)),
    ):
        with pytest.raises(kind, match=said) as raised:
            await ask()
        assert KEY not in str(raised.value)
        assert proxy.name.removeprefix("http://") in str(raised.value)
        # Nobody who prints the whole chain of errors sees more.
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
    proxy.mend()
    assert (await endpoint.block()).number >= 0


async def test_a_pause_that_is_asked_for_is_passed_on(proxy: Proxy, endpoint: Endpoint) -> None:
    proxy.fault = status(429, Retry_After="7")
    with pytest.raises(ThrottledError) as raised:
        await endpoint.block()
    assert raised.value.retry_after == 7
    assert endpoint.health.strikes == 1


async def test_logs_that_were_not_asked_for_are_an_error(
    proxy: Proxy, endpoint: Endpoint, ground: Ground
) -> None:
    coordinator = ADDRESS
    log = {
        "address": coordinator,
        "topics": [],
        "data": "0x",
        "blockNumber": "0x1",
        "blockHash": "0x" + "22" * 32,
        "transactionHash": "0x" + "33" * 32,
        "transactionIndex": "0x0",
        "logIndex": "0x0",
        "removed": False,
    }
    for wrong in ({"blockNumber": "0x9"}, {"address": "0x" + "44" * 20}):
        told = [{**log, **wrong}]
        proxy.fault = edited("eth_getLogs", partial(_instead, told))
        with pytest.raises(InconsistentChainError, match="not asked for"):
            await endpoint.logs(coordinator, 0, 2)
    # What a reorg has removed is not there any more.
    proxy.fault = edited("eth_getLogs", lambda *_: [{**log, "removed": True}])
    assert await endpoint.logs(coordinator, 0, 2) == []


def _instead(told: object, *_: object) -> object:
    return told


async def test_a_null_receipt_is_none(proxy: Proxy, endpoint: Endpoint) -> None:
    proxy.fault = edited("eth_getTransactionReceipt", lambda *_: None)
    assert await endpoint.receipt(bytes(32)) is None
    # A receipt of a transaction that is not mined yet, as some endpoints show it.
    proxy.fault = edited("eth_getTransactionReceipt", lambda *_: {"blockNumber": None})
    assert await endpoint.receipt(bytes(32)) is None


async def test_an_endpoint_that_turns_into_another_chain_is_asked_nothing_more(
    proxy: Proxy, endpoint: Endpoint, ground: Ground
) -> None:
    await endpoint.block()
    asked = proxy.asked["eth_chainId"]
    await endpoint.block()
    assert proxy.asked["eth_chainId"] == asked

    proxy.fault = edited("eth_chainId", lambda *_: "0x1")
    await ground.reader.rpc("anvil_mine", "0x2")
    with capture_logs() as events, pytest.raises(OtherChainError, match="serves chain 1"):
        await endpoint.block()
    [told] = [event for event in events if event["event"] == "endpoint_refused"]
    assert told["log_level"] == "error"
    assert told["endpoint"] == proxy.name
    assert KEY not in str(events)
    proxy.mend()
    counted = proxy.asked.total()
    with pytest.raises(OtherChainError):
        await endpoint.block()
    with pytest.raises(OtherChainError):
        await endpoint.call(ADDRESS, b"")
    assert proxy.asked.total() == counted


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("already known", Verdict.KNOWN),
        ("nonce too low: next nonce 7, tx nonce 3", Verdict.STALE),
        ("replacement transaction underpriced", Verdict.UNDERPRICED),
        ("insufficient funds for gas * price + value", Verdict.UNFUNDED),
        ("exceeds block gas limit", Verdict.REFUSED),
        ("too many requests", Verdict.UNANSWERED),
    ],
)
async def test_what_is_said_to_signed_bytes_is_understood(
    proxy: Proxy, endpoint: Endpoint, words: str, verdict: Verdict
) -> None:
    proxy.fault = says(f"{words}, key {KEY}")
    told, shown = await Web3Sender(endpoint).broadcast(b"signed")
    assert told is verdict
    assert KEY not in shown
