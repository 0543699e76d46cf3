"""
The node's own steps against the genuine AirnodeRrpV0, on a chain that mines when told to.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from click.testing import CliRunner
from eth_abi.abi import decode, encode

from oracle import airnode_service
from oracle.airnode_outcomes import response
from oracle.airnode_request import AirnodeRequest, Template
from oracle.chain import transact
from oracle.chain.mnemonics import Mnemonic, seal
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.cli.airnodes import configured_airnodes
from oracle.cli.requests import requests as request_verbs
from oracle.cli.run import compose
from oracle.cli.wallet import wallet as wallet_verbs
from oracle.config import Settings
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.errors import AnsweredError, ConfigError
from oracle.evm import TRANSACTION_GAS_CAP, keccak
from oracle.funds import tariff_at
from oracle.protocols import airnode_calls as calls
from oracle.request import State
from oracle.runner import walk
from oracle.steps import airnode_draw, airnode_sign
from oracle.steps.refill import refill
from oracle.store import airnode, transactions
from oracle.store import withdrawals as withdrawals_store
from oracle.store.airnode import airnode_purpose
from oracle.store.seal import PoolKey
from oracle.store.transactions import SlotState
from tests.airnode import ETHER, MNEMONIC, UINT256, UINT256_ARRAY, AirnodeBench, call
from tests.migrated import lay_database
from tests.solidity import compiled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from oracle.airnode_service import AirnodeService
    from oracle.devnet.network import Ground
    from oracle.evm import Receipt
    from oracle.request import Tracked
    from oracle.runner import Runner
    from oracle.store.airnode import Answer

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "only for tests"
CONSUMERS = "tests/contracts/support/QrngConsumers.sol"
CALLBACKS = "tests/contracts/support/MoodyQrng.sol"
FINE, REVERTING, HUNGRY = range(3)


@dataclass
class Node:
    """
    A node that serves the bench's Airnode, a pass at a time.
    """

    bench: AirnodeBench
    folder: Path
    runner: Runner
    service: AirnodeService

    async def rpc(self, method: str, *params: object) -> Any:
        return await self.bench.reader.rpc(method, *params)

    async def walk(self, times: int = 1) -> None:
        for _ in range(times):
            await walk(self.service, await self.service.reader.block())

    async def serve(self) -> None:
        """
        Take a request all the way on a chain that mines only here.
        """
        await self.walk()
        await self.rpc("anvil_mine", "0x1")
        await self.walk()

    async def ask(
        self, signature: str = "makeRequestUint256()", *values: object
    ) -> AirnodeRequest:
        return await self.ask_from(self.bench.consumer, signature, *values)

    async def ask_from(
        self, consumer: str, signature: str = "makeRequestUint256()", *values: object
    ) -> AirnodeRequest:
        receipt = await self.act(Devnet.player(), consumer, call(signature, *values))
        [request] = self.bench.events(receipt)
        assert isinstance(request, AirnodeRequest)
        return request

    async def act(self, signer: Any, to: str, data: bytes, value: int = 0) -> Receipt:
        sent = await transact.send_transaction(
            self.bench.reader, signer, to=to, data=data, value=value
        )
        await self.rpc("anvil_mine", "0x1")
        return await transact.wait_for(self.bench.reader, sent)

    async def tracked(self, request: AirnodeRequest) -> Tracked[AirnodeRequest]:
        async with self.service.database.read() as connection:
            found = await airnode.BOOK.get(connection, request.key)
        assert found is not None
        return found

    async def answer(self, request: AirnodeRequest) -> Answer:
        async with self.service.database.read() as connection:
            return (await airnode.answers(connection, [request.key]))[request.key]

    async def where(self, request: AirnodeRequest) -> tuple[State, str | None]:
        tracked = await self.tracked(request)
        return tracked.state, tracked.reason

    async def data(self, request: AirnodeRequest) -> bytes:
        """
        What the chain says was answered.
        """
        tracked = await self.tracked(request)
        assert tracked.outcome is not None
        receipt = await self.bench.reader.receipt(tracked.outcome.transaction_hash)
        assert receipt is not None
        [said] = [event.data for event in self.bench.events(receipt) if hasattr(event, "data")]
        return said

    async def transactions(self) -> list[bytes]:
        async with self.service.database.read() as connection:
            rows = await connection.exec_driver_sql("SELECT transaction_hash FROM attempts")
            return [bytes(row[0]) for row in rows]


@pytest_asyncio.fixture(loop_scope="session")
async def new_node(
    ground: Ground, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    snapshot = await ground.reader.rpc("evm_snapshot")
    async with AsyncExitStack() as stack:

        async def make(bench: AirnodeBench | None = None, **chain: object) -> Node:
            if bench is None:
                await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
                bench = await AirnodeBench.deploy(ground.reader)
                await ground.reader.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
            path = configure(tmp_path, ground, bench, chain)
            if not (tmp_path / "oracle.db").exists():
                lay_database(tmp_path / "oracle.db")
            runner = await compose(Settings.load(path), stack)
            [link] = runner.airnodes
            service = await link.connect(runner.database, runner.pool)
            await refill(runner.database, runner.pool, runner.supplies, 512)
            return Node(bench, tmp_path, runner, service)

        yield make
    await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    await ground.reader.rpc("evm_revert", snapshot)


def configure(folder: Path, ground: Ground, bench: AirnodeBench, chain: dict[str, object]) -> Path:
    secrets = {
        "pool.key": PoolKey.generate(),
        "anu.key": "simulated",
        "mnemonic.password": PASSWORD,
        "mnemonic.json": seal(MNEMONIC, AirnodeKeys(MNEMONIC).xpub, PASSWORD),
    }
    for name, secret in secrets.items():
        if not (folder / name).exists():
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(secret, encoding="utf-8")
    database = chain.pop("database", None)
    lines = {
        "chain_id": CHAIN_ID,
        "endpoints": f'["{ground.rpc_url}"]',
        "rrp": f'"{bench.protocol.contract}"',
        "devnet": "true",
        "uint256": f'["0x{UINT256.hex()}"]',
        "uint256_array": f'["0x{UINT256_ARRAY.hex()}"]',
        **chain,
    }
    path = folder / "oracle.toml"
    path.write_text(
        ("" if database is None else f'database = "{database}"\n')
        + f"""\
