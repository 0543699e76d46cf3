"""
What stands between the entropy sources and the steps: rates, quotas, health, quarantine, and the
tested bytes that wait in memory to be mixed.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from oracle import log
from oracle.entropy.health import STARTUP_SAMPLES, Failure, Health, examine, repeats
from oracle.entropy.limits import Quota, Rate, TokenBucket
from oracle.entropy.source import TestsItself
from oracle.errors import SourceError, SourceHealthError, SourceReplyError, SourceUnavailableError
from oracle.source_standing import after_failure, in_period, pause_left, reason_of
from oracle.store import sources as store
from oracle.store.sources import Delivery, SourceRecord, SourceState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.entropy.source import EntropySource, Sample
    from oracle.store.engine import Database

#: Bytes of each source in a seed: twice what a full-entropy output needs (SP 800-90C).
INPUT_BYTES = 64
PASSED = "passed"

_VENDOR_TEST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    `INPUT_BYTES` tested bytes of one draw, for one seed; its repr does not show them.
    """

    source: str
    draw_id: int
    data: bytes = field(repr=False)
    digest: bytes
    received_at: int
    simulated: bool


@runtime_checkable
class ReportsUsage(Protocol):
    """
    A source whose vendor says how much of the quota is used.
    """

    async def used_bits(self, first: date, last: date) -> int:
        """
        Return the bits drawn from a day to another.
        """
        ...


