"""
What reorgs, endpoints, strangers and sponsors can do to an Airnode, and what it does then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from eth_abi.abi import encode

from oracle.evm import Log
from oracle.protocols.airnode_rrp_v0 import FULFILLED
from oracle.request import State
from tests.integration.test_airnode import REVERTING, deploy_moody, new_node, received

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.airnode_request import AirnodeRequest
    from tests.integration.test_airnode import Node

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
    await node.rpc("anvil_rollback", await height(node) - start)
    await node.rpc("anvil_setCoinbase", "0x" + "77" * 20)
    await node.rpc("anvil_mine", "0x2")


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
