"""
Several endpoints of one chain: every pass reads from one of them, and the choice falls between
passes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oracle import log
from oracle.chain.endpoints import LONGEST_PAUSE, Circuit, Health, Height, choose, compare
from oracle.chain.reader import Web3Reader
from oracle.chain.sender import TAKEN, Verdict, Web3Sender
from oracle.errors import (
    AnsweredError,
    ConfigError,
    EndpointError,
    OracleError,
    OtherChainError,
    ThrottledError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from oracle.errors import ChainError
    from oracle.evm import Block

# So often all endpoints are asked for their heads.
SURVEY_SECONDS = 30.0


class Endpoint(Web3Reader):
    """
    A `Web3Reader` that keeps account of how its endpoint does.

    Guarantees: a head that does not follow the last one is shown only after the endpoint said
    again which chain it serves; one that serves another is refused for good.
    """

    def __init__(
        self, url: str, chain_id: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(url)
        self.host = urlsplit(url).hostname or ""
        self.health = Health()
        self._expected = chain_id
        self._clock = clock
        self._last: tuple[int, bytes] | None = None

    async def rpc(self, method: str, *params: object) -> Any:  # noqa: D102 - Web3Reader
        with self._counted():
            return await super().rpc(method, *params)

    async def call(  # noqa: D102 - ChainReader
        self, to: str, data: bytes, block: int | None = None, *, sender: str | None = None
    ) -> bytes:
        with self._counted():
            return await super().call(to, data, block, sender=sender)

    async def block(self, number: int | None = None) -> Block:  # noqa: D102 - ChainReader
        block = await super().block(number)
        if number is None:
            here, below = (block.number, block.hash), (block.number - 1, block.parent_hash)
            if self._last not in (here, below):
                await self.check_chain()
            self._last = (block.number, block.hash)
        return block

    async def check_chain(self) -> None:
        """
        Refuse the endpoint if it serves another chain. Raises `OtherChainError`.
        """
        actual = await self.chain_id()
        if actual != self._expected:
            self.refuse(f"{self.name} serves chain {actual}, not {self._expected}")
            raise OtherChainError(str(self.health.refused))

    def refuse(self, why: str) -> None:
        """
        Ask the endpoint nothing more.
        """
        if self.health.refused is not None:
            return
        self.health.refused = why
        log.get().error(
            "endpoint_refused",
            endpoint=self.name,
            error=why,
            advice="it is not asked again before a restart: correct its URL, or remove it",
        )

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self.health.refused is not None:
            raise OtherChainError(self.health.refused)
        started = self._clock()
        try:
            yield
        except AnsweredError:
            self.health.answers(self._clock() - started)
            raise
        self.health.answers(self._clock() - started)

    def _noted(self, error: EndpointError) -> EndpointError:
        asked = error.retry_after if isinstance(error, ThrottledError) else 0.0
        self.health.stays_away(self._clock(), asked)
        return error


@dataclass(frozen=True, slots=True)
class View:
    """
    What a pass is given: where it reads, and who has to agree; nobody where the reader's endpoint
    is the operator's own.
    """

    reader: Endpoint
    witnesses: tuple[Endpoint, ...] | None


class Endpoints:
    """
    The endpoints of one chain, in the order of the configuration; a `Broadcaster` over all that
    work.

    Guarantees: a view has one reader, and its witnesses are on other hosts; only the first
    endpoint is ever trusted; an endpoint that failed is left at once while another one works, and
    the first one is taken again when it does; who fails is asked after growing pauses.

    Does not: compare what endpoints say of requests: see `oracle.witnesses`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: int,
        *,
        trusted: bool,
        admit: Callable[[Endpoint], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        `admit` raises `ConfigError` for an endpoint that must not be used.
        """
        self.all = [Endpoint(url, chain_id, clock) for url in urls]
        self._trusted = trusted
        self._admit = admit
        self._admitted: set[Endpoint] = set()
        self._clock = clock
        self._heights: dict[int, Height] = {}
        self._surveyed = clock()
        self._survey: asyncio.Task[None] | None = None
        self._copies: set[asyncio.Task[tuple[Verdict, str]]] = set()
        self._view: View | None = None

    async def close(self) -> None:
        """
        End what is under way, and close the connections.
        """
        tasks: list[asyncio.Task[Any]] = [*self._copies]
        if self._survey is not None:
            tasks.append(self._survey)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for endpoint in self.all:
            await endpoint.close()

    async def admit(self) -> list[Endpoint]:
        """
        Have every endpoint that answers show that it is what the configuration says; return those
        that did.

        Raises `ConfigError` when one is not, `EndpointError` when none answers.
        """
        failures: list[EndpointError] = []
        for endpoint in self.all:
            try:
                await self._admit_once(endpoint)
            except EndpointError as error:
                endpoint.health.fails(self._clock())
                failures.append(error)
        admitted = [one for one in self.all if one in self._admitted]
        if not admitted:
            raise failures[0]
        for failure in failures:
            log.get().warning(
                "endpoint_unreachable",
                error=str(failure),
                advice="the others are used meanwhile, and it is tried again",
            )
        return admitted

    def view(self) -> View:
        """
        Return what the next pass is given; the same view while nothing has changed.

        Raises `OtherChainError` when every endpoint was refused.
        """
        now = self._clock()
        self._survey_if_due(now)
        admitted = [one for one in self.all if one in self._admitted]
        place = choose([one.health for one in admitted], now)
        if place is None:
            raise OtherChainError(
                "every endpoint of this chain was refused: correct their URLs, and start again"
            )
        reader = admitted[place]
        witnesses = None
        if not (self._trusted and reader is self.all[0]):
            # Two paths to one host are one opinion.
            witnesses = tuple(one for one in self._working(now) if one.host != reader.host)
        view = View(reader, witnesses)
        if self._view is not None and self._view.reader is not reader:
            left = self._view.reader
            log.get().warning(
                "endpoint_changed",
                left=left.name,
                taken=reader.name,
                circuit=str(left.health.circuit(now)),
                lags=left.health.lags(now),
                score=round(left.health.score, 2),
                failed=left.health.failed,
                answered=left.health.answered,
                latency_ms=round(1000 * left.health.latency),
            )
        self._view = view
        return view

    def passed(self) -> None:
        """
        Take note that a pass succeeded.
        """
        if self._view is not None:
            self._view.reader.health.passes(self._clock())

    def failed(self, error: ChainError) -> float:
        """
        Take note that a pass was interrupted; return the seconds until there is an endpoint to
        read from.
        """
        now = self._clock()
        candidates = [one for one in self.all if one in self._admitted] or self.all
        asked = error.retry_after if isinstance(error, ThrottledError) else 0.0
        # Without a view nothing was read but what the checks at the start want to know.
        reader = candidates[0] if self._view is None else self._view.reader
        reader.health.fails(now, asked)
        health = [one.health for one in candidates]
        place = choose(health, now)
        return LONGEST_PAUSE if place is None else health[place].pause(now)

    async def broadcast(self, signed: bytes) -> tuple[Verdict, str]:
        """
        Send signed bytes to every endpoint that works; return what the pass's own said, or another
        one if that took them and its own did not.

        The others are not waited for once the pass's own has the bytes.
        """
        first = self._view.reader if self._view is not None else self.all[0]
        others = [one for one in self._working(self._clock()) if one is not first]
        copies = [asyncio.create_task(Web3Sender(one).broadcast(signed)) for one in others]
        for copy in copies:
            self._copies.add(copy)
            copy.add_done_callback(self._copies.discard)
        told = await Web3Sender(first).broadcast(signed)
        if told[0] in TAKEN:
            return told
        for other in [await copy for copy in copies]:
            if other[0] in TAKEN or told[0] is Verdict.UNANSWERED:
                told = other
            if told[0] in TAKEN:
                break
        return told

    async def survey(self) -> None:
        """
        Ask every endpoint whose pause is over for its chain and its head.
        """
        now = self._clock()
        asked = {
            place: one
            for place, one in enumerate(self.all)
            if one.health.circuit(now) is not Circuit.OPEN
        }
        found = await asyncio.gather(*map(self._probe, asked.values()))
        heights = {
            place: height for place, height in zip(asked, found, strict=True) if height is not None
        }
        health = [one.health for one in self.all]
        compare(health, self._heights, heights, self._clock(), 0 if self._trusted else None)
        self._heights = heights

    async def _probe(self, endpoint: Endpoint) -> Height | None:
        try:
            await self._admit_once(endpoint)
            await endpoint.check_chain()
            head = await endpoint.block()
        except ConfigError as error:
            endpoint.refuse(str(error))
        except OracleError as error:
            endpoint.health.fails(self._clock())
            log.get().debug("endpoint_failed", error=str(error))
        else:
            endpoint.health.recovers(self._clock())
            return Height(head.number, head.timestamp)
        return None

    async def _admit_once(self, endpoint: Endpoint) -> None:
        if endpoint not in self._admitted:
            await self._admit(endpoint)
            self._admitted.add(endpoint)

    def _working(self, now: float) -> list[Endpoint]:
        return [
            one
            for one in self.all
            if one in self._admitted and one.health.circuit(now) is not Circuit.OPEN
        ]

    def _survey_if_due(self, now: float) -> None:
        if len(self.all) == 1:
            return
        if self._survey is not None:
            if not self._survey.done():
                return
            self._survey.result()
        may_work_again = any(one.health.circuit(now) is Circuit.HALF_OPEN for one in self.all)
        if may_work_again or now - self._surveyed >= SURVEY_SECONDS:
            self._surveyed = now
            self._survey = asyncio.create_task(self.survey())
