"""
The verbs that look after the node's wallet, on a real chain: sweeps and balances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.chain import transact
from oracle.chain.wallets import from_private_key
from oracle.config import Settings
from oracle.devnet.network import OPERATOR_KEY
from oracle.devnet.processes import free_port
from oracle.store.engine import Access, Database
from tests.operator_desk import COLD, OPERATOR, OWNER, Desk, desk, oracle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.integration.conftest import Bench

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["desk"]


async def test_the_nodes_wallet_signs_for_nobody_else_while_the_node_runs(desk: Desk) -> None:
    path = Settings.load(desk.config).database
    node = await Database.open(path, Access.NODE)
    try:
        for said in (
            await desk.operator("discard", "--all", "--yes"),
            await oracle("wallet", "sweep", "--to", COLD, "--config", desk.config, "--yes"),
        ):
            assert said.code == 2
            assert "stop it first" in said.err
        assert (await desk.owner("set-operator", COLD, "--yes")).code == 0
    finally:
        await node.close()
    said = await oracle("wallet", "sweep", "--to", COLD, "--config", desk.config, "--yes")
    assert said.code == 0, said.err


async def test_a_sweep_leaves_what_it_was_told_to_and_no_more(desk: Desk) -> None:
    before = await desk.reader.balance(OPERATOR)
    said = await oracle(
        "wallet", "sweep", "--to", COLD, "--keep", 12345, "--config", desk.config, "--yes",
        "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    swept = said.document
    assert await desk.reader.balance(OPERATOR) == swept["leftWei"] == 12345
    assert await desk.reader.balance(COLD) == swept["amountWei"]
    assert swept["amountWei"] + swept["feeWei"] + 12345 == before
    said = await oracle("wallet", "sweep", "--to", COLD, "--config", desk.config, "--yes")
    assert said.code == 1
    assert "there is nothing to sweep" in said.err


async def test_a_sweep_waits_for_transactions_in_flight(desk: Desk) -> None:
    reader = desk.reader
    await reader.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    await transact.send_transaction(reader, from_private_key(OPERATOR_KEY), to=COLD, data=b"")
    said = await oracle("wallet", "sweep", "--to", COLD, "--config", desk.config, "--yes")
    assert said.code == 1
    assert "1 transactions that wait to be mined" in said.err
    await reader.rpc("anvil_mine", "0x1")


async def test_a_sweep_waits_for_what_the_node_has_signed(
    new_bench: Callable[..., Awaitable[Bench]], tmp_path: Path
) -> None:
    bench = await new_bench()
    await bench.roll()
    await bench.walk()
    await bench.stack.aclose()
    config = tmp_path / "oracle.toml"
    # The endpoint has forgotten what it was sent; the node's database has not.
    await bench.rpc("anvil_dropAllTransactions")
    said = await oracle("wallet", "sweep", "--to", COLD, "--config", config, "--yes")
    assert said.code == 1
    assert "1 transactions that the chain has not taken yet" in said.err


async def test_a_sweep_says_what_the_node_has_still_to_serve(
    new_bench: Callable[..., Awaitable[Bench]], tmp_path: Path
) -> None:
    bench = await new_bench(confirmations=5)
    await bench.roll()
    await bench.walk()
    await bench.stack.aclose()
    await bench.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    config = tmp_path / "oracle.toml"
    said = await oracle("wallet", "sweep", "--to", COLD, "--config", config, "--yes")
    assert said.code == 0, said.err
    assert "the node has 1 request to serve" in said.err


async def test_a_sweep_to_a_contract_that_takes_none_sends_nothing(desk: Desk) -> None:
    before = await desk.reader.nonce(OPERATOR)
    said = await oracle("wallet", "sweep", "--to", desk.contract, "--config", desk.config, "--yes")
    assert said.code == 1
    assert await desk.reader.nonce(OPERATOR) == before


async def test_a_sweep_on_a_rollup_leaves_its_data_fee(desk: Desk) -> None:
    # PUSH2 1000, kept and returned, whatever is asked.
    code = "0x6103e85f5260205ff3"
    await desk.reader.rpc("anvil_setCode", "0x420000000000000000000000000000000000000F", code)
    said = await oracle(
        "wallet", "sweep", "--to", COLD, "--config", desk.config, "--yes", "--json"
    )
    assert said.code == 0, said.err
    assert said.document["leftWei"] == 2 * (1000 + 1000)


async def test_balances_say_how_far_the_money_goes(desk: Desk) -> None:
    said = await oracle("wallet", "balances", "--config", desk.config, "--json")
    assert said.code == 0, said.err
    [row] = said.document
    balance = await desk.reader.balance(OPERATOR)
    assert (row["chain"], row["address"], row["balanceWei"]) == ("devnet", OPERATOR, balance)
    assert row["nonce"] == row["pendingNonce"] == await desk.reader.nonce(OPERATOR)
    assert row["fulfillments"] == balance // row["fulfillmentWei"] > 0
    said = await oracle("wallet", "balances", "--config", desk.config)
    assert f"devnet: {OPERATOR} has " in said.out
    said = await oracle(
        "wallet", "balances", "--rpc-url", desk.devnet.deployment.rpc_url, "--address", OWNER
    )
    assert said.code == 0
    assert OWNER in said.out


async def test_balances_name_a_chain_that_does_not_answer(desk: Desk) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/secret-path"
    with desk.config.open("a", encoding="utf-8") as file:
        file.write(
            f'[chains.other]\nchain_id = 5\nendpoints = ["{nowhere}"]\n'
            f'coordinator = "{COLD}"\ndevnet = true\nwallet.key_file = "operator.key"\n'
        )
    said = await oracle("wallet", "balances", "--config", desk.config)
    assert said.code == 1
    assert f"devnet: {OPERATOR} has " in said.out
    assert "other: http://127.0.0.1" in said.out
    assert "not every chain answered: other" in said.err
    assert "secret-path" not in said.out + said.err
    said = await oracle("wallet", "balances", "--config", desk.config, "--chain", "devnet")
    assert said.code == 0
    said = await oracle("coordinator", "show", "--config", desk.config)
    assert said.code == 2
    assert "say which --chain: devnet, other" in said.err
    said = await oracle("coordinator", "show", "--config", desk.config, "--chain", "third")
    assert said.code == 2
    assert "known are devnet, other" in said.err
