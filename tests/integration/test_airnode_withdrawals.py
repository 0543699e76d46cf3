"""
What sponsors get back from their sponsor wallets, and when there is nothing to give back.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from oracle.cli.requests import requests as request_verbs
from oracle.devnet.network import Devnet
from oracle.funds import tariff_at
from oracle.protocols import airnode_calls as calls
from oracle.request import State
from tests.airnode import ETHER
from tests.airnode_node import FINE, deploy_dry, deploy_moody, new_node, received, said
from tests.integration.test_airnode_hostile import (
    ask_withdrawal,
    height,
    request_for_player,
    roll_back,
    withdrawals,
)

if TYPE_CHECKING:
    from oracle.devnet.network import Ground
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]

PREDEPLOY = "0x420000000000000000000000000000000000000F"
# PUSH8 0.1 ether PUSH0 MSTORE PUSH1 32 PUSH0 RETURN: so much per thousand bytes, or million gas.
DEAR = "0x67016345785d8a00005f5260205ff3"


async def sponsor_itself(node: Node) -> str:
    """
    Make the player its own sponsor; return its sponsor wallet.
    """
    bench, player = node.bench, Devnet.player()
    sponsorship = calls.encode_set_sponsorship(player.address, sponsored=True)
    await node.act(player, bench.protocol.contract, sponsorship)
    return bench.wallet_of(player.address).address


async def ask_back(node: Node, wallet: str) -> None:
    ask = calls.encode_request_withdrawal(node.bench.keys.address, wallet)
    await node.act(Devnet.player(), node.bench.protocol.contract, ask)


async def listed(node: Node) -> dict[str, Any]:
    document = json.loads(await said(node, request_verbs, "list", "--withdrawals", "--json"))
    [one] = document["withdrawals"]
    assert one["withdrawalId"][:18] in await said(node, request_verbs, "list", "--withdrawals")
    return dict(one)


async def test_withdrawal_from_an_empty_wallet_leaves_what_comes_later(new_node: Any) -> None:
    node = await new_node()
    wallet = await sponsor_itself(node)
    await ask_back(node, wallet)
    await node.walk()
    assert await withdrawals(node) == ["refused"]
    shown = await listed(node)
    assert (shown["state"], shown["reason"]) == ("refused", "nothing_to_return")
    assert "asks again" in shown["explanation"]
    await node.act(Devnet.player(), wallet, b"", ETHER)
    request = await request_for_player(node)
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await node.bench.reader.balance(wallet) > ETHER // 2
    # What is there is returned to whom asks again.
    await ask_back(node, wallet)
    await node.serve()
    assert await withdrawals(node) == ["refused", "done"]
    assert await node.bench.reader.balance(wallet) < ETHER // 100


async def test_withdrawal_from_a_poor_wallet_waits_for_lower_fees_and_not_for_ever(
    new_node: Any,
) -> None:
    node = await new_node()
    wallet = await sponsor_itself(node)
    # Enough for the next block, and not for a replacement.
    await ask_back(node, wallet)
    tariff = await tariff_at(node.service, await node.service.reader.block())
    assert tariff is not None
    await node.rpc("anvil_setBalance", wallet, hex(tariff.least(100_000, 300)))
    await node.walk(2)
    assert await withdrawals(node) == ["requested"]
    assert (await listed(node))["reason"] == "waiting_to_return"
    policy = replace(node.service.policy, withdrawal_wait=0)
    node.service = replace(node.service, policy=policy)
    await node.walk()
    assert await withdrawals(node) == ["refused"]
    assert await node.transactions() == []


@pytest.mark.parametrize("again", ["the same bytes", "another nonce"])
async def test_final_withdrawal_that_a_deep_reorg_undid_is_made_again(
    new_node: Any, again: str
) -> None:
    node = await new_node(confirmations=1)
    wallet = await ask_withdrawal(node)
    await node.rpc("anvil_mine", "0x1")
    start = await height(node)
    await node.serve()
    await node.rpc("anvil_mine", "0x4")
    await node.walk()
    assert await withdrawals(node) == ["done"]
    assert (await listed(node))["returnedBlock"] is not None
    [sent] = await node.transactions()
    await roll_back(node, start)
    if again == "another nonce":
        await node.rpc("anvil_dropTransaction", "0x" + sent.hex())
    await node.walk()
    assert await withdrawals(node) == ["requested"]
    for _ in range(5):
        await node.serve()
    assert await withdrawals(node) == ["done"]
    assert await node.bench.reader.balance(wallet) < ETHER // 100


async def test_rollup_that_charges_for_data_leaves_that_behind(
    new_node: Any, ground: Ground
) -> None:
    await ground.reader.rpc("anvil_setCode", PREDEPLOY, DEAR)
    node = await new_node()
    assert node.service.rollup
    wallet = await ask_withdrawal(node)
    await node.serve()
    assert await withdrawals(node) == ["done"]
    # More than 250 bytes, twice.
    assert ETHER // 20 < await node.bench.reader.balance(wallet) < ETHER


async def test_rollup_that_charges_for_data_makes_a_fulfillment_dearer(
    new_node: Any, ground: Ground
) -> None:
    await ground.reader.rpc("anvil_setCode", PREDEPLOY, DEAR)
    node = await new_node()
    request = await node.ask_from(await deploy_dry(node))
    await node.rpc("anvil_setBalance", request.sponsor_wallet, hex(ETHER // 100))
    await node.serve()
    assert await node.where(request) == (State.CONFIRMED, "wallet_unfunded")
    shortage = (await node.answer(request)).shortage
    assert shortage is not None
    assert shortage.missing > ETHER // 20
    await node.rpc("anvil_setBalance", request.sponsor_wallet, hex(shortage.needed))
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await received(node, request) == 1
    rich = await node.ask_from(await deploy_moody(node, FINE))
    await node.serve()
    assert (await node.where(rich))[0] is State.DONE
