"""
Every client against every dialect that our own gateway speaks to it: what arrives, and what each
fault makes of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from oracle.devnet.processes import free_port
from oracle.entropy.anu import AnuQuantumNumbers
from oracle.entropy.anu_legacy import AnuLegacy
from oracle.entropy.endpoint import next_month
from oracle.entropy.qci import Qci
from oracle.entropy.qrng_open_api import QrngOpenApi
from oracle.entropy.qrypt import Qrypt
from oracle.entropy.source import http_client
from oracle.store import sources as store
from oracle.store.engine import Access, Database
from oracle.store.schema import draws
from oracle.store.seal import PoolKey
from oracle.store.sources import SourceState
from oracle.supply import Supply
from tests.gateway_server import KEY, OneKey, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import httpx

    from oracle.entropy.source import EntropySource

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

NOW = float(int(datetime.now(UTC).timestamp()))
QUARANTINE = 600.0


def open_api(path: str, **credentials: Any) -> tuple[str, Callable[..., EntropySource]]:
    return path, lambda **given: QrngOpenApi(**credentials, **given)


#: Where each client finds its dialect, and how it is made.
CLIENTS: dict[str, tuple[str, Callable[..., EntropySource]]] = {
    "anu-legacy": ("/anu", AnuLegacy),
    "anu": ("/anu", lambda **given: AnuQuantumNumbers(api_key=KEY, **given)),
    "open-api": open_api("/qrng-open-api/v1", token=KEY),
    "open-api-qrypt-prefix": open_api("/qrng-open-api/api/v1", api_key=KEY),
    "open-api-no-prefix": open_api("/qrng-open-api", token=KEY),
    "qrypt": ("/qrypt/api/v1", lambda **given: Qrypt(token=KEY, reset_day=1, **given)),
    "qrypt-open-api": open_api("/qrypt/api/v1", token=KEY),
    "qci": ("/qci", lambda **given: Qci(refresh_token=KEY, **given)),
}


class Remembering(OneKey):
    """
    A simulator that remembers what it gave.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gave: list[bytes] = []

    def bytes_for(self, n_bytes: int, fault: str) -> bytes:
        self.gave.append(super().bytes_for(n_bytes, fault))
        return self.gave[-1]


@dataclass(frozen=True)
class Bench:
    """
    A gateway that listens, a database, and two clients: one waits, the other hardly does.
    """

    url: str
    gave: list[bytes]
    database: Database
    patient: httpx.AsyncClient
    hasty: httpx.AsyncClient

    def source(self, name: str, fault: str = "") -> EntropySource:
        path, make = CLIENTS[name]
        return make(
            client=self.hasty if fault.startswith("slow") else self.patient,
            base_url=f"{self.url}/faults/{fault}{path}" if fault else self.url + path,
            allow_simulated=True,
            name=f"{name} {fault}",
        )

    def supply(self, name: str, fault: str = "") -> Supply:
        digest = PoolKey(bytes(32)).digest
        supply = Supply(self.source(name, fault), vendor=name, digest=digest, clock=lambda: NOW)
        # A vendor's own health test would meet the fault first: here it is the draw that is tried.
        supply._vendor_test_due = NOW + 3600
        return supply

    async def draw(self, supply: Supply, n_bytes: int = 64) -> str:
        """
        Draw once; return the verdict that was written down.
        """
        async with self.database.write() as tx:
            round_id = await store.open_round(tx, 1, [supply.name])
        await supply.draw(self.database, round_id, n_bytes)
        async with self.database.read() as connection:
            return str(
                await connection.scalar(
                    select(draws.c.verdict).where(draws.c.round_id == round_id)
                )
            )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    desk = Remembering()
    path: Path = tmp_path_factory.mktemp("dialects") / "oracle.db"
    database = await Database.open(path, Access.NODE)
    async with (
        running(free_port(), desk) as url,
        http_client() as patient,
        http_client(0.2) as hasty,
    ):
        yield Bench(url, desk.gave, database, patient, hasty)
    await database.close()


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("n_bytes", [1, 1000, 10**6])
async def test_every_byte_arrives_as_it_was_given(bench: Bench, name: str, n_bytes: int) -> None:
    source = bench.source(name)
    sample = await source.fetch(n_bytes)
    assert sample.data == bench.gave[-1]
    assert len(sample.data) >= min(n_bytes, source.max_bytes)
    assert sample.simulated


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_good_draw_makes_a_source_ready(bench: Bench, name: str) -> None:
    supply = bench.supply(name)
    assert await bench.draw(supply) == "passed"
    assert supply.record.state is SourceState.READY
    data = bench.gave[-1]
    taken = [supply.take().data for _ in range(supply.stock)]
    assert taken == [data[at : at + 64] for at in range(0, len(data) - 63, 64)]


