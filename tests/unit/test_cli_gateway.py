from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from oracle.cli.main import main
from oracle.store.cursors import put_setting
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey
from tests.factories import make_block

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.unit

CONFIG = """
database = "gateway.db"
pool.key_file = "pool.key"
[sources.anu]
kind = "anu-quantum-numbers"
key_file = "anu.key"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("ORACLE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name, text in (("pool.key", "00" * 32), ("anu.key", "any")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    (tmp_path / "gateway.toml").write_text(CONFIG)
    return tmp_path


def exit_code(*arguments: str) -> int:
    try:
        main(("gateway", *arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else -1
    return 0


def prepare(folder: Path, change: Callable[[Database], Awaitable[None]]) -> None:
    async def run() -> None:
        database = await Database.open(folder / "gateway.db", Access.NODE)
        try:
            await change(database)
        finally:
            await database.close()

    asyncio.run(run())


def create(*more: str) -> int:
    return exit_code("key", "create", "ci", "--scope", "anu", *more)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--simulate"),
        (("--simulate", "--config", "gateway.toml"), "either"),
        (("--simulate", "--allow-simulated"), "leave it out"),
        (("--simulate", "--tls-key", "pool.key"), "--tls-certificate"),
        (("--config", "absent.toml"), "no configuration"),
    ],
)
def test_contradiction_is_said_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert exit_code(*options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_gateway_never_opens_a_nodes_database(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work_as_node(database: Database) -> None:
        async with database.write() as tx:
            await put_setting(tx, "genesis:1", "00")

    prepare(folder, work_as_node)
    assert exit_code("--config", "gateway.toml") == 2
    assert create() == 2
    assert capsys.readouterr().err.count("a node's database") == 2


@pytest.mark.parametrize("chains", ["[chains.main]\nchain_id = 1\nendpoints = ['http://x']\n"])
def test_gateway_refuses_a_nodes_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str], chains: str
) -> None:
    coordinator = "coordinator = '0x5FbDB2315678afecb367f032d93F642f64180aa3'\nwallet = {}\n"
    (folder / "gateway.toml").write_text(CONFIG + chains + coordinator)
    assert exit_code("--config", "gateway.toml") == 2
    assert "chains: a gateway knows none" in capsys.readouterr().err


def test_simulated_pool_is_served_only_as_such(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fill(database: Database) -> None:
        pool = Pool(PoolKey(bytes(32)), EpochFile(folder / "pool.key.epoch"))
        await pool.unlock(database)
        async with database.write() as tx:
            await pool.add(tx, [make_block(0), replace(make_block(1), simulated=False)])

    prepare(folder, fill)
    assert exit_code("--config", "gateway.toml") == 2
    assert "--allow-simulated" in capsys.readouterr().err


def test_key_is_printed_once_and_listed_without_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--rate", "30/10", "--quota", "2MiB", "--scope", "qci")
    assert create("--config", "gateway.toml", *options) == 0
    key = capsys.readouterr().out.strip()
    assert len(key) >= 43
    assert exit_code("key", "list", "--json") == 0
    listed = capsys.readouterr().out
    assert key not in listed
    [client] = json.loads(listed)
    assert client["scopes"] == ["anu", "qci"]
    assert client["rate"] == {"requests": 30, "seconds": 10}
    assert client["quotaBytes"] == 2 * 2**20
    assert exit_code("key", "revoke", "ci") == 0
    assert exit_code("key", "list") == 0
    assert "revoked" in capsys.readouterr().out


def test_keys_are_made_while_a_gateway_runs(folder: Path) -> None:
    async def run_beside(database: Database) -> None:
        assert await asyncio.to_thread(create) == 0

    prepare(folder, run_beside)


@pytest.mark.parametrize(
    "options",
    [("--rate", "30"), ("--rate", "0/1"), ("--quota", "many"), ("--quota", "-1")],
)
def test_mistyped_limit_creates_no_key(folder: Path, options: tuple[str, ...]) -> None:
    assert create(*options) == 2
    assert not (folder / "gateway.db").exists()


@pytest.mark.parametrize("name", ["", "a b", "a" * 65])
def test_name_has_no_blanks(folder: Path, name: str) -> None:
    assert exit_code("key", "create", name, "--scope", "anu") == 2
