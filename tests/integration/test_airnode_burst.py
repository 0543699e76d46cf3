"""
Many requests to an Airnode at once: what they share, and what stays each one's own.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from oracle.airnode_callback import DECOYS
from oracle.evm import keccak
from oracle.request import State
from oracle.steps import airnode_sign
from oracle.store import airnode
from oracle.store.schema import airnode_requests, attempts, transactions
from tests.airnode_node import FINE, deploy_moody, new_node, received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest
    from oracle.chain.interfaces import GasEstimator
    from oracle.chain.sender import Broadcaster, Verdict
    from oracle.store.engine import Database
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]


async def ask_together(node: Node, each: int) -> list[AirnodeRequest]:
    """
    Ask for numbers from two sponsors, by turns.
    """
    other = await deploy_moody(node, FINE)
    consumers = (node.bench.consumer, other)
    return [await node.ask_from(consumer) for _ in range(each) for consumer in consumers]


class Observer:
    """
    Hands bytes on, and looks into the store first.
    """

    def __init__(self, sender: Broadcaster, database: Database) -> None:
        self._sender = sender
        self._database = database
        self.seen: list[tuple[str, int]] = []
        #: What was not written down yet when bytes left: slots, attempts and numbers.
        self.unwritten: list[tuple[int, int, int]] = []

    async def broadcast(self, signed: bytes) -> tuple[Verdict, str]:
        verdict = await self._sender.broadcast(signed)
        async with self._database.read() as connection:
            signed_slots = (
                await connection.execute(
                    select(transactions.c.id).where(transactions.c.state == "signed")
                )
            ).all()
            unsent = (
                await connection.execute(
                    select(attempts.c.id).where(attempts.c.sent_block.is_(None))
                )
            ).all()
            secret = (
                await connection.execute(
                    select(airnode_requests.c.request_id).where(
                        airnode_requests.c.exposed_at.is_(None)
                    )
                )
            ).all()
            self.unwritten.append((len(signed_slots), len(unsent), len(secret)))
            [slot] = (
                await connection.execute(
                    select(transactions.c.wallet, transactions.c.nonce)
                    .join(attempts, attempts.c.transaction_id == transactions.c.id)
                    .where(attempts.c.transaction_hash == keccak(signed))
                )
            ).all()
            self.seen.append((slot.wallet, slot.nonce))
        return verdict


async def test_all_that_leaves_in_a_pass_is_written_down_before_the_first_byte(
    new_node: Any,
) -> None:
    node = await new_node()
    asked = await ask_together(node, 4)
    observer = Observer(node.service.sender, node.service.database)
    node.service = replace(node.service, sender=observer)
    await node.serve()
    assert observer.unwritten == [(0, 0, 0)] * len(asked)
    for wallet in {wallet for wallet, _ in observer.seen}:
        nonces = [nonce for one, nonce in observer.seen if one == wallet]
        assert nonces == sorted(set(nonces))
        assert len(nonces) == 4
    await node.walk()
    assert {await node.where(one) for one in asked} == {(State.DONE, None)}
    numbers = [await node.data(one) for one in asked]
    assert len(set(numbers)) == len(asked)
    assert [await received(node, one) for one in asked] == [1] * len(asked)


async def test_costs_are_each_requests_own_whichever_was_read_first(new_node: Any) -> None:
    node = await new_node()
    asked = await ask_together(node, 2)
    await node.serve()
    for one in asked:
        tracked = await node.tracked(one)
        assert tracked.outcome is not None
        receipt = await node.bench.reader.receipt(tracked.outcome.transaction_hash)
        assert receipt is not None
        assert tracked.cost == receipt.gas_used * receipt.gas_price


async def test_many_requests_take_as_many_store_transactions_as_few(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node()
    database = node.service.database
    write, counted = database.write, 0

    @asynccontextmanager
    async def count() -> AsyncIterator[AsyncConnection]:
        nonlocal counted
        counted += 1
        async with write() as tx:
            yield tx

    monkeypatch.setattr(database, "write", count)
    costs = []
    for each in (1, 1, 6):
        await ask_together(node, each)
        counted = 0
        await node.serve()
        costs.append(counted)
    # The first has its wallets' nonces to find out.
    assert costs[2] == costs[1]


async def test_callbacks_are_tried_at_once_but_not_all_of_them(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airnode_sign, "TRIED_AT_ONCE", 3)
    node = await new_node()
    asked = await ask_together(node, 4)

    class Counting:
        inside = most = 0

        def __init__(self, estimator: GasEstimator) -> None:
            self._estimator = estimator

        async def estimate_gas(self, **given: Any) -> int:
            self.inside += 1
            self.most = max(self.most, self.inside)
            await asyncio.sleep(0)
            try:
                return await self._estimator.estimate_gas(**given)
            finally:
                self.inside -= 1

    estimator = Counting(node.service.estimator)
    node.service = replace(node.service, estimator=estimator)
    await node.serve()
    assert estimator.most == 3 * DECOYS
    async with node.service.database.read() as connection:
        answers = await airnode.answers(connection, [one.key for one in asked])
    assert all(answer.held_since is None for answer in answers.values())


async def test_long_queue_of_one_wallet_goes_on_as_fast_as_the_wallet_can(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airnode_sign, "MANY", 8)
    monkeypatch.setattr(airnode_sign, "MAX_IN_FLIGHT", 4)
    node = await new_node()
    asked = [await node.ask() for _ in range(12)]
    signed = []
    for _ in range(4):
        signed.append(len(await node.transactions()))
        await node.serve()
    # Those that have landed make room for as many in the same pass.
    assert signed == [0, 8, 12, 12]
    assert {await node.where(one) for one in asked} == {(State.DONE, None)}