WAITING, REFUSED = SourceState.WAITING, SourceState.REFUSED
EXHAUSTED, QUARANTINED = SourceState.EXHAUSTED, SourceState.QUARANTINED
DOWN = (WAITING, "unavailable", 0.5)
MALFORMED = (WAITING, "malformed", 0.5)
UNHEALTHY = (QUARANTINED, "unhealthy", QUARANTINE)
WRONG_KEY = (REFUSED, "credentials", 600.0)
NEXT_MONTH = (EXHAUSTED, "quota", None)

#: What a fault makes of a source, and in which seconds it is asked again; where a client is not
#: named, the last entry holds.
FAULTS: dict[str, dict[str, tuple[SourceState, str, float | None]]] = {
    # One request a minute, one a second, thirty in ten seconds; the gateway says: after a second.
    "rate-limit": {
        "anu-legacy": (WAITING, "throttled", 61.0),
        "anu": (WAITING, "throttled", 1.0),
        "": (WAITING, "throttled", 10.0),
    },
    # The first API has one text for both; the open API has no status for it, but `Retry-After`.
    "quota": {
        "anu-legacy": (WAITING, "throttled", 61.0),
        "open-api": (WAITING, "throttled", 3600.0),
        "open-api-qrypt-prefix": (WAITING, "throttled", 3600.0),
        "open-api-no-prefix": (WAITING, "throttled", 3600.0),
        # Both APIs of Qrypt's say 403, which in the open one is a wrong key.
        "qrypt-open-api": WRONG_KEY,
        "": NEXT_MONTH,
    },
    "unavailable": {"": DOWN},
    "wrong-key": {"": WRONG_KEY},
    "slow:1": {"": DOWN},
    "short": {"": MALFORMED},
    "stuck-bits": {"": UNHEALTHY},
    "empty": {"anu-legacy": DOWN, "anu": DOWN, "": MALFORMED},
    "garbage": {"anu-legacy": DOWN, "": MALFORMED},
}


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_what_the_vendor_means_by_it_and_nothing_is_kept(
    bench: Bench, name: str, fault: str
) -> None:
    state, reason, pause = FAULTS[fault].get(name, FAULTS[fault][""])
    supply = bench.supply(name, fault)
    verdict = await bench.draw(supply)
    record = supply.record
    assert (record.state, record.reason) == (state, reason)
    assert record.until is not None
    expected = next_month().timestamp() - NOW if pause is None else pause
    assert supply.wait() == pytest.approx(expected, abs=0.001)
    assert verdict not in ("passed", "None")
    assert not supply.waiting_digests()
    async with bench.database.read() as connection:
        kept = await connection.execute(
            select(draws.c.received_at, draws.c.digest).where(draws.c.source == supply.name)
        )
    assert kept.all() == [(None, None)]


@pytest.mark.parametrize("name", CLIENTS)
async def test_the_second_reply_of_another_shape_is_quarantine(bench: Bench, name: str) -> None:
    supply = bench.supply(name, "short")
    await bench.draw(supply)
    assert supply.record.state is WAITING
    await bench.draw(supply)
    assert (supply.record.state, supply.wait()) == (QUARANTINED, QUARANTINE)


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_replay_is_quarantine_and_destroys_what_came_before(
    bench: Bench, name: str
) -> None:
    supply = bench.supply(name, "repeat")
    assert await bench.draw(supply) == "passed"
    assert supply.stock
    assert await bench.draw(supply) == "repeat"
    assert (supply.record.state, supply.wait()) == (QUARANTINED, QUARANTINE)
    assert not supply.waiting_digests()


async def test_an_access_token_that_stays_refused_is_wrong_credentials(bench: Bench) -> None:
    supply = bench.supply("qci", "expired-token")
    await bench.draw(supply)
    assert (supply.record.state, supply.record.reason) == (REFUSED, "credentials")
