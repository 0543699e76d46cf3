from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from oracle.airnode_settings import AirnodeChainSettings, AirnodeSettings
from oracle.cli.airnodes import load_airnode_keys
from oracle.cli.init import KIND_NAMES, init
from oracle.config import (
    ChainSettings,
    FeeSettings,
    GatewaySettings,
    PoolSettings,
    Settings,
    WalletSettings,
)
from oracle.setting_docs import describe
from oracle.source_settings import KINDS, ErrorRuleSettings, QuotaSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

pytestmark = pytest.mark.unit

MODELS = [
    Settings,
    GatewaySettings,
    PoolSettings,
    ChainSettings,
    WalletSettings,
    AirnodeSettings,
    AirnodeChainSettings,
    QuotaSettings,
    ErrorRuleSettings,
    *KINDS.values(),
]
NEEDED = ("--chain-id", "1", "--rpc-url", "http://127.0.0.1:8545/secret", "--trusted")
REQUIRED = {
    "qrng-open-api": ["url=https://q.example/v1"],
    "device": ["path=/dev/qrandom0"],
    "json-http": ["url=https://j.example", "data=bytes", "encoding=hex"],
}


def run(folder: Path, *arguments: str, source: str = "lfd") -> Result:
    given = ["--config", str(folder / "oracle.toml"), "--yes", *NEEDED, "--source", source]
    return CliRunner().invoke(init, [*given, *arguments], env={})


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_source_gives_a_file_that_loads(tmp_path: Path, kind: str) -> None:
    name = kind.replace("-", "_")
    extra = [part for one in REQUIRED.get(kind, []) for part in ("--set", f"sources.{name}.{one}")]
    result = run(tmp_path, *extra, source=kind)
    assert result.exit_code == 0, result.output
    settings = Settings.load(tmp_path / "oracle.toml")
    assert settings.sources[name].kind == kind
    assert settings.chains["mainnet"].is_trusted
    assert settings.pool.key_file == tmp_path / "keys" / "pool.key"


def test_every_setting_is_in_the_file_with_its_meaning(tmp_path: Path) -> None:
    run(tmp_path)
    lines = (tmp_path / "oracle.toml").read_text(encoding="utf-8").splitlines()
    for model in (PoolSettings, ChainSettings, WalletSettings, FeeSettings, KINDS["lfd"]):
        for doc in describe(model):
            if doc.name not in ("wallet", "fee"):
                assert any(
                    line.lstrip("# ").startswith((f"{doc.name} = ", f"{doc.name}: "))
                    and line.endswith(doc.comment)
                    for line in lines
                ), doc.name


def test_what_is_written_is_private_and_never_shown(tmp_path: Path) -> None:
    result = run(tmp_path, "--json")
    document = json.loads(result.stdout)
    assert document["written"] == [
        str(tmp_path / name)
        for name in ("oracle.toml", "keys/pool.key", "keys/password", "keys/operator.json")
    ]
    for name in document["written"]:
        assert mode_of(Path(name)) == 0o600
    assert mode_of(tmp_path / "keys") == 0o700
    assert any(document["wallet"] in step for step in document["nextSteps"])
    assert "secret" not in result.output
    for name in ("pool.key", "password"):
        text = (tmp_path / "keys" / name).read_text(encoding="ascii").strip()
        assert text not in result.output


def test_a_websocket_is_checked_and_written(tmp_path: Path) -> None:
    for url, reason in (
        ("https://node.example/hunter2", "must begin with ws:// or wss://"),
        ("ws://node.example/hunter2", "write wss://"),
    ):
        result = run(tmp_path, "--websocket-url", url)
        assert reason in str(result.exception)
        assert "hunter2" not in result.output + str(result.exception)
        assert list(tmp_path.iterdir()) == []
    result = run(tmp_path, "--websocket-url", "wss://node.example/hunter2")
    assert result.exit_code == 0, result.output
    assert "hunter2" not in result.output
    chain = Settings.load(tmp_path / "oracle.toml").chains["mainnet"]
    assert chain.websocket is not None
    assert chain.websocket.get_secret_value() == "wss://node.example/hunter2"


def test_nothing_is_overwritten_and_keys_are_kept(tmp_path: Path) -> None:
    first = json.loads(run(tmp_path, "--json").stdout)
    key = (tmp_path / "keys" / "pool.key").read_text(encoding="ascii")
    again = run(tmp_path)
    assert again.exit_code != 0
    assert "is not overwritten" in str(again.exception)
    (tmp_path / "oracle.toml").unlink()
    second = json.loads(run(tmp_path, "--json").stdout)
    assert second["wallet"] == first["wallet"]
    assert second["written"] == [str(tmp_path / "oracle.toml")]
    assert (tmp_path / "keys" / "pool.key").read_text(encoding="ascii") == key


