"""
The node's own steps against the genuine AirnodeRrpV0, on a chain that mines when told to.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from oracle import airnode_service
from oracle.airnode_request import Template
from oracle.chain import transact
from oracle.chain.mnemonics import Mnemonic, seal
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.cli.airnodes import configured_airnodes
from oracle.cli.requests import requests as request_verbs
from oracle.config import Settings
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.errors import ConfigError
from oracle.evm import keccak
from oracle.protocols import airnode_calls as calls
from oracle.request import State
from oracle.store import withdrawals as withdrawals_store
from oracle.store.airnode import airnode_purpose
from tests.airnode import ETHER, UINT256, UINT256_ARRAY, call
from tests.airnode_node import CONSUMERS, FINE, PASSWORD, deploy_moody, new_node, received, said
from tests.solidity import compiled

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]


async def test_single_number_reaches_its_consumer_once(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.serve()
    assert await node.where(request) == (State.DONE, None)
    assert await received(node, request) == 1
    assert len(await node.data(request)) == 32
    await node.serve()
    assert await received(node, request) == 1
    assert len(await node.transactions()) == 1


async def test_array_has_the_size_that_was_asked_for(new_node: Any) -> None:
    node = await new_node()
    small = await node.ask("makeRequestUint256Array(uint256)", 5)
    large = await node.ask("makeRequestUint256Array(uint256)", 510)
    await node.serve()
    for request, size in ((small, 5), (large, 510)):
        (words,) = decode(["uint256[]"], await node.data(request))
        assert len(set(words)) == size
        assert await received(node, request) == 1


async def test_template_gives_endpoint_and_parameters(new_node: Any) -> None:
    node = await new_node()
    parameters = encode(["bytes32", "bytes32", "uint256"], [b"1u", b"size", 3])
    template = Template(
        airnode=node.bench.keys.address, endpoint_id=UINT256_ARRAY, parameters=parameters
    )
    player = Devnet.player()
    await node.act(player, node.bench.protocol.contract, calls.encode_create_template(template))
    own = await node.ask("makeTemplateRequest(bytes32,bytes)", template.id, b"")
    more = encode(["bytes32", "bytes32", "uint256"], [b"1u", b"size", 4])
    overridden = await node.ask("makeTemplateRequest(bytes32,bytes)", template.id, more)
    await node.serve()
    for request, size in ((own, 3), (overridden, 4)):
        assert (await node.answer(request)).num_words == size
        assert (await node.where(request))[0] is State.DONE


@pytest.mark.parametrize(
    ("size", "message"), [(0, "between 1 and 510"), (511, "between 1 and 510")]
)
async def test_bad_size_is_failed_on_chain_without_a_draw(
    new_node: Any, size: int, message: str
) -> None:
    node = await new_node()
    request = await node.ask("makeRequestUint256Array(uint256)", size)
    await node.serve()
    tracked = await node.tracked(request)
    assert tracked.state is State.DONE
    assert tracked.outcome is not None
    assert not tracked.outcome.callback_succeeded
    answer = await node.answer(request)
    assert message in (answer.failure or "")
    assert answer.drawn_at is None


async def test_what_an_airnode_would_drop_leads_to_no_transaction(new_node: Any) -> None:
    node = await new_node()
    bench, player = node.bench, Devnet.player()
    sponsorship = calls.encode_set_sponsorship(player.address, sponsored=True)
    await node.act(player, bench.protocol.contract, sponsorship)
    wallet = bench.wallet_of(player.address).address
    reasons = {}
    for reason, endpoint, sponsor_wallet, parameters in (
        ("wrong_sponsor_wallet", UINT256, player.address, b""),
        ("unknown_endpoint", keccak(b"another"), wallet, b""),
        ("parameters_version", UINT256, wallet, b"9" + bytes(31)),
    ):
        ask = call(
            "makeFullRequest(address,bytes32,address,address,address,bytes4,bytes)",
            *(bench.keys.address, endpoint, player.address, sponsor_wallet, player.address),
            *(b"\1\2\3\4", parameters),
        )
        [request] = bench.events(await node.act(player, bench.protocol.contract, ask))
        reasons[reason] = request
    await node.serve()
    for reason, request in reasons.items():
        assert await node.where(request) == (State.REJECTED, reason)
    assert await node.transactions() == []


async def test_number_stays_the_same_through_a_reorg_of_its_fulfillment(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.walk()
    before = await node.rpc("eth_blockNumber")
    await node.rpc("anvil_mine", "0x1")
    await node.walk()
    first = await node.data(request)
    await node.rpc("anvil_rollback", int(await node.rpc("eth_blockNumber"), 16) - int(before, 16))
    await node.rpc("anvil_mine", "0x3")
    for _ in range(4):
        await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await node.data(request) == first
    assert await received(node, request) == 1


async def test_request_that_a_reorg_moves_keeps_its_number(new_node: Any) -> None:
    node = await new_node()
    start = int(await node.rpc("eth_blockNumber"), 16)
    request = await node.ask()
    await node.walk()
    answer = await node.answer(request)
    assert answer.exposed_at is not None
    await node.rpc("anvil_rollback", int(await node.rpc("eth_blockNumber"), 16) - start)
    await node.rpc("anvil_mine", "0x2")
    await node.walk()
    assert (await node.where(request))[0] is State.ORPHANED
    again = await node.ask()
    assert again.key == request.key
    for _ in range(4):
        await node.serve()
    assert (await node.where(request))[0] is State.DONE
    async with node.service.database.read() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT count(*) FROM blocks WHERE purpose LIKE 'airnode:%'"
        )
        assert rows.scalar_one() == 1


async def test_withdrawal_returns_the_funds_and_later_requests_wait(new_node: Any) -> None:
    node = await new_node()
    bench, sponsor = node.bench, Devnet.player()
    wallet = bench.wallet_of(sponsor.address).address
    await node.act(sponsor, wallet, b"", ETHER)
    before = await bench.reader.balance(wallet)
    ask = calls.encode_request_withdrawal(bench.keys.address, wallet)
    await node.act(sponsor, bench.protocol.contract, ask)
    await node.serve()
    await node.walk()
    async with node.service.database.read() as connection:
        [one] = await withdrawals_store.find(connection, CHAIN_ID, bench.protocol.contract)
    assert one.state == "done"
    assert await bench.reader.balance(wallet) < before // 100


async def test_few_lanes_at_hand_serve_many_sponsors(
    new_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airnode_service, "LANES", 1)
    node = await new_node()
    others = [await deploy_moody(node, FINE) for _ in range(2)]
    consumers = [node.bench.consumer, *others]
    asked = [await node.ask_from(consumer) for _ in range(2) for consumer in consumers]
    await node.serve()
    await node.serve()
    for request in asked:
        assert (await node.where(request))[0] is State.DONE
        assert await received(node, request) == 1
    assert len(node.service._lanes) == 1


async def test_only_whom_an_authorizer_lets_through_is_served(new_node: Any) -> None:
    node = await new_node()
    other = await deploy_moody(node, FINE)
    await node.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    authorizer, _ = await transact.deploy(
        node.bench.reader,
        Devnet.player(),
        compiled(CONSUMERS)["OnlyRequester"],
        encode(["address"], [other]),
    )
    await node.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    node.service = replace(
        node.service, policy=replace(node.service.policy, authorizers=(authorizer,))
    )
    refused, let_through = await node.ask(), await node.ask_from(other)
    await node.serve()
    assert await node.where(refused) == (State.CONFIRMED, "unauthorised")
    assert (await node.where(let_through))[0] is State.DONE
    node.service = replace(node.service, policy=replace(node.service.policy, authorizers=()))
    await node.serve()
    assert (await node.where(refused))[0] is State.DONE


async def test_sponsor_gets_so_many_numbers_a_day_and_no_more(new_node: Any) -> None:
    node = await new_node(draws_per_sponsor=2)
    asked = [await node.ask() for _ in range(4)]
    other = await node.ask_from(await deploy_moody(node, FINE))
    await node.serve()
    states = [(await node.where(request)) for request in asked]
    assert [state for state, _ in states] == [State.DONE] * 2 + [State.CONFIRMED] * 2
    assert {reason for _, reason in states[2:]} == {"sponsor_cap"}
    assert (await node.where(other))[0] is State.DONE


async def test_requester_may_ask_for_more_confirmations_not_for_fewer(new_node: Any) -> None:
    node = await new_node(confirmations=2)
    bench, player = node.bench, Devnet.player()
    templates = {}
    for depth in (0, 6):
        parameters = encode(
            ["bytes32", "bytes32", "bytes32"], [b"1s", b"_minConfirmations", str(depth).encode()]
        )
        template = Template(airnode=bench.keys.address, endpoint_id=UINT256, parameters=parameters)
        await node.act(player, bench.protocol.contract, calls.encode_create_template(template))
        templates[depth] = template.id
    eager = await node.ask("makeTemplateRequest(bytes32,bytes)", templates[0], b"")
    await node.walk()
    assert (await node.where(eager))[0] is State.OBSERVED
    patient = await node.ask("makeTemplateRequest(bytes32,bytes)", templates[6], b"")
    await node.rpc("anvil_mine", "0x3")
    await node.walk()
    assert (await node.where(eager))[0] in (State.SENT, State.MINED)
    assert await node.where(patient) == (State.CONFIRMED, "waiting_confirmations")
    await node.rpc("anvil_mine", "0x3")
    await node.walk()
    assert (await node.where(patient))[0] in (State.SENT, State.MINED)


async def test_request_whose_consumer_has_moved_on_is_ended(new_node: Any) -> None:
    node = await new_node(max_age_hours=0.0000001)
    request = await node.ask()
    await node.walk()
    await node.serve()
    assert await node.where(request) == (State.EXPIRED, "max_age")
    assert await node.transactions() == []


async def test_seed_of_a_final_number_is_erased_and_the_number_kept(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.serve()
    await node.serve()
    async with node.service.database.read() as connection:
        seeds = await node.service.pool.seeds_for(connection, [airnode_purpose(request.key)])
    assert seeds == {}
    assert (await node.answer(request)).data == await node.data(request)


async def test_transaction_that_was_dropped_goes_out_again(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.walk()
    assert (await node.where(request))[0] is State.SENT
    [sent] = await node.transactions()
    await node.rpc("anvil_dropTransaction", "0x" + sent.hex())
    for _ in range(6):
        await node.rpc("anvil_mine", "0x1")
        await node.walk()
    assert (await node.where(request))[0] is State.DONE
    assert await node.transactions() == [sent]


async def test_request_of_before_a_restore_waits_for_the_operators_word(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    node.service = replace(node.service, restored_at=request.block_number)
    later = await node.ask()
    await node.serve()
    assert await node.where(request) == (State.CONFIRMED, "waiting_after_restore")
    assert (await node.where(later))[0] is State.DONE
    id_ = f"0x{request.key.request_id.hex()}"
    shown = json.loads(await said(node, request_verbs, "show", id_, "--json"))
    assert "`oracle requests release`" in shown["explanation"]
    await said(node, request_verbs, "release", id_, "--yes")
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    assert await received(node, request) == 1
    shown = json.loads(await said(node, request_verbs, "show", id_, "--json"))
    assert shown["data"] == f"0x{(await node.data(request)).hex()}"
    assert shown["entropy"]["sources"] == ["anu"]


async def test_another_mnemonic_cannot_take_over_a_database(new_node: Any) -> None:
    node = await new_node()
    path = node.folder / "mnemonic.json"
    other = Mnemonic(bytes(range(16)))
    path.write_text(seal(other, AirnodeKeys(other).xpub, PASSWORD), encoding="utf-8")
    async with AsyncExitStack() as stack:
        settings = Settings.load(node.folder / "oracle.toml")
        [link] = configured_airnodes(settings.airnode, stack)
        with pytest.raises(ConfigError, match="use its mnemonic"):
            await link.connect(node.service.database, node.service.pool)
