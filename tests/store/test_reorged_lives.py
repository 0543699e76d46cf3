"""
Misfortunes of one request that once went wrong, each told by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.request import State
from oracle.store import requests
from tests.factories import REQUESTER, hash32
from tests.model_coordinator import encode_discard, is_fulfillment
from tests.model_end import copy_of_beginning
from tests.model_faults import without_threads
from tests.model_node import DEPTH
from tests.model_rules import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.model_node import Node, Track

pytestmark = pytest.mark.store


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    with without_threads():
        node = await copy_of_beginning(tmp_path, shared=False)
        await node.start()
        yield node
        await node.stop()


def ask(track: Track) -> None:
    data = CoordinatorProtocol.encode_request(100_000, 1, DEPTH, hash32("user"))
    track.chain.waiting.append(track.chain.user_tx(REQUESTER, track.contract, data, 10**15))


async def states(node: Node, track: Track) -> list[State]:
    async with node.database.read() as connection:
        found = await requests.in_states(
            connection, track.chain.chain_id, track.contract, State, limit=None
        )
    return [tracked.state for tracked in found]


async def walk(node: Node, track: Track, *, blocks: int) -> None:
    for _ in range(blocks):
        track.chain.mine()
        assert await node.walk(track) is not None, node.interrupted


async def test_endpoint_that_tells_logs_twice_stops_nothing(node: Node) -> None:
    track = node.tracks[0]
    track.primary.fault = "repeats"
    ask(track)
    await walk(node, track, blocks=2 * DEPTH + 2)
    assert await states(node, track) == [State.DONE]


async def test_logs_that_an_endpoint_did_not_have_yet_are_read_later(node: Node) -> None:
    track = node.tracks[0]
    ask(track)
    track.primary.fault = "hides"
    track.chain.mine()
    # The chain's own counter gives it away.
    assert await node.walk(track) is None
    assert await states(node, track) == []
    track.primary.fault = None
    await walk(node, track, blocks=2 * DEPTH + 2)
    assert await states(node, track) == [State.DONE]


@pytest.mark.parametrize("state", [State.SENT, State.MINED, State.DONE])
async def test_request_gets_no_second_nonce_while_its_first_may_land(
    node: Node, state: State
) -> None:
    track, watcher = node.tracks[0], Watcher(node)
    ask(track)
    blocks = {State.SENT: 1, State.MINED: 2, State.DONE: 2 + DEPTH}[state]
    await walk(node, track, blocks=DEPTH + blocks)
    assert await states(node, track) == [state]
    # The request is mined again at its height, so it keeps its id; its fulfillment waits.
    made = watcher.requests(track, track.chain.blocks)[0].block_number
    depth = track.chain.number - made + 1
    track.chain.rewind(depth, keep=lambda tx: True)
    for _ in range(depth + 1):
        track.chain.mine(wallets=False)
    # The watcher refuses whatever leaves for the request at another nonce.
    assert await node.walk(track) is not None
    await walk(node, track, blocks=2 * DEPTH + 2)
    assert await states(node, track) == [State.DONE]
    [nonces] = watcher.nonces.values()
    assert len(nonces) == 1


async def test_request_whose_transaction_reverted_gets_no_second_nonce_before_that_is_settled(
    node: Node,
) -> None:
    track, watcher = node.tracks[0], Watcher(node)
    ask(track)
    await walk(node, track, blocks=1)
    [request] = watcher.requests(track, track.chain.blocks)
    track.chain.poison[track.contract, request.seed_index] = 1
    await walk(node, track, blocks=DEPTH + 1)
    assert await states(node, track) == [State.CONFIRMED]
    await walk(node, track, blocks=DEPTH - 1)
    assert await states(node, track) == [State.CONFIRMED]
    # What reverted, and whatever was sent since, wait again.
    track.chain.rewind(DEPTH, keep=lambda tx: True)
    under_way = [tx for tx in track.chain.mempool.values() if is_fulfillment(tx.data)]
    assert len(under_way) == 1
    for _ in range(DEPTH):
        track.chain.mine(wallets=False)
    await walk(node, track, blocks=3 * DEPTH + 3)
    assert await states(node, track) == [State.DONE]
    await watcher.check_store()


async def test_seed_that_was_given_up_for_good_is_not_promised_after_a_reorg_that_went_deeper(
    node: Node,
) -> None:
    track, watcher = node.tracks[0], Watcher(node)
    ask(track)
    await walk(node, track, blocks=1)
    # Discarded, at depth, and erased; then the block that said so is gone, and a request takes it.
    data = encode_discard(track.state().next + 2)
    track.chain.waiting.append(track.chain.user_tx(track.wallet, track.contract, data))
    await walk(node, track, blocks=DEPTH + 3)
    track.chain.rewind(DEPTH + 3, keep=lambda tx: tx.data != data)
    ask(track)
    for _ in range(DEPTH + 5):
        track.chain.mine()
        await node.walk(track)
        await watcher.check_store()
    await walk(node, track, blocks=DEPTH + 2)
    assert set(await states(node, track)) == {State.DONE, State.FAILED}