@pytest.mark.parametrize("name", ["sources.lfd.key", "pool.key", "chains.mainnet.wallet.password"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(
    tmp_path: Path, name: str
) -> None:
    result = run(tmp_path, "--set", f"{name}=hunter2hunter2")
    assert result.exit_code != 0
    assert "was seen on the command line" in str(result.exception)
    assert "hunter2" not in result.output + str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_load_is_not_kept(tmp_path: Path) -> None:
    result = run(tmp_path, "--set", "chains.mainnet.runwya=1")
    assert result.exit_code != 0
    assert "did you mean runway" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_default_is_named(tmp_path: Path) -> None:
    config = str(tmp_path / "oracle.toml")
    result = CliRunner().invoke(init, ["--config", config, "--yes"], env={})
    assert "--chain-id has no default" in str(result.exception)
    result = run(tmp_path, source="device")
    assert "sources.device.path has no default" in str(result.exception)


def test_what_is_not_given_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle.cli.init.nobody_is_here", lambda: False)
    answers = "sepolia\n11155111\nhttp://127.0.0.1:8545\n\ny\nanu-quantum-numbers\nlfd\n\n\n"
    config = str(tmp_path / "oracle.toml")
    result = CliRunner().invoke(init, ["--config", config], env={}, input=answers)
    assert result.exit_code == 0, result.output
    settings = Settings.load(tmp_path / "oracle.toml")
    assert settings.chains["sepolia"].chain_id == 11155111
    assert set(settings.sources) == {"anu_quantum_numbers", "lfd"}


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_has_a_meaning(model: type[BaseModel]) -> None:
    for doc in describe(model):
        assert len(doc.comment) > 2


def test_every_kind_of_source_can_be_chosen() -> None:
    assert list(KIND_NAMES) == sorted(KINDS)


def test_an_airnode_is_written_beside_a_coordinator_or_alone(tmp_path: Path) -> None:
    rrp = "0x2ab9f26E18B64848cd349582ca3B55c2d06f507d"
    for folder, option in ((tmp_path / "both", "--airnode"), (tmp_path / "one", "--airnode-only")):
        folder.mkdir()
        document = json.loads(run(folder, option, "--rrp", rrp, "--json").stdout)
        settings = Settings.load(folder / "oracle.toml")
        assert settings.airnode is not None
        assert set(settings.chains) == ({"mainnet"} if option == "--airnode" else set())
        chain = settings.airnode.chains["mainnet"]
        assert (chain.chain_id, chain.contract, chain.is_trusted) == (1, rrp, True)
        keys = load_airnode_keys(settings.airnode)
        assert (document["airnode"], document["xpub"]) == (keys.address, str(keys.xpub))
        assert not keys.well_known
        said = " ".join(document["nextSteps"])
        assert str(keys.xpub) in said
        assert ("oracle deploy" in said) == (option == "--airnode")
        assert (document["wallet"] is None) == (option == "--airnode-only")
        for name in ("airnode.json", "airnode.password"):
            assert mode_of(folder / "keys" / name) == 0o600
            assert str(folder / "keys" / name) in document["written"]
        lines = (folder / "oracle.toml").read_text(encoding="utf-8").splitlines()
        for model in (AirnodeSettings, AirnodeChainSettings):
            for doc in describe(model):
                assert doc.name == "chains" or any(
                    line.lstrip("# ").startswith((f"{doc.name} = ", f"{doc.name}: "))
                    and line.endswith(doc.comment)
                    for line in lines
                ), doc.name
        # Done again, the Airnode stays the same.
        (folder / "oracle.toml").unlink()
        again = json.loads(run(folder, option, "--json").stdout)
        assert again["airnode"] == document["airnode"]
        assert "Put the password of the mnemonic" not in str(again["nextSteps"])
        (folder / "oracle.toml").unlink()
        (folder / "keys" / "airnode.password").unlink()
        bare = json.loads(run(folder, option, "--json").stdout)
        assert "Put the password of the mnemonic" in str(bare["nextSteps"])


def test_options_of_an_airnode_do_not_go_with_others(tmp_path: Path) -> None:
    for arguments, reason in (
        (["--rrp", "0x" + 40 * "1"], "--rrp is an Airnode's"),
        (["--airnode-only", "--coordinator", "0x" + 40 * "1"], "exclude each other"),
    ):
        assert reason in str(run(tmp_path, *arguments).exception)
    assert list(tmp_path.iterdir()) == []
