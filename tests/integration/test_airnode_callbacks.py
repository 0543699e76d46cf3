"""
Callbacks of Airnode requests that fail, that need much gas, or that nobody could try.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from oracle.airnode_outcomes import response
from oracle.cli.requests import requests as request_verbs
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.errors import AnsweredError
from oracle.evm import TRANSACTION_GAS_CAP
from oracle.funds import tariff_at
from oracle.request import State
from oracle.store import airnode, transactions
from oracle.store.transactions import SlotState
from tests.airnode import call
from tests.airnode_node import FINE, HUNGRY, REVERTING, deploy_moody, new_node, received, said

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]


async def test_callback_that_fails_is_held_and_then_put_on_record(new_node: Any) -> None:
    node = await new_node()
    consumer = await deploy_moody(node, REVERTING)
    request = await node.ask_from(consumer)
    await node.serve()
    assert await node.where(request) == (State.DRAWN, "callback_fails")
    assert await node.transactions() == []
    node.service = replace(node.service, policy=replace(node.service.policy, hold=0))
    await node.serve()
    tracked = await node.tracked(request)
    assert tracked.state is State.DONE
    assert tracked.outcome is not None
    assert not tracked.outcome.callback_succeeded


async def test_callback_that_is_mended_in_time_gets_the_same_number(new_node: Any) -> None:
    node = await new_node()
    consumer = await deploy_moody(node, REVERTING)
    request = await node.ask_from(consumer)
    await node.serve()
    async with node.service.database.read() as connection:
        answer = await airnode.answers(connection, [request.key])
        drawn = await response(connection, node.service.pool, answer)
    await node.act(Devnet.player(), consumer, call("setMood(uint8)", FINE))
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await node.data(request) == drawn[request.key]
    assert await received(node, request) == 1


async def test_by_policy_a_callback_that_fails_is_failed_with_its_number(new_node: Any) -> None:
    node = await new_node(hold_minutes=0, held='"fail"')
    consumer = await deploy_moody(node, REVERTING)
    request = await node.ask_from(consumer)
    await node.walk()
    async with node.service.database.read() as connection:
        answer = await airnode.answers(connection, [request.key])
        drawn = await response(connection, node.service.pool, answer)
    await node.serve()
    tracked = await node.tracked(request)
    assert tracked.outcome is not None
    receipt = await node.bench.reader.receipt(tracked.outcome.transaction_hash)
    assert receipt is not None
    [failed] = node.bench.events(receipt)
    assert drawn[request.key].hex() in failed.message
    id_ = f"0x{request.key.request_id.hex()}"
    shown = json.loads(await said(node, request_verbs, "show", id_, "--json"))
    assert shown["reason"] == "failed_by_policy"


async def test_hungry_callback_gets_all_the_gas_that_it_needs(new_node: Any) -> None:
    node = await new_node()
    consumer = await deploy_moody(node, HUNGRY)
    request = await node.ask_from(consumer)
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await received(node, request) == 1


class Blind:
    """
    An endpoint that cannot try calls.
    """

    async def estimate_gas(self, **_: object) -> int:
        raise AnsweredError("the method does not exist")


async def test_endpoint_that_cannot_try_calls_never_leads_to_a_fail(new_node: Any) -> None:
    node = await new_node(held='"fail"')
    node.service = replace(node.service, estimator=Blind())
    request = await node.ask()
    await node.serve()
    assert await node.where(request) == (State.DRAWN, "callback_untried")
    node.service = replace(node.service, policy=replace(node.service.policy, hold=0))
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await received(node, request) == 1


@pytest.mark.parametrize(("rich", "mood"), [(True, HUNGRY), (False, FINE)])
async def test_callback_that_nobody_could_try_gets_what_its_wallet_can_pay_for(
    new_node: Any,
    rich: bool,  # noqa: FBT001 - a parameter of the test
    mood: int,
) -> None:
    node = await new_node()
    policy = replace(node.service.policy, hold=0)
    node.service = replace(node.service, estimator=Blind(), policy=policy)
    request = await node.ask_from(await deploy_moody(node, mood))
    if not rich:
        tariff = await tariff_at(node.service, await node.service.reader.block())
        assert tariff is not None
        balance = tariff.least(2_000_000, 550)
        await node.rpc("anvil_setBalance", request.sponsor_wallet, hex(balance))
    await node.walk(2)
    async with node.service.database.read() as connection:
        [slot] = await transactions.slots_in(
            connection, CHAIN_ID, node.service.contract, list(SlotState)
        )
    assert slot.gas_limit > 2 * policy.gas_floor
    most = min(TRANSACTION_GAS_CAP, (await node.service.reader.block()).gas_limit // 2)
    assert (slot.gas_limit == most) == rich
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await received(node, request) == 1
