"""
What `oracle check` finds with a configuration that works, and with ones that do not: all of it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from oracle.chain.transact import send_transaction, wait_for
from oracle.chain.wallets import from_private_key
from oracle.cli.check import check
from oracle.config import Settings
from oracle.devnet.network import CHAIN_ID, OPERATOR_KEY, Devnet
from oracle.devnet.processes import free_port
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.store import batches
from oracle.store.batches import Batch
from oracle.store.cursors import put_setting
from oracle.store.engine import Access, Database
from oracle.store.seal import PoolKey
from tests.hostile import KEY, hostile, says
from tests.lying import flip, lying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from oracle.devnet.network import Ground

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def folder(ground: Ground, tmp_path: Path) -> AsyncIterator[Path]:
    """
    A folder with a configuration that works.
    """
    snapshot = await ground.reader.rpc("evm_snapshot")
    await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    await ground.reader.rpc("anvil_mine", "0x2")
    await Devnet(tmp_path, ground, window=256).prepare()
    yield tmp_path
    await ground.reader.rpc("evm_revert", snapshot)


async def _run(folder: Path, *changes: tuple[str, str]) -> Result:
    path = folder / "oracle.toml"
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    arguments = ["--config", str(path), "--json"]
    return await asyncio.to_thread(CliRunner().invoke, check, arguments, env={})


def _levels(result: Result) -> dict[tuple[str, str], str]:
    document: dict[str, Any] = json.loads(result.stdout)
    return {(one["where"], one["check"]): one["level"] for one in document["findings"]}


def _said(result: Result, check: str, level: str) -> str:
    [one] = [
        one
        for one in json.loads(result.stdout)["findings"]
        if (one["check"], one["level"]) == (check, level)
    ]
    return f"{one['detail']}: {one['advice']}" if one["advice"] else one["detail"]


async def test_what_devnet_writes_has_no_error(folder: Path) -> None:
    result = await _run(folder)
    assert result.exit_code == 0, result.stdout
    assert "error" not in _levels(result).values()
    assert "vendor's plus the operating system's" in _said(result, "number", "warning")
    assert not (folder / "oracle.db").exists()
    assert (folder / "pool.key").read_text(encoding="ascii").strip() not in result.stdout


async def test_a_websocket_is_tried(folder: Path, ground: Ground) -> None:
    said = _said(await _run(folder), f"websocket {ground.websocket_url}", "ok")
    assert said == "announces the heads of chain 31337"
    dead = f"ws://127.0.0.1:{free_port()}"
    result = await _run(folder, (ground.websocket_url, f"{dead}/secret-key"))
    assert result.exit_code == 0
    said = _said(result, f"websocket {dead}", "warning")
    assert "cannot be reached" in said
    assert "the node works without it, and asks for the head every 0.1 seconds" in said
    assert "secret-key" not in result.stdout
    result = await _run(folder, (f"{dead}/secret-key", f"{ground.rpc_url}/secret-key"))
    assert result.exit_code == 1
    assert "must begin with ws:// or wss://" in _said(result, "websocket", "error")
    assert "secret-key" not in result.stdout


async def test_a_websocket_of_another_chain_is_found(folder: Path, ground: Ground) -> None:
    result = await _run(folder, ("chain_id = 31337", "chain_id = 1"))
    said = _said(result, f"websocket {ground.websocket_url}", "warning")
    assert "serves chain 31337, not 1" in said


async def test_every_trouble_is_found_and_none_hides_another(folder: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}/secret-key"
    (folder / "pool.key").chmod(0o644)
    (folder / "operator.key").write_text("1" * 64, encoding="ascii")
    (folder / "anu.key").unlink()
    result = await _run(folder, ('endpoints = ["', f'endpoints = ["{dead}", "'))
    assert result.exit_code == 1
    levels = _levels(result)
    chain = "chains.devnet"
    assert levels[chain, f"endpoint {dead.removesuffix('/secret-key')}"] == "error"
    assert levels["pool", "key"] == "error"
    assert levels["sources.anu", "configured"] == "error"
    assert levels[chain, "operator"] == "error"
    assert levels[chain, "block hashes"] == "ok"
    said = _said(result, "balance", "error")
    assert "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A has 0 ether" in said
    assert "send it" in said
    assert "secret-key" not in result.stdout


async def test_an_endpoint_on_another_branch_is_found(folder: Path, ground: Ground) -> None:
    def edit(box: dict[str, Any]) -> None:
        box["result"]["hash"] = flip(box["result"]["hash"])

    async with lying(ground.rpc_url, "eth_getBlockByNumber", edit) as url:
        result = await _run(folder, ('endpoints = ["', f'endpoints = ["{url}", "'))
    assert result.exit_code == 1
    levels = _levels(result)
    assert levels["chains.devnet", "agreement"] == "error"
    assert levels["chains.devnet", "block hashes"] == "error"


@pytest.mark.parametrize("words", ["no access for {url}", f"unknown key {KEY}"])
@pytest.mark.parametrize("as_json", [True, False])
async def test_an_endpoint_that_quotes_its_key_has_it_shown_nowhere(
    folder: Path, ground: Ground, words: str, *, as_json: bool
) -> None:
    async with hostile(ground.rpc_url) as proxy:
        path = folder / "oracle.toml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(ground.rpc_url, proxy.url), encoding="utf-8")
        for methods in ((), ("eth_getLogs",), ("eth_call",)):
            proxy.fault = says(words.format(url=proxy.url), *methods)
            arguments = ["--config", str(path), *(["--json"] if as_json else [])]
            result = await asyncio.to_thread(CliRunner().invoke, check, arguments, env={})
            assert KEY not in result.output
            assert words.partition(" ")[0] in " ".join(result.output.split())


async def test_a_wrong_chain_id_does_not_hide_the_rest(folder: Path) -> None:
    result = await _run(folder, ("chain_id = 31337", "chain_id = 1"))
    assert result.exit_code == 1
    assert "serves chain 31337" in result.stdout
    assert _levels(result)["pool", "key"] == "ok"


async def test_the_store_is_held_against_key_and_chain_while_a_node_runs(folder: Path) -> None:
    database = await Database.open(folder / "oracle.db", Access.NODE)
    try:
        result = await _run(folder)
        assert _said(result, "node", "ok") == "a node runs on it now"
        assert _levels(result)["pool", "epoch"] == "ok"
        assert _levels(result)["chains.devnet", "database"] == "ok"
        async with database.write() as tx:
            await put_setting(tx, "genesis:31337", "00" * 32)
            await put_setting(tx, "pool_key_check", PoolKey(bytes(32)).check_value())
        result = await _run(folder)
        assert result.exit_code == 1
        assert "belongs to another chain" in _said(result, "database", "error")
        assert "not the one that this database" in _said(result, "epoch", "error")
    finally:
        await database.close()


async def test_committed_seeds_that_nobody_here_has_are_found(
    folder: Path, ground: Ground
) -> None:
    settings = await asyncio.to_thread(Settings.load, folder / "oracle.toml")
    coordinator = settings.chains["devnet"].coordinator
    protocol, root = CoordinatorProtocol(CHAIN_ID, coordinator), b"\x01" * 32
    transaction_hash = await send_transaction(
        ground.reader,
        from_private_key(OPERATOR_KEY),
        to=coordinator,
        data=protocol.encode_commit(0, [root, root]),
    )
    await wait_for(ground.reader, transaction_hash)
    result = await _run(folder)
    assert result.exit_code == 1
    assert "512 of the 512 seeds" in _said(result, "seeds", "error")
    assert "oracle coordinator discard" in _said(result, "seeds", "error")

    batch = Batch(chain_id=CHAIN_ID, contract=coordinator, first_index=0, root=root, leaves=[])
    database = await Database.open(folder / "oracle.db", Access.NODE)
    try:
        async with database.write() as tx:
            await batches.add(tx, batch)
        assert "256 of the 512 seeds" in _said(await _run(folder), "seeds", "error")
        async with database.write() as tx:
            await batches.add(tx, replace(batch, first_index=256))
        assert _levels(await _run(folder))["chains.devnet", "seeds"] == "ok"
    finally:
        await database.close()


async def test_a_configuration_that_does_not_load_is_no_finding(folder: Path) -> None:
    result = await _run(folder, ("runway", "runwya"))
    assert result.exit_code != 0
    assert not result.stdout
    assert "did you mean runway" in str(result.exception)


AIRNODE = "airnode.chains.devnet"


@pytest_asyncio.fixture(loop_scope="session")
async def airnode(folder: Path, ground: Ground) -> Path:
    """
    The folder, with an Airnode in its configuration.
    """
    await Devnet(folder, ground, window=256, airnode=True).prepare()
    return folder


async def test_airnode_of_a_devnet_has_no_error(airnode: Path) -> None:
    result = await _run(airnode)
    levels = _levels(result)
    found = {what: level for (where, what), level in levels.items() if where == AIRNODE}
    assert {"mnemonic", "opinions", "endpoint ids", "depth", "logs", "contract"} <= found.keys()
    assert set(found.values()) == {"ok"}
    assert levels["airnode", "mnemonic"] == "ok"
    [one] = [one for one in json.loads(result.stdout)["findings"] if one["where"] == "airnode"]
    assert "it opens: the Airnode is 0x" in one["detail"]


async def test_every_trouble_of_an_airnode_is_found(airnode: Path, ground: Ground) -> None:
    (airnode / "mnemonic.password").write_text("another", encoding="utf-8")
    nobody = "0x" + 40 * "1"
    coordinator = await _coordinator(airnode)
    text = (airnode / "oracle.toml").read_text(encoding="utf-8")
    rrp = next(line for line in text.splitlines() if line.startswith("rrp = "))
    same = "0x" + 64 * "7"
    result = await _run(
        airnode,
        (
            rrp,
            "\n".join(
                [
                    f'rrp = "{coordinator}"',
                    f'authorizers = ["{nobody}"]',
                    f'uint256 = ["{same}"]',
                    f'uint256_array = ["{same}"]',
                ]
            ),
        ),
    )
    assert result.exit_code == 1
    levels = _levels(result)
    for part in (
        ("airnode", "mnemonic"),
        (AIRNODE, "contract"),
        (AIRNODE, "authorizer"),
        (AIRNODE, "endpoint ids"),
    ):
        assert levels[part] == "error", part
    assert "does not open with this password" in _said(result, "mnemonic", "error")
    assert "is no AirnodeRrpV0" in _said(result, "contract", "error")
    assert f"no contract at the authorizer {nobody}" in _said(result, "authorizer", "error")
    assert levels["chains.devnet", "coordinator"] == "ok"


async def test_what_is_dangerous_beyond_devnets_is_said(airnode: Path) -> None:
    text = (airnode / "oracle.toml").read_text(encoding="utf-8")
    section = text[text.index("[airnode]") :].replace("chain_id = 31337", "chain_id = 137")
    section = section.replace(
        "devnet = true", "confirmations = 2\nlower_confirmations = true\ndraws_per_sponsor = 0"
    )
    # Devnets and other chains share no node.
    result = await _run(airnode, (text, text[: text.index("[chains.devnet]")] + section))
    levels = _levels(result)
    for what in ("depth", "requesters' depth", "cap"):
        assert levels[AIRNODE, what] == "warning", what
    assert levels[AIRNODE, "mnemonic"] == "error"
    assert "is a well-known one" in _said(result, "mnemonic", "error")
    assert levels[AIRNODE, "opinions"] == "error"
    assert "fewer than the 20" in _said(result, "depth", "warning")


async def _coordinator(airnode: Path) -> str:
    text = (airnode / "oracle.toml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("coordinator = "))
    return line.split('"')[1]
