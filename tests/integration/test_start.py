"""
A node that could not work refuses to start, says why in one sentence, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from oracle.chain.wallets import from_private_key
from oracle.cli.options import load_pool_key
from oracle.cli.run import compose
from oracle.config import Settings
from oracle.devnet.network import OPERATOR_KEY, Devnet
from oracle.devnet.processes import free_port
from oracle.errors import ConfigError, DatabaseLockedError, PoolKeyError
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from tests.factories import make_block
from tests.verbs import oracle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from oracle.devnet.network import Ground

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def prepared(ground: Ground, tmp_path: Path) -> AsyncIterator[Path]:
    """
    A folder with a configuration that works.
    """
    snapshot = await ground.reader.rpc("evm_snapshot")
    await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    await ground.reader.rpc("anvil_mine", "0x2")
    await Devnet(tmp_path, ground, window=256).prepare()
    yield tmp_path
    await ground.reader.rpc("evm_revert", snapshot)


async def _start(folder: Path, *changes: tuple[str, str]) -> None:
    path = folder / "oracle.toml"
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    async with AsyncExitStack() as stack:
        await compose(Settings.load(path), stack)


async def test_what_devnet_writes_starts(prepared: Path) -> None:
    await _start(prepared)


async def test_a_wrong_chain_id_is_refused(prepared: Path) -> None:
    with pytest.raises(ConfigError, match=r"chain_id is 1, but .* serves chain 31337"):
        await _start(prepared, ("chain_id = 31337", "chain_id = 1"))
    assert not (prepared / "oracle.db").exists()


async def test_a_coordinator_without_code_is_refused(prepared: Path) -> None:
    text = (prepared / "oracle.toml").read_text(encoding="utf-8")
    address = text.split('coordinator = "')[1][:42]
    with pytest.raises(ConfigError, match=r"there is no contract at .*oracle deploy"):
        await _start(prepared, (address, "0x000000000000000000000000000000000000dEaD"))
    assert not (prepared / "oracle.db").exists()


async def test_a_wallet_that_is_not_the_operator_is_refused(prepared: Path) -> None:
    (prepared / "operator.key").write_text("1" * 64, encoding="ascii")
    with pytest.raises(
        ConfigError, match=r"the operator of .* is 0x.*, not the configured wallet"
    ):
        await _start(prepared)


async def test_a_well_known_key_is_refused_off_devnets(prepared: Path) -> None:
    with pytest.raises(ConfigError, match="well-known test key"):
        await _start(prepared, ("devnet = true", "trusted = true"))


async def test_one_endpoint_that_nobody_vouches_for_is_refused(prepared: Path) -> None:
    with pytest.raises(ConfigError, match="trusted = true"):
        await _start(prepared, ("devnet = true\n", ""))


async def test_a_websocket_that_is_none_is_refused(prepared: Path, ground: Ground) -> None:
    with pytest.raises(
        ConfigError, match=r"chains\.devnet\.websocket must begin with ws:// or wss://"
    ):
        await _start(prepared, (ground.websocket_url, ground.rpc_url))
    assert not (prepared / "oracle.db").exists()


async def test_a_depth_beyond_half_the_window_is_refused(prepared: Path) -> None:
    with pytest.raises(ConfigError, match="above half of the coordinator's window of 256"):
        await _start(prepared, ("devnet = true", "devnet = true\nconfirmations = 129"))


async def test_a_world_readable_key_is_refused(prepared: Path) -> None:
    (prepared / "pool.key").chmod(0o644)
    with pytest.raises(ConfigError, match="open to everybody: run `chmod 600"):
        await _start(prepared)
    assert not (prepared / "oracle.db").exists()


async def test_another_pool_key_is_refused(prepared: Path) -> None:
    await _start(prepared)
    (prepared / "pool.key").write_text("ab" * 32, encoding="ascii")
    with pytest.raises(PoolKeyError, match="not the one that this database was written with"):
        await _start(prepared)


async def test_an_endpoint_that_is_down_is_named(prepared: Path, ground: Ground) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with capture_logs() as events:
        await _start(prepared, (ground.rpc_url, nowhere + "/secret-key"))
    [event] = [event for event in events if event["event"] == "chain_unreachable"]
    assert event["chain"] == "devnet"
    assert nowhere in event["error"]
    assert "secret-key" not in event["error"]


async def test_one_wallet_for_two_coordinators_of_a_chain_is_refused(prepared: Path) -> None:
    path = prepared / "oracle.toml"
    before, section = path.read_text(encoding="utf-8").split("[chains.devnet]")
    address = section.split('coordinator = "')[1][:42]
    second = section.replace(address, "0x000000000000000000000000000000000000dEaD")
    path.write_text(f"{before}[chains.one]{section}\n[chains.two]{second}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"chains.one and chains.two use one wallet"):
        await _start(prepared)
    assert not (prepared / "oracle.db").exists()


async def test_a_wallet_that_still_works_for_another_coordinator_is_refused(
    prepared: Path,
) -> None:
    await _start(prepared)
    operator = bytes.fromhex(from_private_key(OPERATOR_KEY).address[2:])
    with sqlite3.connect(prepared / "oracle.db") as database:
        database.execute(
            "INSERT INTO transactions (chain_id, contract, wallet, nonce, purpose, gas_limit,"
            " state, created_at, updated_at) VALUES (31337, ?, ?, 9, 'commit', 1, 'sent', 1, 1)",
            (bytes(20), operator),
        )
        database.execute(
            "INSERT INTO attempts (transaction_hash, transaction_id, max_fee, priority_fee, nonce,"
            " ciphertext, created_at, sent_block)"
            " SELECT ?, id, ?, ?, ?, ?, 1, 1 FROM transactions WHERE nonce = 9",
            (bytes(32), bytes(32), bytes(32), bytes(12), bytes(16)),
        )
    with pytest.raises(ConfigError, match=r"has transactions for 0x0{40} under way"):
        await _start(prepared)


async def test_a_second_node_on_one_database_is_refused(prepared: Path) -> None:
    async with AsyncExitStack() as stack:
        await compose(Settings.load(prepared / "oracle.toml"), stack)
        with pytest.raises(DatabaseLockedError, match="another node runs"):
            await _start(prepared)


async def test_a_database_of_another_chain_is_refused(prepared: Path) -> None:
    await _start(prepared)
    with sqlite3.connect(prepared / "oracle.db") as database:
        database.execute("UPDATE settings SET value = 'aa' WHERE name LIKE 'genesis:%'")
    with pytest.raises(ConfigError, match="belongs to another chain"):
        await _start(prepared)


async def test_the_command_says_one_sentence_and_exits_with_2(prepared: Path) -> None:
    path = prepared / "oracle.toml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("runway", "runaway"), encoding="utf-8"
    )
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "oracle", "run", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "chains.devnet.runaway is no setting: did you mean runway?" in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_lost_database_is_not_quietly_made_anew(prepared: Path) -> None:
    _, epoch = load_pool_key(Settings.load(prepared / "oracle.toml").pool)
    epoch.write(7)
    with pytest.raises(ConfigError, match=r"there was one: .* `oracle recover`"):
        await _start(prepared)
    assert not (prepared / "oracle.db").exists()
    said = await oracle("check", "--config", prepared / "oracle.toml", "--json")
    lost = [one for one in json.loads(said.out)["findings"] if one["check"] == "lost"]
    assert (said.code, [one["level"] for one in lost]) == (1, ["error"])


async def test_what_a_devnet_left_in_the_pool_goes_to_no_other_chain(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _start(prepared)
    key, epoch = load_pool_key(Settings.load(prepared / "oracle.toml").pool)
    database = await Database.open(prepared / "oracle.db", Access.SOLE)
    async with database.write() as tx:
        await Pool(key, epoch).add(tx, [make_block(0)])
    await database.close()
    monkeypatch.setattr(Settings, "devnet", False)
    with pytest.raises(ConfigError, match="holds simulated entropy"):
        await _start(prepared)
    said = await oracle("check", "--config", prepared / "oracle.toml", "--json")
    assert [
        one["level"] for one in json.loads(said.out)["findings"] if one["check"] == "entropy"
    ] == ["error"]
