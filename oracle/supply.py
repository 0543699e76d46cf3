"""
What stands between the entropy sources and the steps: rates, quotas, health, quarantine, and the
tested bytes that wait in memory to be mixed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from oracle import log
from oracle.entropy.health import STARTUP_SAMPLES, Failure, Health, examine, repeats
from oracle.entropy.limits import Quota, Rate, TokenBucket
from oracle.entropy.source import RETRY_AFTER_MAX, TestsItself
from oracle.errors import (
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceError,
    SourceHealthError,
    SourceQuotaError,
    SourceReplyError,
    SourceThrottledError,
    SourceTrustError,
    SourceUnavailableError,
    one_of,
)
from oracle.store import sources as store
from oracle.store.sources import Delivery, SourceRecord, SourceState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.entropy.source import EntropySource, Sample
    from oracle.store.engine import Database

#: Bytes of each source in a seed: twice what a full-entropy output needs (SP 800-90C).
INPUT_BYTES = 64
PASSED = "passed"

_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 30.0
_BREAKER_FAILURES, _BREAKER_SECONDS = 8, 300.0
_QUARANTINE_FIRST, _QUARANTINE_MOST = 600.0, 86_400.0
_REFUSED_SECONDS = 600.0
_VENDOR_TEST_SECONDS = 3600.0
_EXHAUSTED_SECONDS = 6 * 3600.0  # where nobody knows when the quota begins anew
# No pause is longer, by the state that it is made in; of the others none is longer than a vendor
# may ask for.
_LONGEST = {SourceState.EXHAUSTED: 32 * 86_400.0, SourceState.REFUSED: _REFUSED_SECONDS}

_REASONS: tuple[tuple[type[SourceError], str], ...] = (
    (SourceHealthError, "unhealthy"),
    (SourceReplyError, "malformed"),
    (SourceThrottledError, "throttled"),
    (SourceQuotaError, "quota"),
    (SourceCredentialsError, "credentials"),
    (SourceTrustError, "certificate"),
    (SimulatedEntropyError, "simulated"),
    (SourceUnavailableError, "unavailable"),
)


def reason_of(error: SourceError) -> str:
    """
    Return the word for programs that an error of a source has.
    """
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "failed")


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


def in_period(record: SourceRecord, began: datetime) -> SourceRecord:
    """
    Return a record with the account of the period that began at a time.

    An account of a later period was opened while the clock was ahead: what it counts was used all
    the same.
    """
    begins = int(began.timestamp() * 1000)
    if begins > record.period_began:
        return replace(record, period_began=begins, used_requests=0, used_bits=0)
    return replace(record, period_began=begins)


def pause_left(record: SourceRecord, now: float) -> float:
    """
    Return the seconds until the end of a source's pause; `now` in seconds since 1970.

    A pause longer than any that is ever made was made while the clock was ahead: it is over.
    """
    if record.until is None:
        return 0.0
    left = record.until / 1000 - now
    longest = _LONGEST.get(record.state, RETRY_AFTER_MAX)
    if record.reason == "unavailable":
        longest = _BREAKER_SECONDS
    return left if left <= longest else 0.0


def after_failure(record: SourceRecord, error: SourceError, now: int) -> SourceRecord:
    """
    Return what a source is after a draw that failed; `now` in milliseconds since 1970.

    Down, it is asked again after pauses that double, and after many failures in a row only every
    five minutes (an open circuit). A malformed reply may happen once; the second in a row, and any
    unhealthy bytes, are quarantine, each time twice as long.
    """
    failures = record.failures + 1
    state, seconds = SourceState.WAITING, min(_BACKOFF_MOST, _BACKOFF_FIRST * 2 ** (failures - 1))
    if failures >= _BREAKER_FAILURES:
        seconds = _BREAKER_SECONDS
    quarantines = record.quarantines
    match error:
        case SourceHealthError():
            state = SourceState.QUARANTINED
        case SourceReplyError():
            # Out of quarantine there is no second try.
            again = record.reason == "malformed" or record.state is SourceState.RECOVERING
            state = SourceState.QUARANTINED if again else SourceState.WAITING
        case SourceThrottledError():
            seconds = error.retry_after
        case SourceQuotaError():
            state = SourceState.EXHAUSTED
            ends = error.resets_at
            seconds = ends.timestamp() - now / 1000 if ends else _EXHAUSTED_SECONDS
        case SourceUnavailableError():
            pass
        case _:
            state, seconds = SourceState.REFUSED, _REFUSED_SECONDS
    if state is SourceState.QUARANTINED:
        seconds = min(_QUARANTINE_MOST, _QUARANTINE_FIRST * 2**quarantines)
        quarantines += 1
    elif record.state is SourceState.RECOVERING and state is SourceState.WAITING:
        state = SourceState.RECOVERING
    return replace(
        record,
        state=state,
        reason=reason_of(error),
        advice=str(error),
        until=now + round(1000 * seconds),
        failures=failures,
        quarantines=quarantines,
    )


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


class Supplies:
    """
    All sources, and how many of them, run by different vendors, are mixed into a seed.
    """

    def __init__(self, supplies: Sequence[Supply], *, per_seed: int) -> None:
        vendors = {supply.vendor for supply in supplies}
        if not 1 <= per_seed <= len(vendors):
            raise ValueError("A seed has at least one source, and at most one of every vendor.")
        self.all = tuple(supplies)
        self.per_seed = per_seed

    async def restore(self, database: Database) -> None:
        """
        Go on where an earlier process stopped.
        """
        for supply in self.all:
            await supply.restore(database)

    def forget_older(self, before: int) -> None:
        """
        Destroy what was received before a time in milliseconds and is not mixed yet.
        """
        for supply in self.all:
            supply.forget_older(before)

    def forget(self) -> None:
        """
        Have what is known of the sources read again: another node may have drawn from them.
        """
        for supply in self.all:
            supply.forget()

    def choose(self) -> list[Supply]:
        """
        Return one source of each of `per_seed` vendors that may be drawn from or has chunks left,
        in the order of the configuration; fewer when there are not as many.
        """
        chosen: dict[str, Supply] = {}
        for supply in self.all:
            if supply.vendor not in chosen and (supply.stock or supply.wait() == 0):
                chosen[supply.vendor] = supply
        return list(chosen.values())[: self.per_seed]

    def missing(self) -> Mapping[str, str]:
        """
        Return, for every source that cannot be drawn from now, the word for why.
        """
        return {supply.name: supply.why() for supply in self.all if supply.wait() > 0}

    def wait(self) -> float:
        """
        Return the seconds until enough vendors may be drawn from.
        """
        soonest: dict[str, float] = {}
        for supply in self.all:
            wait = 0.0 if supply.stock else supply.wait()
            soonest[supply.vendor] = min(wait, soonest.get(supply.vendor, wait))
        return sorted(soonest.values())[self.per_seed - 1]

    async def draw(self, database: Database, chosen: Sequence[Supply], chunks: int) -> int:
        """
        Draw at once from those of the chosen that lack chunks; return how many all of them have.
        """
        # Who may not be asked now bounds what is asked of the others.
        chunks = min([chunks, *(supply.stock for supply in chosen if supply.wait() > 0)])
        lacking = [supply for supply in chosen if supply.stock < chunks]
        if lacking:
            async with database.write() as tx:
                round_id = await store.open_round(
                    tx, self.per_seed, [supply.name for supply in chosen]
                )
            try:
                async with asyncio.TaskGroup() as tasks:
                    for supply in lacking:
                        wanted = (chunks - supply.stock) * INPUT_BYTES
                        tasks.create_task(supply.draw(database, round_id, wanted))
            except ExceptionGroup as group:
                # As when a database goes away under both.
                raise one_of(group) from None
            await self._compare(database)
        return min([chunks, *(supply.stock for supply in chosen)])

    async def _compare(self, database: Database) -> None:
        """
        Put sources that gave the same bytes into quarantine: they are one source, or a replay.
        """
        givers: dict[bytes, set[Supply]] = {}
        for supply in self.all:
            for digest in supply.waiting_digests():
                givers.setdefault(digest, set()).add(supply)
        same = {supply for some in givers.values() if len(some) > 1 for supply in some}
        for supply in same:
            await supply.condemn(database, Failure.REPEAT)
