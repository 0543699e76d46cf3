"""
A vendor that says that its entropy is bad is believed.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from oracle.entropy.qrng_open_api import QrngOpenApi
from oracle.steps.refill import refill
from oracle.store.sources import SourceState
from oracle.supplies import Supplies
from oracle.supply import Supply
from tests.gateway import KEY, CountingDesk
from tests.supplied import Clock, fresh, record, rows
from tests.vendors.qrng_open_api import QRYPT_APPLIANCE, QUSIDE_ENTROPY_CORE, server
from tests.vendors.server import Seen, reply, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.store.seal import PoolKey

from oracle.gateway.app import create_app
from oracle.store.schema import draws

pytestmark = pytest.mark.store


class Vendor:
    """
    A server of the QRNG Open API whose own health test says what it is told.
    """

    def __init__(self) -> None:
        self.health: Any = 0.97
        self.health_status = 200
        self.capabilities = QUSIDE_ENTROPY_CORE

    def __call__(self, seen: Seen) -> Response:
        if seen.path.endswith("/healthtest") and self.health_status != 200:
            return reply({}, self.health_status)
        return server(self.capabilities, health=self.health)(seen)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=False) as client:
        yield client


def supplies_of(source: QrngOpenApi, key: PoolKey, clock: Clock) -> Supplies:
    supply = Supply(source, vendor="vendor", digest=key.digest, clock=clock)
    return Supplies([supply], per_seed=1)


def source_of(client: httpx.AsyncClient, url: str) -> QrngOpenApi:
    return QrngOpenApi(client=client, base_url=url, allow_simulated=False, name="open")


async def test_a_failed_vendor_test_is_quarantine_and_is_asked_for_every_hour(
    database: Database, pool: Pool, key: PoolKey, client: httpx.AsyncClient
) -> None:
    vendor, clock = Vendor(), Clock()
    async with serving(vendor) as running:
        supplies = supplies_of(source_of(client, running.url), key, clock)

        def asked() -> int:
            return sum(seen.path.endswith("/healthtest") for seen in running.seen)

        assert (await refill(database, pool, supplies, 20)).blocks == 20
        assert (await refill(database, pool, supplies, 41)).blocks == 21
        assert asked() == 1
        made = len(await rows(database, draws))
        vendor.health = 0.1
        clock.now += 3600
        assert (await refill(database, pool, supplies, 63)).blocks == 0
        # Nothing was drawn, and nothing of before is used.
        assert (asked(), len(await rows(database, draws)), supplies.all[0].stock) == (2, made, 0)
        known = await record(database, "open")
        assert (known.state, known.reason) == (SourceState.QUARANTINED, "unhealthy")
        assert known.advice is not None
        assert "the vendor's own health test says error (H-min)" in known.advice
        clock.now += 601
        assert (await refill(database, pool, supplies, 63)).blocks == 0
        vendor.health = 0.97
        clock.now += 1201
        assert (await refill(database, pool, supplies, 63)).blocks == 22
        assert (await record(database, "open")).state is SourceState.READY


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"health": 0.92}, (4, SourceState.READY)),  # a warning
        ({"health_status": 404}, (4, SourceState.READY)),  # advertised, and not served
        ({"capabilities": QRYPT_APPLIANCE}, (4, SourceState.READY)),  # not advertised
        ({"health_status": 503}, (0, SourceState.WAITING)),
    ],
)
async def test_what_is_no_failed_test_is_no_quarantine(
    database: Database,
    pool: Pool,
    key: PoolKey,
    client: httpx.AsyncClient,
    told: dict[str, Any],
    expected: tuple[int, SourceState],
) -> None:
    vendor = Vendor()
    for name, value in told.items():
        setattr(vendor, name, value)
    async with serving(vendor) as running:
        supplies = supplies_of(source_of(client, running.url), key, Clock())
        blocks = (await refill(database, pool, supplies, 4)).blocks
    assert (blocks, (await record(database, "open")).state) == expected


async def test_a_gateway_that_is_nearly_empty_is_no_bad_source(
    database: Database, pool: Pool, key: PoolKey
) -> None:
    class LowDesk(CountingDesk):
        async def level(self) -> float:
            return 0.001

        async def draw(self, n_bytes: int) -> bytes:
            self.drawn.append(n_bytes)
            return fresh(n_bytes, len(self.drawn))

    async with AsyncExitStack() as stack:
        transport = httpx.ASGITransport(create_app(LowDesk(), faults=False))
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport))
        source = QrngOpenApi(
            client=client,
            base_url="http://localhost/qrng-open-api",
            allow_simulated=False,
            name="open",
            api_key=KEY,
        )
        [low] = await source.self_test()
        assert (low.verdict, low.failed) == ("error", False)
        assert (await refill(database, pool, supplies_of(source, key, Clock()), 4)).blocks == 4
