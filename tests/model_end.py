"""
How a life of requests begins, and how it has to end once nothing disturbs it any more.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.audit.ledger import Ledger
from oracle.audit.report import Report
from oracle.audit.store import StoreAudit
from oracle.explain import _ENDS
from oracle.protocols.coordinator import WINDOW_MARGIN
from oracle.request import State
from oracle.store import requests, transactions
from oracle.store.cursors import get_setting
from oracle.store.epochs import RESTORED
from oracle.store.transactions import SlotState
from tests.model_coordinator import WINDOW
from tests.model_node import BLOCKS, DEPTH, Node, Track, new_tracks

if TYPE_CHECKING:
    from oracle.request import RandomnessRequest, TrackedRequest
    from tests.model_rules import Watcher

# What a calm node needs at most, in blocks: bytes that are stuck wait for eight of them, twice.
PATIENCE = 24
OPEN = {
    State.OBSERVED,
    State.CONFIRMED,
    State.DRAWN,
    State.SIGNED,
    State.SENT,
    State.MINED,
}


@cache
def beginning(*, shared: bool) -> tuple[Path, list[Track]]:
    """
    Return the files of a node that has committed its first seeds, and its chains.
    """
    folder = Path(tempfile.mkdtemp())

    async def prepare() -> list[Track]:
        tracks = new_tracks(shared=shared)
        node = Node(folder, tracks)
        await node.start(migrate=True)
        await node.refill(0, BLOCKS)
        for _ in range(DEPTH + 2):
            for track in tracks:
                assert await node.walk(track) is not None, node.interrupted
            for chain in {id(track.chain): track.chain for track in tracks}.values():
                chain.mine()
        await node.stop()
        return tracks

    return folder, asyncio.run(prepare())


async def copy_of_beginning(folder: Path, *, shared: bool) -> Node:
    """
    Return a node of its own that has the same past, not started.
    """
    files, first = await asyncio.to_thread(beginning, shared=shared)
    for path in files.iterdir():
        shutil.copy(path, folder)
    tracks = new_tracks(shared=shared)
    forks = {id(track.chain): track.chain.fork() for track in first}
    for track, origin in zip(tracks, first, strict=True):
        track.chain = forks[id(origin.chain)]
        track.primary.chain = track.witness.chain = track.chain
    return Node(folder, tracks)


class Ending:
    """
    What holds when a node has come to rest.
    """

    def __init__(self, node: Node, watcher: Watcher) -> None:
        self.node = node
        self.watcher = watcher

    async def is_busy(self) -> bool:
        """
        Whether anything is under way.
        """
        async with self.node.database.read() as connection:
            for track in self.node.tracks:
                place = (track.chain.chain_id, track.contract)
                if await transactions.slots_in(
                    connection, *place, [SlotState.SIGNED, SlotState.SENT, SlotState.MINED]
                ) or await requests.in_states(connection, *place, OPEN):
                    return True
        return False

    async def _stored(self, track: Track) -> dict[bytes, TrackedRequest]:
        place = (track.chain.chain_id, track.contract)
        async with self.node.database.read() as connection:
            found = await requests.in_states(connection, *place, State, limit=None)
        return {tracked.request.key.request_id: tracked for tracked in found}

    async def check_served(self, track: Track, start: int) -> None:
        """
        What could be served was.
        """
        known, state = await self._stored(track), track.state()
        for request in self.watcher.requests(track, track.chain.blocks):
            id_ = request.key.request_id
            if id_ not in state.pending:
                continue
            tracked = known[id_]
            assert (tracked.state, tracked.reason) in _ENDS
            if tracked.state is State.EXPIRED:
                assert request.block_number + WINDOW - WINDOW_MARGIN <= start + PATIENCE

    async def check(self, track: Track) -> None:
        known, state = await self._stored(track), track.state()
        canonical = self.watcher.requests(track, track.chain.blocks)
        for request in canonical:
            tracked = known.pop(request.key.request_id)
            assert tracked.request == request
            assert request.key.request_id not in state.pending
            fulfilled = request.key.request_id in state.fulfilled
            assert tracked.state is (State.DONE if fulfilled else State.CANCELLED)
        assert {tracked.state for tracked in known.values()} <= {State.ORPHANED}
        await self._check_erased(track, canonical)
        await self._audit(track)

    async def _check_erased(self, track: Track, canonical: list[RandomnessRequest]) -> None:
        """
        No secret is kept once its request is settled and its window has passed for good.
        """
        head = track.chain.number
        closed = [
            request.seed_index
            for request in canonical
            if request.block_number + WINDOW < head - DEPTH
        ]
        place = (track.chain.chain_id, track.contract)
        async with self.node.database.read() as connection:
            kept = await self.node.pool.seeds(connection, *place, closed)
        assert kept == {}

    async def check_original(self) -> None:
        """
        No death was taken for a restored backup: that would cost all that the pool holds.
        """
        async with self.node.database.read() as connection:
            assert await get_setting(connection, RESTORED) is None

    async def _audit(self, track: Track) -> None:
        report = Report(
            chain_id=track.chain.chain_id, contract=track.contract, block=track.chain.number
        )
        with Ledger(report, window=WINDOW) as ledger:
            for log in track.primary.told(track.chain.blocks):
                if log.address == track.contract:
                    ledger.enter(log)
            store = StoreAudit(self.node.database, ledger)
            for root in ledger.roots():
                await store.leaves_of(root)
            await store.audit()
        found = [finding for finding in report.findings if finding.code != "foreign_root"]
        assert found == []
