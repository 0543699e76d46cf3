"""
A node whose machine's clock jumps by years: nothing ends, goes out or goes away by that.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from oracle import clock
from oracle.request import State
from tests.airnode_node import REVERTING, deploy_moody, new_node
from tests.integration.test_airnode_retention import tombstones

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]

YEARS = 10 * 365 * 86_400_000


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """
    Set the machine's clock forward, or back, by milliseconds.
    """

    def by(milliseconds: int) -> None:
        monkeypatch.setattr(clock, "now", lambda: time.time_ns() // 1_000_000 + milliseconds)

    return by


async def real_chain(new_node: Any, **settings: Any) -> Node:
    """
    Return a node that takes its chain for a real one, whose blocks have the time of the world.
    """
    node: Node = await new_node(**settings)
    node.service = replace(node.service, devnet=False)
    await node.rpc("evm_setTime", int(time.time()))
    await node.rpc("anvil_mine", "0x1")
    return node


async def test_request_is_not_too_old_by_a_jump_forward(
    new_node: Any, jump: Callable[[int], None]
) -> None:
    node = await real_chain(new_node, max_age_hours=24)
    request = await node.ask()
    await node.rpc("anvil_setBalance", request.sponsor_wallet, "0x0")
    await node.walk()
    assert await node.where(request) == (State.CONFIRMED, "wallet_unfunded")
    jump(YEARS)
    await node.serve()
    await node.rpc("anvil_setBalance", request.sponsor_wallet, hex(10**18))
    await node.serve()
    await node.serve()
    assert (await node.where(request))[0] is State.DONE


@pytest.mark.parametrize("by", [YEARS, -YEARS])
async def test_callback_that_fails_is_held_through_a_jump(
    new_node: Any, jump: Callable[[int], None], by: int
) -> None:
    node = await real_chain(new_node)
    consumer = await deploy_moody(node, REVERTING)
    request = await node.ask_from(consumer)
    jump(by)
    await node.serve()
    await node.serve()
    assert await node.where(request) == (State.DRAWN, "callback_fails")
    # Held while the clock was wrong, it is not held for longer than a minute by that.
    jump(2 * clock.AHEAD)
    node.service = replace(node.service, policy=replace(node.service.policy, hold=0))
    await node.serve()
    assert (await node.where(request))[0] is State.DONE


async def test_sponsor_gets_no_second_days_numbers_by_a_jump_forward(
    new_node: Any, jump: Callable[[int], None]
) -> None:
    node = await real_chain(new_node)
    node.service = replace(node.service, policy=replace(node.service.policy, draws_per_day=1))
    first, second = await node.ask(), await node.ask()
    await node.serve()
    jump(YEARS)
    await node.serve()
    states = {await node.where(request) for request in (first, second)}
    assert (State.CONFIRMED, "sponsor_cap") in states


async def test_nothing_is_pruned_by_a_jump_forward(
    new_node: Any, jump: Callable[[int], None]
) -> None:
    node = await real_chain(new_node)
    request = await node.ask()
    await node.serve()
    await node.serve()
    await node.rpc("anvil_mine", "0x14")
    node.service = replace(node.service, keep_days=1)
    jump(YEARS)
    await node.walk()
    assert await tombstones(node) == {}
    assert (await node.where(request))[0] is State.DONE
