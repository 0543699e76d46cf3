"""
Sponsor wallets that cannot pay, or whose requests cost too much: they keep nobody waiting.
"""

from __future__ import annotations

from typing import Any

import pytest

from oracle.cli.wallet import wallet as wallet_verbs
from oracle.devnet.network import Devnet
from oracle.request import State
from oracle.steps import airnode_draw, airnode_sign
from tests.airnode import ETHER
from tests.airnode_node import (
    FINE,
    balances,
    deploy_dry,
    deploy_moody,
    drawn,
    new_node,
    received,
    said,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]


async def test_dry_wallet_is_named_and_served_once_it_is_funded(new_node: Any) -> None:
    node = await new_node()
    dry = await deploy_dry(node)
    unfunded = await node.ask_from(dry)
    funded = await node.ask()
    await node.serve()
    assert await node.where(unfunded) == (State.CONFIRMED, "wallet_unfunded")
    assert (await node.where(funded))[0] is State.DONE
    shortage = (await node.answer(unfunded)).shortage
    assert shortage is not None
    assert shortage.had == 0
    wallet = node.bench.wallet_of(dry).address
    [row] = await balances(node)
    assert (row["sponsor"], row["address"], row["openRequests"]) == (dry, wallet, 1)
    assert (row["balanceWei"], row["neededIsExact"]) == (0, False)
    assert "is missing" in await said(node, wallet_verbs, "balances")
    await node.act(Devnet.player(), wallet, b"", shortage.missing // 2)
    await node.walk()
    [row] = await balances(node)
    assert row["balanceWei"] == shortage.missing // 2
    assert 0 < row["missingWei"] == row["neededWei"] - row["balanceWei"]
    less = (await node.answer(unfunded)).shortage
    assert less is not None
    assert less.had == shortage.missing // 2
    # It is exactly what is missing: the base fee falls with every empty block.
    await node.act(Devnet.player(), wallet, b"", less.missing)
    await node.serve()
    assert (await node.where(unfunded))[0] is State.DONE
    assert (await node.answer(unfunded)).shortage is None
    assert await balances(node) == []


async def test_requests_of_a_dry_wallet_keep_nobody_waiting_and_get_their_turn(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airnode_draw, "MANY", 4)
    monkeypatch.setattr(airnode_sign, "MANY", 4)
    node = await new_node()
    dry = await deploy_dry(node)
    unfunded = [await node.ask_from(dry) for _ in range(6)]
    await node.walk(2)
    funded = await node.ask()
    await node.serve()
    assert (await node.where(funded))[0] is State.DONE
    assert {await node.where(one) for one in unfunded} == {(State.CONFIRMED, "wallet_unfunded")}
    await node.act(Devnet.player(), node.bench.wallet_of(dry).address, b"", ETHER)
    for _ in range(14):
        await node.serve()
    assert {(await node.where(one))[0] for one in unfunded} == {State.DONE}


async def test_wallets_that_cannot_pay_draw_nothing_from_the_pool(new_node: Any) -> None:
    node = await new_node()
    dry = [await deploy_dry(node) for _ in range(3)]
    unfunded = [await node.ask_from(consumer) for consumer in dry for _ in range(2)]
    await node.serve()
    assert await drawn(node) == 0
    # For one number, whatever it is asked for.
    shortage = (await node.answer(unfunded[0])).shortage
    assert shortage is not None
    await node.act(Devnet.player(), unfunded[0].sponsor_wallet, b"", shortage.needed)
    asked = [await node.ask_from(dry[0]) for _ in range(3)]
    await node.walk()
    assert await drawn(node) == 1
    await node.serve()
    assert (await node.where(unfunded[0]))[0] is State.DONE
    for wallet in {one.sponsor_wallet for one in unfunded}:
        await node.act(Devnet.player(), wallet, b"", ETHER)
    for _ in range(3):
        await node.serve()
    for request in (*unfunded, *asked):
        assert (await node.where(request))[0] is State.DONE
        assert await received(node, request) == 1


async def test_requests_above_a_cap_keep_nobody_waiting(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airnode_draw, "MANY", 4)
    node = await new_node(draws_per_sponsor=1)
    asked = [await node.ask() for _ in range(6)]
    other = await deploy_moody(node, FINE)
    await node.walk(2)
    served = await node.ask_from(other)
    await node.serve()
    assert (await node.where(served))[0] is State.DONE
    assert [await node.where(one) for one in asked[1:]] == [(State.CONFIRMED, "sponsor_cap")] * 5