[pool]
key_file = "pool.key"

[sources.anu]
kind = "anu-quantum-numbers"
url = "{ground.gateway_url}/anu"
key_file = "anu.key"
requests_per_minute = 6000

[airnode]
mnemonic_file = "mnemonic.json"
password_file = "mnemonic.password"

[airnode.chains.devnet]
"""
        + "\n".join(f"{name} = {value}" for name, value in lines.items()),
        encoding="utf-8",
    )
    return path


async def said(node: Node, group: Any, *arguments: str) -> str:
    """
    What a verb says, beside the node.
    """
    given = [*arguments, "--config", str(node.folder / "oracle.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, group, given, env={})
    assert result.exit_code == 0, result.output
    return result.output


async def balances(node: Node) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(await said(node, wallet_verbs, "balances", "--json"))
    return rows


async def received(node: Node, request: AirnodeRequest) -> int:
    answer = await node.bench.reader.call(
        request.fulfill_address, call("answers(bytes32)", request.key.request_id)
    )
    return int.from_bytes(answer, "big")


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


async def drawn(node: Node) -> int:
    async with node.service.database.read() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT count(*) FROM blocks WHERE purpose LIKE 'airnode:%'"
        )
        return int(rows.scalar_one())


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


async def deploy_dry(node: Node) -> str:
    """
    Deploy a consumer whose sponsor wallet has nothing.
    """
    await node.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    dry = await AirnodeBench.deploy_consumer(node.bench.reader, node.bench.protocol.contract)
    await node.bench.point(dry)
    await node.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    return dry


async def deploy_moody(node: Node, mood: int) -> str:
    await node.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    consumer, _ = await transact.deploy(
        node.bench.reader,
        Devnet.player(),
        compiled(CALLBACKS)["MoodyQrng"],
        encode(["address"], [node.bench.protocol.contract]),
    )
    await node.bench.point(consumer)
    await node.bench.fund(node.bench.wallet_of(consumer).address)
    await node.bench.send(consumer, "setMood(uint8)", mood)
    await node.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    return consumer
