"""
What reorgs, endpoints, strangers and sponsors can do to an Airnode, and what it does then.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from eth_abi.abi import encode
from structlog.testing import capture_logs

from oracle.airnode_request import AirnodeRequest, Template
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.evm import Log
from oracle.protocols import airnode_calls as calls
from oracle.protocols.airnode_rrp_v0 import FULFILLED
from oracle.request import State
from oracle.store import withdrawals as withdrawals_store
from tests.airnode import ETHER, UINT256, call
from tests.airnode_node import HUNGRY, REVERTING, deploy_dry, deploy_moody, new_node, received
from tests.integration.test_airnode_callbacks import Blind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Block
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]

INVENTED = bytes(31) + b"\x2a"


async def height(node: Node) -> int:
    return int(await node.rpc("eth_blockNumber"), 16)


async def invent_fulfillment(
    node: Node, request: AirnodeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Have the endpoint show, in an empty block of its own, that a request is fulfilled; then take
    both away.
    """
    start = await height(node)
    await node.rpc("anvil_mine", "0x1")
    block = await node.service.reader.block()
    real = node.service.reader.logs
    forged = Log(
        address=node.service.contract,
        topics=(FULFILLED, bytes(12) + bytes.fromhex(request.airnode[2:]), request.key.request_id),
        data=encode(["bytes"], [INVENTED]),
        block_number=block.number,
        block_hash=block.hash,
        transaction_hash=bytes(32),
        index=0,
    )

    async def lie(
        address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        return [*await real(address, first, last, topics), forged]

    with monkeypatch.context() as patch:
        patch.setattr(node.service.reader, "logs", lie)
        await node.walk()
    assert (await node.where(request))[0] is State.DONE
    await roll_back(node, start)
    await node.rpc("anvil_mine", "0x2")


async def roll_back(node: Node, to: int) -> None:
    """
    Take every block above a height away, and let others take their place.
    """
    await node.rpc("anvil_rollback", await height(node) - to)
    await node.rpc("anvil_setCoinbase", "0x" + os.urandom(20).hex())


async def ask_withdrawal(node: Node) -> str:
    """
    Have the player ask for what its sponsor wallet holds; return the wallet.
    """
    bench, sponsor = node.bench, Devnet.player()
    wallet = bench.wallet_of(sponsor.address).address
    await node.act(sponsor, wallet, b"", ETHER)
    ask = calls.encode_request_withdrawal(bench.keys.address, wallet)
    await node.act(sponsor, bench.protocol.contract, ask)
    return wallet


async def withdrawals(node: Node) -> list[str]:
    async with node.service.database.read() as connection:
        found = await withdrawals_store.find(connection, CHAIN_ID, node.service.contract)
    return [str(one.state) for one in found]


async def request_for_player(node: Node) -> AirnodeRequest:
    """
    Ask as an account that is its own sponsor, and that no callback reaches.
    """
    bench, player = node.bench, Devnet.player()
    wallet = bench.wallet_of(player.address).address
    ask = call(
        "makeFullRequest(address,bytes32,address,address,address,bytes4,bytes)",
        *(bench.keys.address, UINT256, player.address, wallet, player.address),
        *(b"\1\2\3\4", b""),
    )
    [request] = bench.events(await node.act(player, bench.protocol.contract, ask))
    assert isinstance(request, AirnodeRequest)
    return request


async def test_withdrawal_that_a_reorg_took_away_holds_up_nobody(new_node: Any) -> None:
    node = await new_node(confirmations=2)
    bench, player = node.bench, Devnet.player()
    sponsorship = calls.encode_set_sponsorship(player.address, sponsored=True)
    await node.act(player, bench.protocol.contract, sponsorship)
    await node.act(player, bench.wallet_of(player.address).address, b"", ETHER)
    start = await height(node)
    await node.act(
        player,
        bench.protocol.contract,
        calls.encode_request_withdrawal(
            bench.keys.address, bench.wallet_of(player.address).address
        ),
    )
    await node.walk()
    assert await withdrawals(node) == ["requested"]
    await roll_back(node, start)
    request = await request_for_player(node)
    await node.rpc("anvil_mine", "0x3")
    for _ in range(3):
        await node.serve()
    assert (await node.where(request))[0] in (State.MINED, State.DONE)
    assert await withdrawals(node) == []


async def test_withdrawal_that_a_reorg_undid_is_made_again(new_node: Any) -> None:
    node = await new_node(confirmations=4)
    wallet = await ask_withdrawal(node)
    await node.rpc("anvil_mine", "0x4")
    await node.walk()
    start = await height(node)
    await node.serve()
    assert await withdrawals(node) == ["done"]
    [sent] = await node.transactions()
    await roll_back(node, start)
    await node.rpc("anvil_dropTransaction", "0x" + sent.hex())
    assert await node.bench.reader.balance(wallet) == ETHER
    await node.rpc("anvil_mine", "0x3")
    for _ in range(4):
        await node.serve()
    assert await node.transactions() == [sent]
    assert await node.bench.reader.balance(wallet) < ETHER // 100


async def test_withdrawal_that_one_endpoint_alone_shows_is_not_made(new_node: Any) -> None:
    node: Node = await new_node()
    await ask_withdrawal(node)

    class Behind:
        """
        A second endpoint that has yet to see it.
        """

        @staticmethod
        async def block(number: int | None = None) -> Block:
            return await node.bench.reader.block(number)

        @staticmethod
        async def logs(*_: object) -> list[Log]:
            return []

    alone = node.service
    node.service = replace(alone, witnesses=(cast("ChainReader", Behind()),))
    await node.serve()
    assert await withdrawals(node) == ["requested"]
    assert await node.transactions() == []
    node.service = replace(alone, witnesses=(node.bench.reader,))
    await node.serve()
    assert await withdrawals(node) == ["done"]


async def test_endpoint_cannot_choose_a_number_by_inventing_its_fulfillment(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node()
    request = await node.ask()
    await invent_fulfillment(node, request, monkeypatch)
    for _ in range(3):
        await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await node.data(request) != INVENTED
    assert await received(node, request) == 1


async def test_number_that_was_erased_for_an_invented_fulfillment_is_not_drawn_again(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node()
    request = await node.ask_from(await deploy_moody(node, REVERTING))
    await node.serve()
    assert await node.where(request) == (State.DRAWN, "callback_fails")
    await invent_fulfillment(node, request, monkeypatch)
    other = await node.ask()
    await node.serve()
    assert await node.where(request) == (State.FAILED, "number_gone")
    assert (await node.where(other))[0] is State.DONE


async def test_wallet_that_gets_the_shortfall_that_was_named_is_served(new_node: Any) -> None:
    node = await new_node()
    dry = await deploy_dry(node)
    request = await node.ask_from(dry)
    with capture_logs() as said:
        await node.walk()
    [shortfall] = [one["shortfall_wei"] for one in said if one["event"] == "wallet_unfunded"]
    await node.rpc("anvil_setBalance", node.bench.wallet_of(dry).address, hex(shortfall - 1))
    await node.walk()
    assert await node.where(request) == (State.CONFIRMED, "wallet_unfunded")
    await node.rpc("anvil_setBalance", node.bench.wallet_of(dry).address, hex(shortfall))
    await node.serve()
    assert (await node.where(request))[0] is State.DONE


async def test_callback_that_needs_more_than_a_fulfillment_can_give_is_held(
    new_node: Any,
) -> None:
    node = await new_node()
    request = await node.ask_from(await deploy_moody(node, HUNGRY))
    limit = (await node.service.reader.block()).gas_limit
    try:
        # Some 1.1 million gas are needed, and half of this is not that.
        await node.rpc("evm_setBlockGasLimit", hex(2_100_000))
        await node.rpc("anvil_mine", "0x1")
        await node.serve()
        assert await node.where(request) == (State.DRAWN, "callback_too_hungry")
        assert await node.transactions() == []
    finally:
        await node.rpc("evm_setBlockGasLimit", hex(limit))
    await node.rpc("anvil_mine", "0x1")
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await received(node, request) == 1


async def test_restart_forgets_a_wish_for_fewer_confirmations_and_stops_nobody(
    new_node: Any,
) -> None:
    node = await new_node(confirmations=6, lower_confirmations="true")
    bench, player = node.bench, Devnet.player()
    template = Template(
        airnode=bench.keys.address,
        endpoint_id=UINT256,
        parameters=encode(["bytes32", "bytes32", "bytes32"], [b"1s", b"_minConfirmations", b"1"]),
    )
    await node.act(player, bench.protocol.contract, calls.encode_create_template(template))
    able, node.service = node.service, replace(node.service, estimator=Blind())
    eager = await node.ask("makeTemplateRequest(bytes32,bytes)", template.id, b"")
    await node.rpc("anvil_mine", "0x1")
    await node.walk()
    assert await node.where(eager) == (State.DRAWN, "callback_untried")
    node.service = able
    node.service.wishes.clear()
    await node.walk()
    await node.rpc("anvil_mine", "0x6")
    await node.serve()
    assert await received(node, eager) == 1
