"""
The verbs with which a person spends or decides, on a real chain and a real coordinator.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from oracle import artifacts
from oracle.chain import transact
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import PLAYER_KEY
from oracle.errors import EndpointError
from oracle.request import State
from tests.operator_desk import COLD, COLD_KEY, ETHER, OPERATOR, OWNER, Desk, desk, earn, oracle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.integration.conftest import Bench

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["desk"]


async def test_a_coordinator_is_shown(desk: Desk) -> None:
    shown = await desk.shown()
    assert (shown["owner"], shown["operator"], shown["pendingOwner"]) == (OWNER, OPERATOR, None)
    assert (shown["next"], shown["committed"], shown["seedsLeft"]) == (0, 512, 512)
    assert (shown["flatFeeGwei"], shown["gasMarginBps"]) == (0, 12_000)
    assert (shown["flatFeeGweiMax"], shown["gasMarginBpsMax"]) == (10**9, 50_000)
    assert shown["window"] == 256
    said = await oracle("coordinator", "show", "--config", desk.config)
    assert f"owner: {OWNER}\npendingOwner: none\noperator: {OPERATOR}\n" in said.out


async def test_what_a_real_request_brings_is_escrow_then_uncollected_then_paid_out(
    new_bench: Callable[..., Awaitable[Bench]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await new_bench()
    desk = Desk(bench.devnet, tmp_path / "oracle.toml", monkeypatch)
    request = await bench.roll()
    shown = await desk.shown()
    assert shown["escrowWei"] == shown["balanceWei"] == request.fee > 0
    for _ in range(4):
        await bench.walk()
        await bench.mine()
    shown = await desk.shown()
    assert (shown["escrowWei"], shown["uncollectedWei"]) == (0, request.fee)

    await bench.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    said = await desk.owner("withdraw", "--all", "--to", COLD, "--yes", "--json")
    assert said.code == 0, said.err
    assert said.document["amountWei"] == said.document["collectedWei"] == request.fee
    assert len(said.document["transactions"]) == 2
    assert await desk.reader.balance(COLD) == request.fee
    assert (await desk.shown())["balanceWei"] == 0


async def test_a_node_can_be_drained_by_another_operator(
    new_bench: Callable[..., Awaitable[Bench]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await new_bench()
    desk = Desk(bench.devnet, tmp_path / "oracle.toml", monkeypatch)
    request = await bench.roll()
    await bench.rpc("anvil_setBalance", COLD, hex(ETHER))
    await bench.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    assert (await desk.owner("set-operator", COLD, "--yes")).code == 0
    assert (await desk.by(COLD_KEY, "discard", "--all", "--yes")).code == 0
    await bench.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    for _ in range(4):
        await bench.walk()
        await bench.mine()
    assert await bench.state(request) is State.DONE
    assert (await desk.shown())["seedsLeft"] == 0
    with pytest.raises(EndpointError):
        await bench.send_roll()


async def test_earnings_of_many_slots_are_collected_in_calls_that_fit_a_block(desk: Desk) -> None:
    config = transact.CoordinatorConfig(owner=OWNER, operator=OPERATOR, window=256, ring_size=8192)
    contract, _ = await transact.deploy(
        desk.reader,
        from_private_key(PLAYER_KEY),
        artifacts.load("QuantumCoordinator"),
        config.encode(),
    )
    await earn(desk.reader, contract, {0: 5 * ETHER, 1: ETHER, 4000: 7, 8191: 2 * ETHER})
    said = await desk.owner(
        "withdraw", "--amount-ether", "6.5", "--to", COLD, "--coordinator", contract, "--yes",
        "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert len(said.document["transactions"]) == 3, "what is not needed stays where it is"
    assert await desk.reader.balance(COLD) == 65 * ETHER // 10
    said = await desk.owner(
        "withdraw", "--all", "--to", COLD, "--coordinator", contract, "--yes", "--json"
    )
    assert said.code == 0, said.err
    assert await desk.reader.balance(COLD) == 8 * ETHER + 7
    assert await desk.reader.balance(contract) == 0


async def test_a_collect_of_full_slots_costs_less_than_its_bound(desk: Desk) -> None:
    await earn(desk.reader, desk.contract, dict.fromkeys(range(256), 1))
    said = await desk.owner("withdraw", "--all", "--to", COLD, "--yes", "--json")
    assert said.code == 0, said.err
    receipt = await desk.reader.receipt(bytes.fromhex(said.document["transactions"][0][2:]))
    assert receipt is not None
    assert receipt.gas_used < 256 * 6_000 + 60_000


@pytest.mark.parametrize(
    ("amount", "code", "reason"),
    [
        (("--all",), 1, "nothing was earned"),
        (("--amount-ether", "0.1"), 1, "0 ether was earned and not withdrawn, 0.1 ether was"),
        (("--amount-ether", "0"), 2, "is no amount"),
        (("--amount-ether", "-1"), 2, "is no amount"),
        (("--amount-ether", "NaN"), 2, "is no amount"),
        (("--amount-ether", "much"), 2, "is no number"),
        (("--amount-ether", "0.0000000000000000001"), 2, "more than 18 decimals"),
        (("--amount-ether", "1", "--all"), 2, "--amount-ether AMOUNT or --all"),
        ((), 2, "--amount-ether AMOUNT or --all"),
    ],
)
async def test_an_amount_that_cannot_be_withdrawn_is_refused(
    desk: Desk, amount: tuple[str, ...], code: int, reason: str
) -> None:
    said = await desk.owner("withdraw", *amount, "--to", COLD, "--yes")
    assert (said.code, said.out) == (code, "")
    assert reason in said.err


async def test_a_recipient_that_takes_no_ether_gets_none_before_anything_is_sent(
    desk: Desk,
) -> None:
    await earn(desk.reader, desk.contract, {3: ETHER})
    before = await desk.reader.nonce(OWNER)
    said = await desk.owner("withdraw", "--all", "--to", desk.devnet.deployment.dice, "--yes")
    assert said.code == 1
    assert "would refuse this" in said.err
    assert await desk.reader.nonce(OWNER) == before


async def test_seeds_are_discarded_as_far_as_asked(desk: Desk) -> None:
    said = await desk.operator("discard", "--up-to", 100, "--yes", "--json")
    assert said.code == 0, said.err
    assert (said.document["first"], said.document["upTo"]) == (0, 100)
    assert "seeds 0 to 99: 100 are given up" in said.err
    assert (await desk.shown())["seedsLeft"] == 412
    for index in (100, 513):
        said = await desk.operator("discard", "--up-to", index, "--yes")
        assert said.code == 2
        assert "101 to 512 are possible" in said.err
    said = await desk.operator("discard", "--all", "--yes")
    assert said.code == 0
    assert "requests will revert" in said.err
    said = await desk.operator("discard", "--all", "--yes")
    assert said.code == 1
    assert "nothing to discard" in said.err


async def test_the_fee_is_set_within_its_bounds(desk: Desk) -> None:
    said = await desk.operator("set-fee", "--flat-fee-gwei", 7, "--yes", "--json")
    assert said.code == 0, said.err
    shown = await desk.shown()
    assert (shown["flatFeeGwei"], shown["gasMarginBps"]) == (7, 12_000)
    said = await desk.operator("set-fee", "--gas-margin-percent", 90, "--yes")
    assert said.code == 0
    assert "120 % → 90 %" in said.err
    assert "does not cover" in said.err
    for option, value in (("--flat-fee-gwei", 10**9 + 1), ("--gas-margin-percent", 501)):
        said = await desk.operator("set-fee", option, value, "--yes")
        assert said.code == 2
        assert "at most 1000000000 gwei and a gas margin of at most 500 %" in said.err
    assert (await desk.operator("set-fee", "--yes")).code == 2
    said = await desk.operator(
        "set-fee", "--flat-fee-gwei", 7, "--gas-margin-percent", 90, "--yes"
    )
    assert (said.code, "that is the fee already" in said.err) == (2, True)


async def test_roles_are_handed_over(desk: Desk) -> None:
    assert (await desk.owner("set-operator", COLD, "--yes")).code == 0
    assert (await desk.shown())["operator"] == COLD
    said = await desk.owner("transfer-ownership", COLD, "--yes")
    assert said.code == 0
    assert "never used on this chain" in said.err
    shown = await desk.shown()
    assert (shown["owner"], shown["pendingOwner"]) == (OWNER, COLD)
    await desk.reader.rpc("anvil_setBalance", COLD, hex(ETHER))
    assert (await desk.by(COLD_KEY, "accept-ownership", "--yes")).code == 0
    shown = await desk.shown()
    assert (shown["owner"], shown["pendingOwner"]) == (COLD, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("discard", "--all"),
        ("set-fee", "--flat-fee-gwei", "1"),
        ("set-operator", COLD),
        ("transfer-ownership", COLD),
        ("accept-ownership",),
        ("withdraw", "--all", "--to", COLD),
    ],
    ids=lambda arguments: arguments[0],
)
async def test_who_lacks_the_role_is_told_who_has_it(
    desk: Desk, arguments: tuple[str, ...]
) -> None:
    stranger = "11" * 32
    said = await desk.by(stranger, *arguments, "--yes")
    assert (said.code, said.out) == (2, "")
    assert f"the wallet is {from_private_key(stranger).address}" in said.err
    role = "operator" if arguments[0] in {"discard", "set-fee"} else "owner"
    holder = {"operator": OPERATOR, "owner": OWNER}[role]
    if arguments[0] == "accept-ownership":
        holder = "there is none"
    assert f"only the {role}" in said.err or "was offered to" in said.err
    assert holder in said.err


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("0x" + "00" * 20, "nobody has the key"),
        ("0x" + "00" * 19 + "09", "nobody has the key"),
        (COLD.lower(), "has no checksum"),
        (COLD.replace("5A", "5a"), "wrong checksum"),
        (COLD[:-1], "40 hexadecimal digits"),
    ],
)
async def test_an_address_that_may_be_mistyped_gets_nothing(
    desk: Desk, address: str, reason: str
) -> None:
    for arguments in (
        ("coordinator", "set-operator", address),
        ("coordinator", "transfer-ownership", address),
        ("coordinator", "withdraw", "--all", "--to", address),
        ("wallet", "sweep", "--to", address),
    ):
        said = await oracle(*arguments, "--config", desk.config, "--yes")
        assert (said.code, said.out) == (2, "")
        assert reason in said.err


async def test_nothing_is_sent_where_nobody_can_be_asked(desk: Desk) -> None:
    before = await desk.reader.nonce(OPERATOR)
    said = await desk.operator("discard", "--all")
    assert said.code == 2
    assert "add --yes" in said.err
    assert f"from         {OPERATOR}" in said.err
    assert await desk.reader.nonce(OPERATOR) == before


async def test_another_chain_no_contract_and_another_contract_are_told_apart(
    desk: Desk,
) -> None:
    url = desk.devnet.deployment.rpc_url
    for contract, reason in (
        (COLD, "there is no contract"),
        (desk.devnet.deployment.dice, "is no QuantumCoordinator"),
    ):
        said = await oracle("coordinator", "show", "--rpc-url", url, "--coordinator", contract)
        assert said.code == 2
        assert reason in said.err
    text = desk.config.read_text(encoding="utf-8")
    desk.config.write_text(text.replace("chain_id = 31337", "chain_id = 1"), encoding="utf-8")
    said = await oracle("coordinator", "show", "--config", desk.config)
    assert said.code == 2
    assert "serves chain 31337" in said.err


async def test_a_keystore_pays_and_a_wrong_password_does_not(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keystore = tmp_path / "owner.json"
    keystore.touch(mode=0o600)
    keystore.write_text(from_private_key(PLAYER_KEY).keystore("the right one"), encoding="utf-8")
    arguments = ("coordinator", "set-operator", COLD, "--keystore", keystore, "--yes")
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", "the wrong one")
    said = await oracle(*arguments, "--config", desk.config)
    assert (said.code, said.out) == (2, "")
    assert "does not open with this password" in said.err
    assert "the wrong one" not in said.err
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", "the right one")
    said = await oracle(*arguments, "--config", desk.config)
    assert said.code == 0, said.err
    assert "the right one" not in said.out + said.err


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0)])
async def test_a_person_is_asked_first(desk: Desk, answer: bytes, code: int) -> None:
    before = await desk.reader.balance(OPERATOR)
    arguments = ("wallet", "sweep", "--to", COLD, "--config", str(desk.config))
    terminal, stdin = os.openpty()
    try:
        os.write(terminal, answer)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "oracle", *arguments),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = (said.decode() for said in await process.communicate())
    finally:
        os.close(terminal)
        os.close(stdin)
    assert process.returncode == code, err
    for part in (OPERATOR, COLD, "31337", "at most 0.0", "Do it? [y/N]"):
        assert part in err
    left = await desk.reader.balance(OPERATOR)
    assert left == (0 if code == 0 else before)
    assert ("nothing was sent" in err) == (code == 1)
    assert (f"went to {COLD} in 0x" in out) == (code == 0)
