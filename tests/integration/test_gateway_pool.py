"""
The gateway on a real pool, over HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import func, select

from oracle.devnet.processes import free_port
from oracle.gateway.app import create_app
from oracle.gateway.pool_desk import RESERVE_BLOCKS, PoolDesk
from oracle.gateway.server import serve
from oracle.store import clients
from oracle.store.clients import Rate
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.schema import blocks
from oracle.store.seal import EpochFile, PoolKey
from tests.factories import make_block, make_seed
from tests.migrated import lay_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.database_url import DatabaseUrl

pytestmark = pytest.mark.integration

BLOCKS = 600
OPEN_API = "/qrng-open-api/v1"
LEGACY = "/anu/API/jsonI.php?length=1&type=uint8"


class Gateway:
    """
    A gateway in this process, on a file that outlives it.
    """

    def __init__(self, folder: Path, database: DatabaseUrl | None = None) -> None:
        self.path = database or folder / "gateway.db"
        self.epoch = EpochFile(folder / "epoch")
        self.client: httpx.AsyncClient
        self.database: Database
        self.pool: Pool
        self.desk: PoolDesk

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        if isinstance(self.path, Path) and not self.path.exists():
            lay_database(self.path)
        self.database = await Database.open(self.path, Access.SOLE)
        self.pool = Pool(PoolKey(bytes(32)), self.epoch)
        assert await self.pool.unlock(self.database) == 0
        self.desk = desk = PoolDesk(
            self.database, self.pool, target_blocks=BLOCKS, simulated=False
        )
        port = free_port()
        tasks = [
            asyncio.create_task(serve(create_app(desk), "127.0.0.1", port)),
            asyncio.create_task(desk.run()),
        ]
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=50),
        )
        try:
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        await self.client.get("/healthz")
                        break
                    await asyncio.sleep(0.01)
            yield
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await self.client.aclose()
            await self.database.close()

    async def fill(self, count: int = BLOCKS, start: int = 0) -> None:
        async with self.database.write() as tx:
            await self.pool.add(tx, [make_block(at) for at in range(start, start + count)])

    async def key(
        self,
        *scopes: str,
        name: str = "ci",
        rate: Rate | None = None,
        quota_bytes: int | None = None,
    ) -> dict[str, str]:
        """
        Create a client and return the headers that show its key.
        """
        async with self.database.write() as tx:
            key = await clients.create(tx, name, scopes, rate=rate, quota_bytes=quota_bytes)
        # It may believe for a second that it knows all clients.
        self.desk._clients_at = float("-inf")
        return {} if key is None else {"Authorization": f"Bearer {key}", "x-api-key": key}

    async def fresh(self) -> int:
        async with self.database.read() as connection:
            return await self.pool.fresh(connection)

    async def draw(
        self, headers: dict[str, str], size: int = 32, count: int = 1
    ) -> httpx.Response:
        return await self.client.post(
            f"{OPEN_API}/entropy",
            json={"block_size": size, "block_count": count},
            headers=headers,
        )


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path)
    async with gateway.open():
        yield gateway


def blocks_of(replies: list[httpx.Response]) -> list[bytes]:
    return [
        base64.b64decode(block)
        for reply in replies
        if reply.is_success
        for block in reply.json()["entropy"]
    ]


async def test_fifty_clients_empty_the_pool_and_no_two_get_the_same(gateway: Gateway) -> None:
    await gateway.fill()
    headers = await gateway.key("qrng-open-api")
    replies: list[httpx.Response] = []

    async def client() -> None:
        replies.extend([await gateway.draw(headers) for _ in range(BLOCKS // 50 + 1)])

    await asyncio.gather(*(client() for _ in range(50)))
    assert sorted(blocks_of(replies)) == sorted(make_seed(number) for number in range(BLOCKS))
    assert [reply.status_code for reply in replies].count(503) == 50


async def test_what_is_left_of_a_block_goes_to_nobody(gateway: Gateway) -> None:
    await gateway.fill(4)
    headers = await gateway.key("qrng-open-api")
    replies = [await gateway.draw(headers, 33), await gateway.draw(headers, 1)]
    assert blocks_of(replies) == [make_seed(0) + make_seed(1)[:1], make_seed(2)[:1]]


async def test_reply_that_cannot_be_given_whole_takes_nothing(gateway: Gateway) -> None:
    await gateway.fill(10)
    headers = await gateway.key("qrng-open-api")
    large, small = await asyncio.gather(gateway.draw(headers, 352), gateway.draw(headers, 320))
    assert (large.status_code, small.status_code) == (503, 200)


async def test_restarted_gateway_serves_what_nobody_had(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    async with gateway.open():
        await gateway.fill()
        headers = await gateway.key("qrng-open-api")
        before = blocks_of([await gateway.draw(headers) for _ in range(5)])
    async with gateway.open():
        after = blocks_of([await gateway.draw(headers) for _ in range(5)])
        async with gateway.database.read() as connection:
            erased = await connection.scalar(
                select(func.count()).where(blocks.c.ciphertext.is_(None))
            )
    assert len({*before, *after}) == 10
    # What the first one reserved is gone, served or not.
    assert erased == RESERVE_BLOCKS + 5


async def test_head_and_refused_requests_take_nothing(gateway: Gateway) -> None:
    await gateway.fill(8)
    headers = await gateway.key("anu", "qrypt")
    for path in ("/anu?length=4&type=uint8", "/qrypt/api/v1/quantum-entropy?size=1"):
        assert (await gateway.client.head(path, headers=headers)).status_code == 200
        assert (await gateway.client.get(path)).status_code in (401, 403)
    assert await gateway.fresh() == 8


async def test_key_opens_its_dialects_and_no_other(gateway: Gateway) -> None:
    await gateway.fill(64)
    headers = await gateway.key("anu")
    assert (await gateway.client.get("/anu?length=1&type=uint8", headers=headers)).is_success
    assert (await gateway.draw(headers)).status_code == 401
    assert (await gateway.client.get(LEGACY)).status_code == 403


async def test_revoked_key_draws_nothing_more(gateway: Gateway) -> None:
    await gateway.fill(64)
    headers = await gateway.key("qrng-open-api")
    assert (await gateway.draw(headers)).is_success
    async with gateway.database.write() as tx:
        await clients.revoke(tx, "ci")
    # At once, though the gateway may not have looked at its clients again.
    assert (await gateway.draw(headers)).status_code == 401


async def test_quota_is_exact_under_concurrency(gateway: Gateway) -> None:
    await gateway.fill()
    headers = await gateway.key("qrng-open-api", quota_bytes=330)
    replies = await asyncio.gather(*(gateway.draw(headers) for _ in range(50)))
    assert len(blocks_of(replies)) == 10
    refused = next(reply for reply in replies if not reply.is_success)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 31 * 86_400
    # Smaller draws still fit.
    assert (await gateway.draw(headers, 10)).is_success
    assert not (await gateway.draw(headers, 1)).is_success


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        ("anu", "GET", "/anu?length=1&type=uint8", 429),
        ("anu-legacy", "GET", LEGACY, 500),
        ("qrypt", "GET", "/qrypt/api/v1/quantum-entropy", 429),
        ("qrng-open-api", "POST", f"{OPEN_API}/entropy", 429),
    ],
)
async def test_rate_is_answered_as_the_dialect_answers_it(
    gateway: Gateway, scope: str, method: str, path: str, status: int
) -> None:
    await gateway.fill(256)
    headers = await gateway.key(scope, rate=Rate(2, 3600))
    body: Any = {"block_size": 1} if method == "POST" else None
    codes = [
        (await gateway.client.request(method, path, headers=headers, json=body)).status_code
        for _ in range(3)
    ]
    assert codes == [200, 200, status]


async def test_keyless_clients_are_let_in_only_where_an_operator_says_so(
    gateway: Gateway,
) -> None:
    await gateway.fill(64)
    await gateway.key("anu-legacy", name="anonymous", rate=Rate(1, 60))
    assert (await gateway.client.get(LEGACY)).json()["success"] is True
    again = await gateway.client.get(LEGACY)
    assert (again.status_code, "1 requests per minute" in again.text) == (500, True)
    assert (await gateway.draw({})).status_code == 401


async def test_qci_tokens_die_with_their_key(gateway: Gateway) -> None:
    await gateway.fill(64)
    key = (await gateway.key("qci"))["x-api-key"]
    reply = await gateway.client.post("/qci/auth/v1/access-tokens", json={"refresh_token": key})
    bearer = {"Authorization": f"Bearer {reply.json()['access_token']}"}
    body = {
        "distribution": "uniform_discrete",
        "output_type": "decimal",
        "n_samples": 40,
        "n_bits": 8,
    }

    async def numbers() -> httpx.Response:
        return await gateway.client.post("/qci/qrng/random_numbers", json=body, headers=bearer)

    assert bytes((await numbers()).json()) == (make_seed(0) + make_seed(1))[:40]
    days = {"start_date": "2000-01-01", "end_date": "2999-12-31"}
    usage = await gateway.client.post("/qci/qrng/usage", json=days, headers=bearer)
    assert usage.json() == {"n_bits": 320}
    async with gateway.database.write() as tx:
        await clients.revoke(tx, "ci")
    assert (await numbers()).status_code == 401
