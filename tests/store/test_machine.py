"""
Lives of requests in any order of misfortunes: two coordinators, one store, one pool, the real
steps.

`ORACLE_MACHINE_EXAMPLES` says how many lives are tried; without it they are few, and always the
same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    run_state_machine_as_test,
)

from oracle.chain.fees import GWEI
from oracle.protocols.coordinator import CoordinatorProtocol
from tests.factories import REQUESTER, hash32
from tests.model_chain import Tx
from tests.model_coordinator import CLUMSY, WINDOW, encode_discard
from tests.model_faults import without_threads
from tests.model_node import ETHER

if TYPE_CHECKING:
    from tests.model_endpoint import Fault

from tests.model_life import Living, Remedy, lasting, misfortune, restore, sides
from tests.model_node import DEPTH

pytestmark = pytest.mark.store

EXAMPLES = os.environ.get("ORACLE_MACHINE_EXAMPLES")
depths = st.one_of(st.integers(1, DEPTH), st.integers(1, 12), st.integers(1, WINDOW))


class Life(Living):
    """
    Whatever happens to a node, and then a calm end.
    """

    # What users and strangers do.

    @misfortune(
        side=sides,
        times=st.integers(1, 4),
        confirmations=st.integers(1, 8),
        gas=st.integers(0, 2_500_000),
        words=st.integers(1, 500),
        clumsy=st.booleans(),
    )
    def ask(
        self,
        side: int,
        times: int,
        confirmations: int,
        gas: int,
        words: int,
        clumsy: bool,  # noqa: FBT001
    ) -> None:
        for _ in range(times):
            self.queue(
                self.tracks[side], CLUMSY if clumsy else REQUESTER, gas, words, confirmations
            )

    @misfortune(side=sides, blocks=st.one_of(st.integers(1, 5), st.integers(1, WINDOW + 8)))
    def mine(self, side: int, blocks: int) -> None:
        for _ in range(blocks):
            self.tracks[side].chain.mine()

    @misfortune(side=sides, blocks=st.integers(1, 12), fresh=st.booleans())
    def jam(self, side: int, blocks: int, fresh: bool) -> None:  # noqa: FBT001
        """
        No block has room for wallets, after something was sent if it is `fresh`.
        """
        track = self.tracks[side]
        if fresh:
            self.queue(track, REQUESTER)
            for _ in range(DEPTH + 1):
                track.chain.mine()
            self.loop.run(self.one_pass(track))
        for _ in range(blocks):
            track.chain.mine(wallets=False)

    @misfortune(side=sides)
    def cancel(self, side: int) -> None:
        self.cancel_late(self.tracks[side])

    @precondition(lambda self: any(self.watcher.public.values()))
    @misfortune(side=sides, which=st.integers(0, 5))
    def steal(self, side: int, which: int) -> None:
        self.copy_fulfillment(self.tracks[side], which)

    @misfortune(
        side=sides,
        what=st.sampled_from(["nothing", "discard", "commit", "money"]),
        far=st.integers(1, 300),
    )
    def use_wallet_elsewhere(self, side: int, what: str, far: int) -> None:
        track = self.tracks[side]
        state, data, to, value = track.state(), b"", REQUESTER, 0
        if what == "discard":
            to, data = track.contract, encode_discard(state.next + far)
        elif what == "commit":
            root = hash32("foreign", self.users)
            to, data = track.contract, CoordinatorProtocol.encode_commit(state.committed, [root])
        elif what == "money":
            value = track.chain.head.world.balances[track.wallet]
        self.users += 1
        tx = track.chain.user_tx(track.wallet, to, data, value)
        nonce = track.chain.head.world.nonces.get(track.wallet, 0)
        gas, fee = (0, 0) if what == "money" else (200_000, track.chain.base_fee)
        track.chain.mempool[track.wallet, nonce] = Tx(
            hash=tx.hash,
            sender=track.wallet,
            to=to,
            data=data,
            value=value,
            nonce=nonce,
            gas_limit=gas,
            max_fee=max(fee, track.chain.base_fee),
        )
        track.chain.mine()

    @misfortune(side=sides)
    def fund(self, side: int) -> None:
        track = self.tracks[side]
        track.chain.waiting.append(track.chain.user_tx(REQUESTER, track.wallet, b"", ETHER))

    @misfortune(side=sides, far=st.integers(1, 260))
    def discard(self, side: int, far: int) -> None:
        track = self.tracks[side]
        data = encode_discard(track.state().next + far)
        track.chain.waiting.append(track.chain.user_tx(track.wallet, track.contract, data))

    @misfortune(side=sides, ahead=st.integers(0, 6), times=st.integers(1, 5))
    def poison(self, side: int, ahead: int, times: int) -> None:
        track = self.tracks[side]
        index = max(0, track.state().next - 3) + ahead
        track.chain.poison[track.contract, index] = times

    # What the chain and its endpoints do.

    @misfortune(
        side=sides,
        depth=depths,
        fate=st.integers(0, 2**16),
        growth=st.integers(-2, 2),
        newcomer=st.booleans(),
    )
    def reorganize(self, side: int, depth: int, fate: int, growth: int, newcomer: bool) -> None:  # noqa: FBT001
        self.reorg(self.tracks[side], depth, fate, growth, newcomer=newcomer)

    @misfortune(side=sides, gwei=st.sampled_from([3, 30, 120, 250]), lasts=lasting)
    def change_base_fee(self, side: int, gwei: int, lasts: bool) -> Remedy | None:  # noqa: FBT001
        chain = self.tracks[side].chain
        chain.base_fee = gwei * GWEI
        return None if lasts else restore(chain, "base_fee", GWEI)

    @misfortune(side=sides, which=st.integers(0, 3))
    def drop_from_mempool(self, side: int, which: int) -> None:
        pool = self.tracks[side].chain.mempool
        if pool:
            del pool[sorted(pool)[which % len(pool)]]

    @misfortune(side=sides, arrives=st.lists(st.booleans(), min_size=1, max_size=2))
    def lose_answers(self, side: int, arrives: list[bool]) -> None:
        self.tracks[side].primary.mute = list(arrives)

    @misfortune(
        side=sides,
        fault=st.sampled_from(["down", "behind", "hides", "empty", "repeats", "garbles"]),
        lasts=lasting,
    )
    def trouble_witness(
        self,
        side: int,
        fault: Fault,
        lasts: bool,  # noqa: FBT001
    ) -> Remedy | None:
        witness = self.tracks[side].witness
        witness.fault = fault
        return None if lasts else restore(witness, "fault", None)

    @misfortune(
        side=sides, fault=st.sampled_from(["down", "behind", "hides", "repeats"]), lasts=lasting
    )
    def trouble_primary(
        self,
        side: int,
        fault: Fault,
        lasts: bool,  # noqa: FBT001
    ) -> Remedy | None:
        primary = self.tracks[side].primary
        primary.fault = fault
        return None if lasts else restore(primary, "fault", None)

    @misfortune(
        side=sides, blocks=st.integers(0, 12), confirmations=st.integers(1, 3), lasts=lasting
    )
    def invent(
        self,
        side: int,
        blocks: int,
        confirmations: int,
        lasts: bool,  # noqa: FBT001
    ) -> Remedy | None:
        """
        The first endpoint shows a branch of its own with a request that nobody made.
        """
        track = self.tracks[side]
        lie = track.chain.fork()
        data = CoordinatorProtocol.encode_request(100_000, 1, confirmations, hash32("lie"))
        lie.waiting.append(lie.user_tx(REQUESTER, track.contract, data, 10**15))
        for _ in range(1 + blocks):
            lie.mine()
        track.primary.chain = lie
        self.loop.run(self.one_pass(track))
        return None if lasts else restore(track.primary, "chain", track.chain)

    @misfortune(side=sides)
    def recover(self, side: int) -> None:
        track = self.tracks[side]
        track.primary.chain = track.chain
        track.primary.fault = track.witness.fault = None
        track.chain.base_fee = GWEI

    @misfortune(crash=st.one_of(st.none(), st.integers(1, 5)))
    def restart(self, crash: int | None) -> None:
        self.loop.run(self.node.crash(crash))

    @misfortune(count=st.sampled_from([256, 512]))
    def refill(self, count: int) -> None:
        self.loop.run(self.node.refill(self.blocks, count))
        self.blocks += count


def test_whatever_happens_every_request_ends_well() -> None:
    with without_threads():
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=int(EXAMPLES or 5),
                stateful_step_count=20,
                deadline=None,
                derandomize=EXAMPLES is None,
                suppress_health_check=list(HealthCheck),
            ),
        )