class Supply:
    """
    One source with its limits, its health and its stock.

    Guarantees: no byte leaves it before a start-up test on 1,024 samples and the continuous tests
    are passed, and none twice; a draw is written down, and counted against the quota, before it is
    made; when bytes are bad, all that the source gave and that is not mixed yet is destroyed.
    Does not: keep its stock through a restart: it is in no file.
    """

    def __init__(
        self,
        source: EntropySource,
        *,
        vendor: str,
        digest: Callable[[bytes], bytes],
        rate: Rate | None = None,
        quota: Quota | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self.vendor = vendor
        self.quota = quota or Quota()
        self.record = SourceRecord(name=source.name)
        self.health = Health()
        self._digest = digest
        self._bucket = TokenBucket(rate) if rate else None
        self._clock = clock
        self._vendor_test_due = 0.0
        self._stock: deque[Chunk] = deque()
        self._held: list[Chunk] = []
        self._restored = self._reconciled = False

    @property
    def name(self) -> str:
        """
        The source's name.
        """
        return self.source.name

    @property
    def stock(self) -> int:
        """
        How many chunks wait to be mixed.
        """
        return len(self._stock)

    def take(self) -> Chunk:
        """
        Hand out a chunk, once.
        """
        return self._stock.popleft()

    async def restore(self, database: Database) -> None:
        """
        Go on where an earlier process stopped.
        """
        if self._restored:
            return
        async with database.read() as connection:
            known = await store.get(connection, self.name)
        if known is not None:
            self.record = known
        self._roll()
        self._restored = True

    def forget(self) -> None:
        """
        Have the source's record read again before the next draw.
        """
        self._restored = False

    def wait(self) -> float:
        """
        Return the seconds until the source may be drawn from, 0 if it may be now.
        """
        self._roll()
        now = self._clock()
        wait = 0.0
        if self.record.until is not None:
            wait = pause_left(self.record, now)
        if self._left_bytes() < INPUT_BYTES or self._left_requests() < 1:
            wait = max(wait, self.quota.resets(self._today()).timestamp() - now)
        if self._bucket is not None:
            wait = max(wait, self._bucket.wait(now))
        return max(0.0, wait)

    def why(self) -> str:
        """
        Return the word for why the source cannot be drawn from now.
        """
        if self._left_bytes() < INPUT_BYTES or self._left_requests() < 1:
            return "quota"
        return self.record.reason or "rate"

    async def draw(self, database: Database, round_id: int, n_bytes: int) -> None:
        """
        Make one draw and put what passes into the stock; whatever the source does is its state
        afterwards, never an error.
        """
        await self._reconcile(database)
        if self._left_bytes() < INPUT_BYTES or not await self._vendor_agrees(database):
            return
        wanted = n_bytes if self.health.started else max(n_bytes, STARTUP_SAMPLES)
        wanted = min(wanted, self.source.max_bytes, self._left_bytes())
        began = self.record
        if began.state is SourceState.QUARANTINED:
            # The time is served: a start-up test decides.
            began = replace(began, state=SourceState.RECOVERING, failures=0)
        if self._bucket is not None:
            self._bucket.take(self._clock())
        async with database.write() as tx:
            draw_id = await store.open_draw(tx, round_id, self.name)
            # A call that is cut off may still be billed.
            await self._charge(tx, began, 1, 8 * wanted)
        sample: Sample | None = None
        delivery: Delivery | None = None
        verdict = PASSED
        try:
            sample = await self.source.fetch(wanted)
            billed = 8 * len(sample.data)
            delivery = Delivery(
                received_at=int(sample.received_at.timestamp() * 1000),
                n_bytes=len(sample.data),
                simulated=sample.simulated,
                digest=self._digest(sample.data),
                provenance=sample.provenance,
            )
            await self._accept(database, draw_id, sample)
            now = self._now()
            self.record = replace(
                self.record,
                state=SourceState.READY if self.health.started else began.state,
                reason=None,
                advice=None,
                until=None,
                failures=0,
                quarantines=0 if self.health.started else began.quarantines,
                delivered_at=now,
            )
        except SourceError as error:
            verdict = error.failure if isinstance(error, SourceHealthError) else reason_of(error)
            unbilled = not isinstance(error, SourceUnavailableError | SourceReplyError)
            billed = 8 * len(sample.data) if sample else 0 if unbilled else 8 * wanted
            self.record = after_failure(self.record, error, self._now())
            if self.record.state is SourceState.QUARANTINED:
                self._destroy()
        async with database.write() as tx:
            await store.close_draw(tx, draw_id, verdict, delivery)
            await self._charge(tx, self.record, 0, billed - 8 * wanted)
        self._tell(began)

    async def _vendor_agrees(self, database: Database) -> bool:
        """
        Ask for the vendor's own health test where there is one, at the first draw and every hour;
        a failed one is quarantine.
        """
        now = self._clock()
        # A due time further away is that of a clock that went back.
        waits = now < self._vendor_test_due <= now + _VENDOR_TEST_SECONDS
        if waits or not isinstance(self.source, TestsItself):
            return True
        before = self.record
        try:
            if failed := await self.source.failed_tests():
                raise SourceHealthError(
                    f"{self.name}: the vendor's own health test says error ({', '.join(failed)}):"
                    " the source is in quarantine; ask the vendor.",
                    failure=Failure.VENDOR,
                )
        except SourceError as error:
            self.record = after_failure(before, error, self._now())
            if self.record.state is SourceState.QUARANTINED:
                self._destroy()
            async with database.write() as tx:
                await store.put(tx, self.record)
            self._tell(before)
            return False
        self._vendor_test_due = now + _VENDOR_TEST_SECONDS
        return True

    async def _charge(
        self, tx: AsyncConnection, record: SourceRecord, requests: int, bits: int
    ) -> None:
        """
        Store a record with so much more on its account, and with what others have charged to it.
        """
        stored = await store.get(tx, self.name)
        if stored is None or stored.period_began != record.period_began:
            stored = record
        self.record = replace(
            record,
            used_requests=max(stored.used_requests, record.used_requests) + requests,
            used_bits=max(stored.used_bits, record.used_bits) + bits,
        )
        await store.put(tx, self.record)

    async def _accept(self, database: Database, draw_id: int, sample: Sample) -> None:
        """
        Test a sample and cut it into chunks, or raise `SourceHealthError`.
        """
        health, verdict = examine(self.health, sample.data)
        self.health = health
        if not verdict.passed:
            raise self._unhealthy(str(verdict))
        received_at = int(sample.received_at.timestamp() * 1000)
        # What fills no whole chunk is thrown away.
        starts = range(0, len(sample.data) - INPUT_BYTES + 1, INPUT_BYTES)
        chunks = [
            Chunk(
                source=self.name,
                draw_id=draw_id,
                data=(data := sample.data[at : at + INPUT_BYTES]),
                digest=self._digest(data),
                received_at=received_at,
                simulated=sample.simulated,
            )
            for at in starts
        ]
        digests = [chunk.digest for chunk in chunks]
        async with database.read() as connection:
            known = await store.known_digests(connection, digests)
        known |= set(self.waiting_digests())
        if repeats(digests, known):
            raise self._unhealthy(Failure.REPEAT)
        self._held += chunks
        if self.health.started:
            self._stock.extend(self._held)
            self._held = []

    def waiting_digests(self) -> list[bytes]:
        """
        Return the keyed digests of all that is not mixed yet.
        """
        return [chunk.digest for chunk in (*self._stock, *self._held)]

    def forget_older(self, before: int) -> None:
        """
        Destroy what was received before a time in milliseconds and is not mixed yet.
        """
        self._stock = deque(chunk for chunk in self._stock if chunk.received_at >= before)
        self._held = [chunk for chunk in self._held if chunk.received_at >= before]

    async def condemn(self, database: Database, why: Failure) -> None:
        """
        Destroy what is not mixed yet and put the source into quarantine.
        """
        before = self.record
        self._destroy()
        self.record = after_failure(before, self._unhealthy(why), self._now())
        async with database.write() as tx:
            await store.put(tx, self.record)
        self._tell(before)

    def _unhealthy(self, why: str) -> SourceHealthError:
        return SourceHealthError(
            f"{self.name}: the draw was destroyed (health test {why}): the source is in"
            " quarantine; if it comes again, ask the vendor.",
            failure=why,
        )

    def _destroy(self) -> None:
        self._stock.clear()
        self._held = []
        self.health = Health()

    async def _reconcile(self, database: Database) -> None:
        """
        Believe the vendor's count of used bits where it is higher than ours, once per process.
        """
        if self._reconciled or not isinstance(self.source, ReportsUsage):
            return
        self._reconciled = True
        today = self._today()
        try:
            used = await self.source.used_bits(self.quota.began(today).date(), today.date())
        except SourceError:
            return  # the draw will say
        async with database.write() as tx:
            await self._charge(tx, self.record, 0, max(0, used - self.record.used_bits))

    def _left_bytes(self) -> int:
        if self.quota.bits is None:
            return self.source.max_bytes
        return max(0, self.quota.bits - self.record.used_bits) // 8

    def _left_requests(self) -> int:
        if self.quota.requests is None:
            return 1
        return self.quota.requests - self.record.used_requests

    def _roll(self) -> None:
        """
        Begin a new account when the quota's period has ended.
        """
        self.record = in_period(self.record, self.quota.began(self._today()))

    def _today(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _tell(self, before: SourceRecord) -> None:
        record = self.record
        if (before.state, before.reason) != (record.state, record.reason):
            say = log.get().info if record.state is SourceState.READY else log.get().warning
            say(
                "source_changed",
                source=self.name,
                before=before.state,
                after=record.state,
                reason=record.reason,
                advice=record.advice,
                until=record.until,
            )
