"""
The life of a node that a state machine tells: its passes, its deaths, and its calm end.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from oracle.chain.fees import GWEI
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.store import cursors
from tests.factories import REQUESTER, hash32
from tests.model_coordinator import WINDOW, encode_cancel
from tests.model_end import Ending, copy_of_beginning
from tests.model_faults import Crash, tripped_at_fault_points
from tests.model_node import BLOCKS, DEPTH, ETHER, Track
from tests.model_rules import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable


Remedy = Callable[[], None]

sides = st.integers(0, 1)
lasting = st.sampled_from([False, False, True])
depths = st.one_of(st.integers(1, DEPTH), st.integers(1, 12), st.integers(1, WINDOW))


#: A pass of the side that it happens to, or of the other one, after so many new requests and
#: blocks of its chain.
passes = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1]), st.sampled_from([1, 0, 0, 2]), st.sampled_from([1, 0, 2, 5])
    ),
    min_size=1,
    max_size=4,
)


def misfortune(
    **parameters: st.SearchStrategy[Any],
) -> Callable[[Callable[..., Remedy | None]], Any]:
    """
    Make a rule of what happens to a node that goes on meanwhile; what it returns ends it.
    """

    def decorate(happens: Callable[..., Remedy | None]) -> Any:
        @wraps(happens)
        def happens_to(self: Living, then: list[tuple[int, int, int]], **drawn: Any) -> None:
            remedy = happens(self, **drawn)
            for other, asked, blocks in then:
                side = drawn.get("side", 0) ^ other
                for _ in range(asked):
                    self.queue(self.tracks[side], REQUESTER)
                for _ in range(blocks):
                    self.tracks[side].chain.mine()
                self.loop.run(self.one_pass(self.tracks[side]))
            if remedy is not None:
                remedy()

        make: Any = rule
        return make(then=passes, **parameters)(happens_to)

    return decorate


def restore(thing: object, name: str, value: object) -> Remedy:
    """
    Return what sets an attribute back.
    """
    return lambda: setattr(thing, name, value)


class Living(RuleBasedStateMachine):
    """
    A node over two coordinators, its passes, and the calm end that every life has to have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.loop = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.users = 0
        self.blocks = BLOCKS

    @initialize(shared=st.booleans())
    def begin(self, shared: bool) -> None:  # noqa: FBT001 - a rule's parameters have names
        self.node = self.loop.run(copy_of_beginning(self.folder, shared=shared))
        self.tracks = self.node.tracks
        self.watcher = Watcher(self.node)
        self.stack.enter_context(tripped_at_fault_points(self.node.tripwire))
        structlog.configure(
            processors=[self.watcher.log], logger_factory=structlog.ReturnLoggerFactory()
        )
        self.loop.run(self.node.start())

    def teardown(self) -> None:
        failed = sys.exc_info()[1] is not None
        try:
            if not failed and hasattr(self, "node"):
                self.loop.run(self.calm())
        finally:
            if hasattr(self, "node"):
                structlog.reset_defaults()
                self.loop.run(self.node.stop())
            self.stack.close()
            self.loop.close()
            shutil.rmtree(self.folder)

    def queue(
        self, track: Track, who: str, gas: int = 100_000, words: int = 1, confirmations: int = 1
    ) -> None:
        self.users += 1
        seed = hash32("user", self.users)
        data = CoordinatorProtocol.encode_request(gas, words, confirmations, seed)
        tx = track.chain.user_tx(who, track.contract, data, 10**15 + self.users)
        track.chain.waiting.append(tx)

    def cancel_late(self, track: Track) -> int:
        pending = track.state().pending
        late = [
            request
            for request in self.watcher.requests(track, track.chain.blocks)
            if request.key.request_id in pending
            and request.block_number + WINDOW <= track.chain.number
        ]
        for request in late:
            track.chain.waiting.append(
                track.chain.user_tx(request.requester, track.contract, encode_cancel(request))
            )
        return len(late)

    def copy_fulfillment(self, track: Track, which: int) -> None:
        known = self.watcher.public[track.name]
        if known:
            data = known[-1 - which % len(known)]
            track.chain.waiting.append(track.chain.user_tx(REQUESTER, track.contract, data))

    def reorg(self, track: Track, depth: int, fate: int, growth: int, *, newcomer: bool) -> None:
        chain = track.chain
        # The first seeds stay: a node without any has nothing to do.
        depth = min(depth, chain.number - DEPTH - 2)
        if depth < 1:
            return
        gone = chain.blocks[-depth:]
        chain.rewind(depth, keep=lambda tx: fate >> tx.hash[0] % 16 & 1 == 0)
        if fate & 1:
            # Every request comes back at its height, and so with its id.
            back, chain.waiting = chain.waiting, []
            for place, block in enumerate(gone):
                chain.waiting += [tx for tx in block.txs if tx in back]
                chain.mine(wallets=fate >> place % 16 & 1 == 0)
            chain.waiting += [tx for tx in back if not any(tx in block.txs for block in gone)]
            depth = 0
        if newcomer:
            late, chain.waiting = chain.waiting, []
            self.queue(track, REQUESTER)
            chain.waiting += late
        for place in range(max(0, depth + growth)):
            chain.mine(wallets=fate >> place % 16 & 1 == 0)

    # What the node does.

    @rule(
        side=sides,
        crash=st.one_of(st.none(), st.integers(1, 90)),
        again=st.one_of(st.none(), st.integers(1, 8)),
        meanwhile=st.one_of(
            st.none(),
            st.tuples(
                st.integers(0, 25),
                st.sampled_from(["mine", "reorg", "other", "steal", "fail", "pause"]),
                st.integers(0, 4),
            ),
        ),
    )
    def walk(
        self,
        side: int,
        crash: int | None,
        again: int | None,
        meanwhile: tuple[int, str, int] | None,
    ) -> None:
        track = self.tracks[side]
        if meanwhile is not None:
            after, what, n = meanwhile
            track.disturb = (after, self.meanwhile(side, what, n))
        self.loop.run(self.one_pass(track, crash, again))

    @rule(side=sides, times=st.integers(1, 6))
    def walk_on(self, side: int, times: int) -> None:
        for _ in range(times):
            self.tracks[side].chain.mine()
            self.loop.run(self.one_pass(self.tracks[side]))

    def meanwhile(self, side: int, what: str, n: int) -> Callable[[], Awaitable[None]]:
        track, other = self.tracks[side], self.tracks[1 - side]

        async def act() -> None:
            match what:
                case "mine":
                    track.chain.mine()
                case "reorg":
                    self.reorg(track, 1 + n, 1 << n, 1, newcomer=n > 2)
                case "other":
                    await self.pass_of(other)
                case "steal":
                    self.copy_fulfillment(track, n)
                    track.chain.mine()
                case "fail":
                    track.primary.fault = "down"
                case "pause":
                    # Another process takes over and goes on; then this one wakes.
                    await self.node.take_over(track)
                    for _ in range(n):
                        track.chain.mine()
                        await self.pass_of(track)

        return act

    async def one_pass(
        self, track: Track, crash: int | None = None, again: int | None = None
    ) -> int | None:
        self.node.tripwire.left = crash
        try:
            moved = await self.pass_of(track)
        except Crash:
            moved = None
            await self.node.crash(again)
        finally:
            self.node.tripwire.left = None
            for one in self.tracks:
                one.disturb = None
        await self.watcher.check_store()
        return moved

    async def pass_of(self, track: Track) -> int | None:
        if track.primary.fault == "hides":
            # What is hidden for longer than blocks are read again is lost to everybody.
            if track.blind or not await self.is_close(track):
                track.primary.fault = None
            else:
                track.blind = True
        hidden, head = track.primary.fault == "hides", track.primary.shown[-1].header
        moved = await self.node.walk(track)
        if moved is not None and not hidden and track.read_to != head.hash:
            track.blind = False
        if hidden:
            track.primary.fault = None
        track.read_to = head.hash
        return moved

    async def is_close(self, track: Track) -> bool:
        place = (track.chain.chain_id, track.contract)
        async with self.node.database.read() as connection:
            cursor = await cursors.get_cursor(connection, *place)
        shown = track.primary.shown
        return (
            cursor is not None
            and cursor.number < len(shown)
            and shown[cursor.number].header.hash == cursor.hash
            and len(shown) - cursor.number <= 12
        )

    # The end.

    async def calm(self) -> None:
        for track in self.tracks:
            track.primary.chain = track.chain
            track.primary.fault = track.witness.fault = None
            track.primary.mute.clear()
            track.chain.base_fee = GWEI
            track.chain.waiting.append(
                track.chain.user_tx(REQUESTER, track.wallet, b"", 10 * ETHER)
            )
        start = {track.name: track.chain.number for track in self.tracks}
        await self.until_quiet()
        ending = Ending(self.node, self.watcher)
        for track in self.tracks:
            await ending.check_served(track, start[track.name])
            for _ in range(WINDOW + 1):
                track.chain.mine()
            self.cancel_late(track)
            for _ in range(DEPTH + 1):
                track.chain.mine()
        await self.until_quiet()
        for track in self.tracks:
            await ending.check(track)
        await ending.check_original()

    async def until_quiet(self) -> None:
        ending = Ending(self.node, self.watcher)
        for _ in range(60):
            moved: list[object] = []
            for track in self.tracks:
                track.chain.mine()
                moved.append(await self.one_pass(track))
            if moved == [0, 0] and not await ending.is_busy():
                return
        pytest.fail(f"no rest: {self.node.interrupted[-2:]}")
