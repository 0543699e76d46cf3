"""
What waited too long is destroyed and replaced; what was promised stays.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from oracle.entropy.source import Sample
from oracle.steps.refill import refill
from oracle.store import sources as store
from oracle.store.engine import now
from oracle.store.replies import Replies
from oracle.store.schema import blocks
from oracle.supplies import Supplies
from oracle.supply import Supply
from tests.databases import content_of
from tests.factories import CHAIN_ID, COORDINATOR, make_block, make_seed
from tests.supplied import fresh

if TYPE_CHECKING:
    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.store.seal import PoolKey

pytestmark = pytest.mark.store

HOUR = 3_600_000


class Giver:
    """
    A source that delivers at a time, now unless told otherwise.
    """

    name = "anu"
    max_bytes = 8192

    def __init__(self) -> None:
        self.asked = 0
        self.ago = timedelta()

    async def fetch(self, n_bytes: int) -> Sample:
        self.asked += 1
        data = fresh(n_bytes, self.asked)
        return Sample(self.name, data, datetime.now(UTC) - self.ago, simulated=False)


@pytest.fixture
def giver() -> Giver:
    return Giver()


@pytest.fixture
def supplies(giver: Giver, key: PoolKey) -> Supplies:
    return Supplies([Supply(giver, vendor="anu", digest=key.digest)], per_seed=1)


async def test_old_blocks_are_replaced_and_bound_ones_are_kept(
    database: Database, pool: Pool, supplies: Supplies
) -> None:
    young = [replace(make_block(number), received_at=now() - HOUR) for number in range(12, 16)]
    async with database.write() as tx:
        await pool.add(tx, [*(make_block(number) for number in range(12)), *young])
    # Two are a coordinator's, two a gateway's: promised.
    assert await pool.bind(database, CHAIN_ID, COORDINATOR, [0, 1]) == [make_seed(0), make_seed(1)]
    assert len(await Replies(database, pool).reserve(2)) == 2
    async with database.read() as connection:
        old = list(
            await connection.scalars(
                select(blocks.c.ciphertext).where(
                    blocks.c.purpose.is_(None), blocks.c.received_at < now() - 2 * HOUR
                )
            )
        )
    assert len(old) == 8
    with capture_logs() as said:
        assert (await refill(database, pool, supplies, 10, max_age_hours=2)).blocks == 6
    [expired] = [one for one in said if one["event"] == "blocks_expired"]
    assert expired["blocks"] == 8
    # Bounded: no more than the target, however much the source gives.
    assert (await refill(database, pool, supplies, 10, max_age_hours=2)).blocks == 0
    async with database.read() as connection:
        counts = await store.pool_counts(connection)
        assert await pool.seed(connection, CHAIN_ID, COORDINATOR, 1) == make_seed(1)
    assert counts == {"fresh": 10, "bound": 4, "destroyed": 8, "unused": 8}
    content = await content_of(database)
    assert not any(ciphertext in content for ciphertext in old)


async def test_what_is_not_mixed_yet_grows_old_too(
    database: Database, pool: Pool, supplies: Supplies, giver: Giver
) -> None:
    giver.ago = timedelta(hours=1)
    # A start-up test takes 1,024 bytes: 16 blocks' worth, of which one is made.
    assert (await refill(database, pool, supplies, 1, max_age_hours=2)).blocks == 1
    assert supplies.all[0].stock == 15
    assert (await refill(database, pool, supplies, 2, max_age_hours=2)).blocks == 1
    assert giver.asked == 1
    giver.ago = timedelta()
    assert (await refill(database, pool, supplies, 2, max_age_hours=0.5)).blocks == 2
    assert giver.asked == 2
    async with database.read() as connection:
        ages = await connection.scalars(
            select(blocks.c.received_at).where(blocks.c.ciphertext.is_not(None))
        )
    assert min(ages) > now() - HOUR // 2


async def test_without_a_limit_nothing_grows_too_old(
    database: Database, pool: Pool, supplies: Supplies
) -> None:
    async with database.write() as tx:
        await pool.add(tx, [make_block(1)])
    assert (await refill(database, pool, supplies, 1)).blocks == 0
