from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from oracle.entropy.limits import Quota
from oracle.errors import (
    DatabaseUnavailableError,
    SourceCredentialsError,
    SourceError,
    SourceReplyError,
    SourceThrottledError,
)
from oracle.log import _redact
from oracle.membership import Membership
from oracle.runner import Runner
from oracle.steps.refill import refill
from oracle.store import sources as store
from oracle.store.schema import block_inputs, blocks, draws, rounds
from oracle.store.sources import SourceState
from oracle.supplies import Supplies
from oracle.supply import INPUT_BYTES, Supply
from tests.factories import CHAIN_ID, COORDINATOR
from tests.supplied import (
    DOWN,
    Clock,
    Scripted,
    clock,
    fresh,
    opened,
    record,
    rows,
    supply,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.entropy.source import Sample
    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.store.seal import PoolKey

pytestmark = pytest.mark.store

__all__ = ["clock", "supply"]


async def test_a_seed_holds_bytes_of_two_vendors_and_says_so(
    database: Database, pool: Pool, supply: Callable[..., Supply], key: PoolKey
) -> None:
    a, b, c = Scripted("a"), Scripted("b"), Scripted("c")
    supplies = together(supply(a), supply(b, vendor="a"), supply(c))
    assert (await refill(database, pool, supplies, 20)).blocks == 20
    # b is run by the vendor of a.
    assert (a.asked, b.asked, c.asked) == ([1280], [], [1280])
    [decided] = await rows(database, rounds)
    assert (decided.sources_per_seed, decided.sources) == (2, "a,c")
    assert len(await rows(database, block_inputs)) == 40
    [seed] = await pool.bind(database, CHAIN_ID, COORDINATOR, [7])
    async with database.read() as connection:
        known = await store.provenance(connection, CHAIN_ID, COORDINATOR, 7)
        assert await store.provenance(connection, CHAIN_ID, COORDINATOR, 8) is None
    assert known is not None
    inputs = known["inputs"]
    assert [(one["source"], one["bits"], one["health"]) for one in inputs] == [
        ("a", 512, "passed"),
        ("c", 512, "passed"),
    ]
    first = [fresh(1280, name, 1)[at : at + 64] for name in "ac" for at in range(0, 1280, 64)]
    assert {one["digest"] for one in inputs} <= {key.digest(data).hex() for data in first}
    assert seed.hex() not in str(known)


async def test_provenance_outlives_the_seed(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    await refill(database, pool, together(supply(Scripted("a"))), 4)
    await pool.bind(database, CHAIN_ID, COORDINATOR, [0])
    async with database.write() as tx:
        assert await pool.erase_unrevealed(tx, CHAIN_ID, COORDINATOR, [0]) == 1
        known = await store.provenance(tx, CHAIN_ID, COORDINATOR, 0)
    assert known is not None
    assert [one["source"] for one in known["inputs"]] == ["a"]


async def test_one_source_that_fails_leaves_the_others_bytes_for_later(
    database: Database, pool: Pool, supply: Callable[..., Supply], clock: Clock
) -> None:
    a, b = Scripted("a"), Scripted("b", DOWN)
    supplies = together(supply(a), supply(b))
    done = await refill(database, pool, supplies, 30)
    assert (done.blocks, done.waiting) == (0, {"b": "unavailable"})
    assert 0 < done.retry_in <= 1
    assert await rows(database, blocks) == []
    # Nothing degrades: without the second there is no block, and the first is not asked again.
    assert (await refill(database, pool, supplies, 30)).blocks == 0
    clock.now += 1
    assert (await refill(database, pool, supplies, 30)).blocks == 30
    assert (len(a.asked), len(b.asked)) == (1, 2)


async def test_a_third_vendor_takes_the_place_of_one_that_is_down(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    a, b, c = Scripted("a"), Scripted("b", DOWN), Scripted("c")
    supplies = together(*map(supply, (a, b, c)))
    assert (await refill(database, pool, supplies, 20)).blocks == 0
    assert (await refill(database, pool, supplies, 20)).blocks == 20
    assert [row.sources for row in await rows(database, rounds)] == ["a,b", "a,c"]


async def test_draws_of_several_sources_are_made_at_once(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    both = asyncio.Barrier(2)

    class Meeting(Scripted):
        async def fetch(self, n_bytes: int) -> Sample:
            async with asyncio.timeout(10):
                await both.wait()
            return await super().fetch(n_bytes)

    supplies = together(supply(Meeting("a")), supply(Meeting("b")))
    assert (await refill(database, pool, supplies, 10)).blocks == 10


async def test_nothing_is_used_before_the_startup_test_and_all_of_it_after(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    class Small(Scripted):
        max_bytes = 256

    source = Small("a")
    supplies = together(supply(source))
    for _ in range(3):
        assert (await refill(database, pool, supplies, 16)).blocks == 0
    assert (await refill(database, pool, supplies, 16)).blocks == 16
    assert source.asked == [256] * 4


@pytest.mark.parametrize(
    ("bad", "verdict"),
    [
        (bytes(2048), "repetition-count"),
        (b"01" * 1024, "adaptive-proportion"),
        (fresh(1024, "x") * 2, "repeat"),
    ],
)
async def test_bad_bytes_destroy_the_stock_and_bring_quarantine(
    database: Database, pool: Pool, supply: Callable[..., Supply], clock: Clock,
    bad: bytes, verdict: str,
) -> None:  # fmt: skip
    source = Scripted("a", fresh(8192, "good"), bad)
    one = supply(source)
    supplies = together(one)
    assert (await refill(database, pool, supplies, 100)).blocks == 100
    assert one.stock == 28
    assert (await refill(database, pool, supplies, 160)).blocks == 0
    assert one.stock == 0
    assert [row.verdict for row in await rows(database, draws)] == ["passed", verdict]
    known = await record(database, "a")
    assert (known.state, known.reason) == (SourceState.QUARANTINED, "unhealthy")
    # Recovery is a fresh start-up test.
    clock.now += 599
    assert (await refill(database, pool, supplies, 160)).waiting == {"a": "unhealthy"}
    assert len(source.asked) == 2
    clock.now += 2
    assert (await refill(database, pool, supplies, 101)).blocks == 1
    assert source.asked[2] == 1024
    assert (await record(database, "a")).state is SourceState.READY


async def test_trap_a_digit_a_byte_is_no_entropy(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    # As uqrng-direct writes it: one bit in eight, with nothing malformed about it.
    digits = "".join(f"{byte:08b}" for byte in fresh(1024, "digits")).encode()
    source = supply(Scripted("digits", digits))
    done = await refill(database, pool, together(source), 64)
    assert done.blocks == 0
    assert source.record.state is SourceState.QUARANTINED
    [draw] = await rows(database, draws)
    assert draw.verdict == "adaptive-proportion"
    assert await rows(database, blocks) == []


@pytest.mark.parametrize("told", [DOWN, SourceReplyError("3 bytes of 64")], ids=["down", "short"])
async def test_trap_local_bytes_never_stand_in_for_quantum_ones(
    database: Database, pool: Pool, supply: Callable[..., Supply], told: SourceError
) -> None:
    source = supply(Scripted("anu", told, told))
    done = await refill(database, pool, together(source), 64)
    # The operating system could fill all 64 by itself.
    assert done.blocks == 0
    assert done.waiting.keys() == {"anu"}
    assert await rows(database, blocks) == []


async def test_a_replay_of_what_was_used_is_found_by_another_process(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    replay = fresh(2048, "replayed")
    assert (await refill(database, pool, together(supply(Scripted("a", replay))), 8)).blocks == 8
    # The same bytes, cut otherwise, from another vendor.
    moved = fresh(64, "new") + replay[:1984]
    again = together(supply(Scripted("b", moved)))
    assert (await refill(database, pool, again, 16)).blocks == 0
    assert (await record(database, "b")).reason == "unhealthy"


async def test_two_sources_that_give_the_same_bytes_are_none(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    same = fresh(2048, "same")
    a, b = supply(Scripted("a", same)), supply(Scripted("b", fresh(64, "other") + same[:-64]))
    assert (await refill(database, pool, together(a, b), 32)).blocks == 0
    assert a.stock == b.stock == 0
    for name in "ab":
        assert (await record(database, name)).state is SourceState.QUARANTINED
    assert await rows(database, blocks) == []


async def test_a_replay_of_what_still_waits_to_be_mixed_is_found(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    replay = fresh(2048, "replayed")
    moved = replay[1024:] + fresh(1024, "new")
    supplies = together(supply(Scripted("a", replay, moved)))
    assert (await refill(database, pool, supplies, 8)).blocks == 8
    # 24 wait; of the draw for the others, 16 are among them.
    assert (await refill(database, pool, supplies, 48)).blocks == 0
    assert (await record(database, "a")).reason == "unhealthy"


async def test_state_and_account_survive_a_restart(
    database: Database, pool: Pool, supply: Callable[..., Supply], clock: Clock
) -> None:
    quota = Quota(requests=3)
    for _ in range(3):
        supplies = together(supply(Scripted("a", DOWN), quota=quota))
        await refill(database, pool, supplies, 4)
        clock.now += 60
    assert (await record(database, "a")).failures == 3
    last = supply(Scripted("a"), quota=quota)
    done = await refill(database, pool, together(last), 4)
    assert done.waiting == {"a": "quota"}
    assert done.retry_in == datetime(2026, 4, 1, tzinfo=UTC).timestamp() - clock.now
    # A new month.
    clock.now += done.retry_in
    assert (await refill(database, pool, together(last), 4)).blocks == 4
    assert (await record(database, "a")).used_requests == 1


async def test_a_draw_is_written_down_and_counted_before_it_is_made(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    class Killed(Scripted):
        async def fetch(self, n_bytes: int) -> Sample:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await supply(Killed("a")).draw(database, await opened(database), 64)
    [row] = await rows(database, draws)
    assert (row.source, row.verdict, row.received_at) == ("a", None, None)
    known = await record(database, "a")
    assert (known.used_requests, known.used_bits) == (1, 8 * 1024)


def test_more_sources_per_seed_than_vendors_are_refused(supply: Callable[..., Supply]) -> None:
    one, other = supply(Scripted("a"), vendor="v"), supply(Scripted("b"), vendor="v")
    with pytest.raises(ValueError, match="one of every vendor"):
        Supplies([one, other], per_seed=2)


async def test_a_node_that_waits_says_so_once_in_words_for_programs(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    wrong = Scripted("b", SourceCredentialsError("replace the key"))
    supplies = together(supply(Scripted("a")), supply(wrong))
    runner = Runner(Membership(database, pool), pool, supplies, [], fresh=256, poll_seconds=1)
    with capture_logs() as events:
        keeper = asyncio.create_task(runner._keep_pool())
        async with asyncio.timeout(20):
            while not [event for event in events if event["event"] == "refill_waits"]:
                await asyncio.sleep(0.01)
        runner.stop()
        await keeper
    [changed] = [event for event in events if event["event"] == "source_changed"]
    assert (changed["source"], changed["after"]) == ("b", "refused")
    [waits] = [event for event in events if event["event"] == "refill_waits"]
    assert waits["log_level"] == "warning"
    assert (waits["reason"], waits["required"]) == ("too_few_sources", 2)
    assert waits["waiting"] == {"b": "credentials"}
    # Nothing that is said is taken for a secret.
    assert _redact(None, "", dict(waits)) == waits


async def test_a_hundred_refills_use_no_byte_twice(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    faults = [DOWN, SourceReplyError("short"), SourceThrottledError("", retry_after=0)]

    class Moody(Scripted):
        async def fetch(self, n_bytes: int) -> Sample:
            at = len(self.asked)
            self.script = [faults[at % 3]] if at % 5 == 4 else []
            return await super().fetch(n_bytes)

    a, b = supply(Moody("a")), supply(Moody("b"))
    supplies = together(a, b)
    for target in range(7, 700, 7):
        await refill(database, pool, supplies, target)
        for one in (a, b):
            one.record = replace(one.record, until=None)
    found = await rows(database, block_inputs)
    made = await rows(database, blocks)
    assert len({row.digest for row in found}) == len(found) == 2 * len(made) > 1000


def test_a_chunk_does_not_show_its_bytes() -> None:
    from oracle.supply import Chunk  # noqa: PLC0415

    data = os.urandom(INPUT_BYTES)
    chunk = Chunk("a", 1, data, b"digest", 0, simulated=False)
    assert repr(data) not in repr(chunk)


async def test_a_database_that_goes_away_while_sources_are_asked_is_one_error_that_passes(
    database: Database, pool: Pool, supply: Callable[..., Supply]
) -> None:
    gone = [Scripted(name, DatabaseUnavailableError("gone")) for name in "ab"]
    supplies = together(*map(supply, gone))
    with pytest.raises(DatabaseUnavailableError):
        await refill(database, pool, supplies, 8)
    for source in gone:
        source.script.clear()
    assert (await refill(database, pool, supplies, 8)).blocks == 8


@pytest.mark.parametrize("jump", [40 * 86_400, -40 * 86_400])
async def test_clock_that_jumps_and_comes_back_neither_stops_a_source_nor_empties_its_account(
    database: Database, pool: Pool, supply: Callable[..., Supply], clock: Clock, jump: int
) -> None:
    quota = Quota(requests=100)
    supplies = together(supply(Scripted("a", DOWN), quota=quota))
    clock.now += jump
    assert (await refill(database, pool, supplies, 4)).blocks == 0
    clock.now -= jump
    done = await refill(database, pool, supplies, 4)
    assert done.blocks == 4, "a pause that was made ahead of its time is over"
    known = await record(database, "a")
    assert known.used_requests == (2 if jump > 0 else 1)
    assert known.period_began == 1000 * datetime(2026, 3, 1, tzinfo=UTC).timestamp()
