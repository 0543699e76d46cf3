"""
What lying endpoints, strangers and sponsors in trouble can have an Airnode do: nothing, to nobody.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from eth_abi.abi import encode
from structlog.testing import capture_logs

from oracle.airnode_request import AirnodeRequest, Place, request_id
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.errors import InconsistentChainError
from oracle.evm import Log, checksum_address
from oracle.protocols import airnode_calls as calls
from oracle.protocols.airnode_rrp_v0 import MADE_FULL
from oracle.request import RequestKey, State
from oracle.store import transactions
from oracle.store.transactions import Purpose, SlotState
from tests.airnode import ETHER, UINT256, call
from tests.airnode_node import REVERTING, deploy_dry, deploy_moody, new_node, received
from tests.integration.test_airnode_hostile import request_for_player, withdrawals
from tests.integration.test_airnode_reorgs import number, until_done

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Block
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]


def invented(node: Node, block: Block) -> tuple[AirnodeRequest, Log]:
    """
    Return a request that nobody made, its log and its id right in every detail.
    """
    bench = node.bench
    key = RequestKey(chain_id=CHAIN_ID, contract=node.service.contract, request_id=bytes(32))
    request = AirnodeRequest(
        key=key,
        airnode=bench.keys.address,
        requester=bench.consumer,
        requester_count=77,
        endpoint_id=UINT256,
        sponsor=bench.consumer,
        sponsor_wallet=bench.wallet_of(bench.consumer).address,
        fulfill_address=bench.consumer,
        fulfill_function_id=bytes(4),
        parameters=b"",
        place=Place(
            block_number=block.number,
            block_hash=block.hash,
            transaction_hash=os.urandom(32),
            log_index=0,
        ),
    )
    request = replace(request, key=replace(key, request_id=request_id(request)))
    data = encode(
        ["uint256", "uint256", "address", "bytes32", *["address"] * 3, "bytes4", "bytes"],
        [
            *(request.requester_count, CHAIN_ID, request.requester, UINT256, request.sponsor),
            *(request.sponsor_wallet, request.fulfill_address, bytes(4), b""),
        ],
    )
    log = Log(
        address=node.service.contract,
        topics=(
            MADE_FULL,
            bytes(12) + bytes.fromhex(request.airnode[2:]),
            request.key.request_id,
        ),
        data=data,
        block_number=block.number,
        block_hash=block.hash,
        transaction_hash=request.transaction_hash,
        index=0,
    )
    return request, log


class Endpoint:
    """
    A second endpoint, so many blocks behind.
    """

    def __init__(self, node: Node, behind: int = 0) -> None:
        self.reader = node.bench.reader
        self.behind = behind

    async def block(self, height: int | None = None) -> Block:
        if height is None:
            height = (await self.reader.block()).number - self.behind
        return await self.reader.block(height)

    async def logs(
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        return await self.reader.logs(address, first, last, topics)


def beside(node: Node, endpoint: Endpoint) -> None:
    node.service = replace(node.service, witnesses=(cast("ChainReader", endpoint),))


async def test_request_that_the_first_endpoint_invents_gets_no_signature_and_no_word(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node()
    beside(node, Endpoint(node))
    await node.rpc("anvil_mine", "0x1")
    request, log = invented(node, await node.service.reader.block())
    real = node.service.reader.logs

    async def lie(
        address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        there = first <= log.block_number <= last
        return [*await real(address, first, last, topics), *([log] if there else [])]

    monkeypatch.setattr(node.service.reader, "logs", lie)
    genuine = await node.ask()
    with capture_logs() as said:
        for _ in range(3):
            await node.serve()
    assert await node.where(request) == (State.DRAWN, "waiting_second_endpoint")
    drawn = await number(node, request)
    assert drawn.hex() not in repr(said)
    assert str(int.from_bytes(drawn, "big")) not in repr(said)
    assert len(await node.transactions()) == 1
    assert (await node.where(genuine))[0] is State.DONE


async def test_second_endpoint_that_is_behind_is_waited_for(new_node: Any) -> None:
    node = await new_node(confirmations=2)
    second = Endpoint(node, behind=2)
    beside(node, second)
    request = await node.ask()
    await node.rpc("anvil_mine", "0x2")
    await node.walk()
    assert await node.where(request) == (State.DRAWN, "waiting_second_endpoint")
    second.behind = 0
    await until_done(node, request)
    assert await received(node, request) == 1


async def test_logs_told_twice_or_not_at_all_change_nothing(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node()
    real = node.service.reader.logs

    async def twice(
        address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        return [one for one in await real(address, first, last, topics) for _ in range(2)]

    async def never(*_: object) -> list[Log]:
        return []

    with monkeypatch.context() as patch:
        patch.setattr(node.service.reader, "logs", twice)
        request = await node.ask()
        await node.walk()
        assert (await node.where(request))[0] is State.SENT
        await node.rpc("anvil_mine", "0x1")
        patch.setattr(node.service.reader, "logs", never)
        with pytest.raises(InconsistentChainError, match="lost logs"):
            await node.walk()
    await until_done(node, request)
    assert await received(node, request) == 1
    assert len(await node.transactions()) == 1


async def test_sponsors_in_trouble_hold_up_nobody_else(new_node: Any) -> None:
    node = await new_node()
    dry, reverting = await deploy_dry(node), await deploy_moody(node, REVERTING)
    asked: dict[str, list[AirnodeRequest]] = {dry: [], reverting: [], node.bench.consumer: []}
    for _ in range(3):
        for consumer, of in asked.items():
            of.append(await node.ask_from(consumer))
    for _ in range(2):
        await node.serve()
    for consumer, expected in (
        (dry, (State.CONFIRMED, "wallet_unfunded")),
        (reverting, (State.DRAWN, "callback_fails")),
        (node.bench.consumer, (State.DONE, None)),
    ):
        assert [await node.where(one) for one in asked[consumer]] == [expected] * 3
    # The later ones of a sponsor do not wait for those that its own callback refuses.
    await node.act(Devnet.player(), reverting, call("setMood(uint8)", 0))
    await node.act(Devnet.player(), node.bench.wallet_of(dry).address, b"", ETHER)
    for one in (*asked[dry], *asked[reverting]):
        await until_done(node, one)
        assert await received(node, one) == 1


async def test_withdrawal_right_behind_a_broadcast_comes_after_its_number(new_node: Any) -> None:
    node = await new_node()
    bench, player = node.bench, Devnet.player()
    wallet = bench.wallet_of(player.address).address
    sponsorship = calls.encode_set_sponsorship(player.address, sponsored=True)
    await node.act(player, bench.protocol.contract, sponsorship)
    await node.act(player, wallet, b"", ETHER)
    request = await request_for_player(node)
    await node.walk()
    [sent] = await node.transactions()
    await node.rpc("anvil_dropTransaction", "0x" + sent.hex())
    ask = calls.encode_request_withdrawal(bench.keys.address, wallet)
    await node.act(player, bench.protocol.contract, ask)
    await node.walk()
    assert await withdrawals(node) == ["requested"]
    await until_done(node, request)
    outcome = (await node.tracked(request)).outcome
    assert outcome is not None
    assert outcome.callback_succeeded
    for _ in range(2):
        await node.serve()
    assert await withdrawals(node) == ["done"]
    async with node.service.database.read() as connection:
        slots = await transactions.slots_in(connection, CHAIN_ID, node.service.contract, SlotState)
    assert [slot.purpose for slot in slots] == [Purpose.FULFILL, Purpose.WITHDRAW]


async def ask_as_player(node: Node, sponsor_wallet: str, target: str) -> AirnodeRequest:
    """
    Ask as a sponsor of its own, with a sponsor wallet and a receiver of its choice.
    """
    bench, player = node.bench, Devnet.player()
    sponsorship = calls.encode_set_sponsorship(player.address, sponsored=True)
    await node.act(player, bench.protocol.contract, sponsorship)
    ask = call(
        "makeFullRequest(address,bytes32,address,address,address,bytes4,bytes)",
        *(bench.keys.address, UINT256, player.address, sponsor_wallet, target),
        *(b"\1\2\3\4", b""),
    )
    [request] = bench.events(await node.act(player, bench.protocol.contract, ask))
    assert isinstance(request, AirnodeRequest)
    return request


async def test_stranger_cannot_have_its_request_paid_by_anothers_wallet(new_node: Any) -> None:
    node = await new_node()
    wallet = node.bench.wallet_of(node.bench.consumer).address
    request = await ask_as_player(node, wallet, Devnet.player().address)
    await node.serve()
    assert await node.where(request) == (State.REJECTED, "wrong_sponsor_wallet")
    assert await node.transactions() == []
    assert await node.bench.reader.balance(wallet) == ETHER


async def test_garbage_that_a_stranger_has_the_contract_log_is_nothing_to_others(
    new_node: Any,
) -> None:
    node = await new_node()
    player = Devnet.player()
    spam = []
    for garbage in (b"", b"\xff\xfe\x00" * 50, b'{"event": "x"}\n\x1b[2J', os.urandom(2000)):
        request = await ask_as_player(node, player.address, player.address)
        fail = call("fail(bytes32,address,address,bytes4,string)")[:4] + encode(
            ["bytes32", "address", "address", "bytes4", "bytes"],
            [request.key.request_id, request.airnode, player.address, b"\1\2\3\4", garbage],
        )
        await node.act(player, node.service.contract, fail)
        spam.append(request)
    genuine = await node.ask()
    await until_done(node, genuine)
    assert await received(node, genuine) == 1
    assert len(await node.transactions()) == 1
    for request in spam:
        tracked = await node.tracked(request)
        assert tracked.state is State.DONE
        assert tracked.outcome is not None
        assert not tracked.outcome.callback_succeeded


@pytest.mark.parametrize("target", ["nobody", "a person"])
async def test_receiver_without_code_gets_its_number_on_record(new_node: Any, target: str) -> None:
    node = await new_node()
    player = Devnet.player()
    wallet = node.bench.wallet_of(player.address).address
    await node.act(player, wallet, b"", ETHER)
    nobody = checksum_address(bytes.fromhex("17" * 20))
    receiver = nobody if target == "nobody" else player.address
    request = await ask_as_player(node, wallet, receiver)
    await until_done(node, request)
    outcome = (await node.tracked(request)).outcome
    assert outcome is not None
    assert outcome.callback_succeeded
    assert len(await node.data(request)) == 32
