"""
A node that was down for hours: what has piled up meanwhile is read in pieces, whatever an endpoint
gives at once, and ends with the way to the fees named.

`ORACLE_BACKLOG` says how many requests have piled up.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from eth_abi.abi import encode

from oracle.evm import Block, Log, keccak
from oracle.protocols.coordinator import REQUESTED, CoordinatorProtocol, request_id
from oracle.request import State
from oracle.steps import watch as watching
from oracle.steps.draw import draw
from oracle.steps.watch import MANY_LOGS, confirm, watch
from oracle.store import requests
from oracle.store.book import Book
from tests.factories import REQUESTER
from tests.model_endpoint import Endpoint
from tests.model_faults import without_threads
from tests.model_life import Living
from tests.model_node import DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence

    from oracle.coordinator_service import Service
    from tests.model_node import Track

pytestmark = pytest.mark.store

# More than is stored at a time, in the blocks that are asked for at once.
MANY = int(os.environ.get("ORACLE_BACKLOG") or 9_000)
BLOCKS = 900


class Flooded(Endpoint):
    """
    An endpoint whose chain has grown by very many requests, and that gives the logs of as many
    blocks as it is asked for.
    """

    def __init__(self, track: Track) -> None:
        super().__init__(track.chain)
        self.track = track
        self.base = track.chain.number
        self.end = self.base + BLOCKS
        self.first = track.state().next

    async def block(self, number: int | None = None) -> Block:
        number = self.end if number is None else number
        if number <= self.base:
            return await super().block(number)
        return Block(
            number=number,
            hash=keccak(b"block %d" % number),
            parent_hash=bytes(32),
            timestamp=12 * number,
            base_fee=1,
            gas_limit=30_000_000,
        )

    async def logs(
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        found = await super().logs(address, first, min(last, self.base), topics)
        for number in range(max(first, self.base + 1), last + 1):
            at = number - self.base - 1
            block = await self.block(number)
            for n in range(MANY * at // BLOCKS, MANY * (at + 1) // BLOCKS):
                found.append(self._asked(n, block))
        return found

    def _asked(self, n: int, block: Block) -> Log:
        protocol = self.track.protocol
        terms = (
            (self.first + n)
            | 100_000 << 64
            | 1 << 96
            | 1 << 112
            | block.number << 120
            | 10**15 << 160
        )
        seed = n.to_bytes(32, "big")
        id_ = request_id(protocol.domain, REQUESTER, terms, seed)
        return Log(
            address=self.track.contract,
            topics=(REQUESTED, id_, bytes(12) + bytes.fromhex(REQUESTER[2:])),
            data=encode(["uint256", "bytes32"], [terms, seed]),
            block_number=block.number,
            block_hash=block.hash,
            transaction_hash=keccak(id_),
            index=n,
        )

    async def call(
        self, to: str, data: bytes, block: int | None = None, *, sender: str | None = None
    ) -> bytes:
        if data == CoordinatorProtocol.SEEDS:
            return encode(["uint64", "uint64"], [self.first + MANY] * 2)
        return await super().call(to, data, block, sender=sender)


class Life(Living):
    """
    A life whose chain ends with the flood.
    """

    async def calm(self) -> None:
        return


@pytest.fixture
def life() -> Iterator[Living]:
    with without_threads():
        life = Life()
        life.begin(shared=False)
        yield life
        life.teardown()


def test_what_has_piled_up_is_read_in_pieces_and_every_request_ends(
    life: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = life.tracks[0]
    chain_end, track.primary = track.primary, Flooded(track)
    monkeypatch.setattr(watching, "_SAY_SECONDS", 0)
    stored: list[int] = []
    observe_all = Book.observe_all

    async def observed(self: Book[Any], tx: Any, found: Sequence[Any]) -> int:
        stored.append(len(found))
        return await observe_all(self, tx, found)

    monkeypatch.setattr(Book, "observe_all", observed)

    async def catch_up() -> tuple[int, list[int]]:
        service: Service = await life.node.connect(track)
        head = await track.primary.block()
        read, judged = await watch(service, head), []
        while (confirmed := await confirm(service, head)) + (drawn := await draw(service, head)):
            judged += [confirmed, drawn]
        return read, judged

    progress: list[int] = []

    def listen(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] == "catching_up":
            progress.append(event["left"])
        return ""

    structlog.configure(processors=[listen], logger_factory=structlog.ReturnLoggerFactory())
    read, judged = life.loop.run(catch_up())
    track.primary = chain_end
    assert max(stored) <= MANY_LOGS
    assert sum(stored) >= MANY
    assert progress == sorted(progress, reverse=True)
    assert len(progress) > MANY // MANY_LOGS
    assert read > 0
    # As many at a time as a pass looks at, and in the end all of them.
    assert max(judged) <= 1000

    async def counted() -> dict[State, int]:
        async with life.node.database.read() as connection:
            return await requests.BOOK.count_by_state(connection)

    states = life.loop.run(counted())
    assert sum(states.values()) == MANY
    assert states.keys() <= {State.EXPIRED, State.REJECTED, State.OBSERVED, State.DRAWN}
    assert states[State.EXPIRED] > MANY * (BLOCKS - 70) // BLOCKS
    assert states.get(State.OBSERVED, 0) <= DEPTH * (MANY // BLOCKS + 1)
