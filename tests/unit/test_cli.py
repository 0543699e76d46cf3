from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

from oracle import __version__
from oracle.chain.wallets import from_keystore
from oracle.cli.main import _VERBS, cli, main
from oracle.store.seal import PoolKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.unit

PASSWORD = "a long password"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ORACLE_"):
            monkeypatch.delenv(name)


def help_of(*verb: str) -> Result:
    return CliRunner().invoke(cli, [*verb, "--help"], prog_name="oracle", terminal_width=200)


def exit_code(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else -1
    return 0


def leaves(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield (*above, name)


VERBS = list(leaves(cli))
GROUPS = sorted({verb[:-1] for verb in VERBS if verb[:-1]})


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_help_lists_every_verb_with_a_line() -> None:
    result = help_of()
    assert result.exit_code == 0
    for verb in {verb[0] for verb in VERBS}:
        [line] = [line for line in result.output.splitlines() if line.split()[:1] == [verb]]
        assert len(line.split()) > 2


def test_help_of_no_verb_waits_for_a_library_that_is_slow_to_import() -> None:
    slow = {"web3", "eth_hash", "sqlalchemy", "pydantic", "structlog", "rich", "httpx", "fastapi"}
    modules = sorted({f"oracle.cli.{module}" for module, _, _ in _VERBS.values()})
    code = f"import sys, {', '.join(modules)}; print(*{slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_of_every_verb_ends_with_an_example_of_itself(verb: tuple[str, ...]) -> None:
    result = help_of(*verb)
    assert result.exit_code == 0
    _, found, example = " ".join(result.output.split()).partition("Example: ")
    assert found
    assert f"oracle {' '.join(verb)}" in example


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_example_uses_options_that_exist(verb: tuple[str, ...]) -> None:
    usage, _, example = help_of(*verb).output.partition("Example: ")
    own = " ".join(example.split()).partition(f"oracle {' '.join(verb)}")[2].partition(",")[0]
    for word in own.split():
        if word.startswith("--"):
            assert word in usage.split(), word


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_help_of_every_group_lists_its_verbs(group: tuple[str, ...]) -> None:
    result = help_of(*group)
    assert result.exit_code == 0
    for verb in VERBS:
        if verb[:-1] == group:
            assert verb[-1] in result.output.split()
    assert "Example: oracle" in result.output


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out.strip() == f"oracle, version {__version__}"


def test_unknown_verb_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("verfy") == 2
    assert "no verb 'verfy': did you mean verify?" in capsys.readouterr().err
    assert exit_code("fulfil") == 2
    said = capsys.readouterr().err
    assert "no verb 'fulfil'" in said
    for verb in {verb[0] for verb in VERBS}:
        assert verb in said


def test_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("run", "--confg", "x") == 2
    assert "--config" in capsys.readouterr().err


def test_bad_configuration_ends_with_two_and_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "oracle.toml"
    for verb in (["run"], ["audit"], ["requests", "list"], ["requests", "show", "0x12"]):
        assert exit_code(*verb, "--config", str(path)) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert (
            captured.err == f"oracle: there is no configuration at {path}: name it with --config\n"
        )


def test_request_id_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("requests", "show", "0xzz") == 2
    assert "is no request id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0x12"], "is no request id"),
        (["0x" + "12" * 32], "there is no endpoint"),
        (["0x" + "12" * 32, "--rpc-url", "http://127.0.0.1:1"], "there is no coordinator"),
        (["0x" + "12" * 32, "--deployments", "/dev/null"], "is no file of deployments"),
        (["0x" + "12" * 32, "--config", "/nowhere/oracle.toml"], "there is no configuration"),
    ],
)
def test_verify_says_what_it_was_not_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert exit_code("verify", *arguments) == 2
    assert said in capsys.readouterr().err


def test_gateway_does_not_pretend(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("gateway") == 2
    assert "--simulate" in capsys.readouterr().err


def test_created_pool_key_is_private_and_usable(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "pool.key"
    assert exit_code("entropy", "create-key", "--out", str(out)) == 0
    assert mode_of(out) == 0o600
    text = out.read_text()
    PoolKey.from_text(text)
    captured = capsys.readouterr()
    assert text.strip() not in captured.out + captured.err
    out = tmp_path / "second.key"
    assert exit_code("entropy", "create-key", "--out", str(out), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"keyFile": str(out)}


def test_pool_key_is_never_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "pool.key"
    exit_code("entropy", "create-key", "--out", str(out))
    before = out.read_bytes()
    capsys.readouterr()
    assert exit_code("entropy", "create-key", "--out", str(out)) == 2
    assert f"{out} exists and is not overwritten" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_created_wallet_is_private_and_opens_with_its_password(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", PASSWORD)
    out = tmp_path / "operator.json"
    assert exit_code("wallet", "create", "--out", str(out), "--json") == 0
    assert mode_of(out) == 0o600
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "address": from_keystore(out.read_text(), PASSWORD, out).address,
        "keystore": str(out),
    }


def test_wallet_is_never_overwritten(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", PASSWORD)
    out = tmp_path / "operator.json"
    out.write_text("precious")
    assert exit_code("wallet", "create", "--out", str(out)) == 2
    assert f"{out} exists and is not overwritten" in capsys.readouterr().err
    assert out.read_text() == "precious"


def test_wallet_password_may_come_from_a_private_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o644)
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD_FILE", str(file))
    out = tmp_path / "operator.json"
    assert exit_code("wallet", "create", "--out", str(out)) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert not out.exists()
    file.chmod(0o600)
    assert exit_code("wallet", "create", "--out", str(out)) == 0
    from_keystore(out.read_text(), PASSWORD, out)


def test_short_wallet_password_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", "short")
    assert exit_code("wallet", "create", "--out", str(tmp_path / "operator.json")) == 2
    assert "fewer than 8 characters" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_secret_in_a_missing_folder_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "nowhere" / "file"
    assert exit_code("wallet", "create", "--out", str(out)) == 2
    assert "create it first" in capsys.readouterr().err
    assert exit_code("entropy", "create-key", "--out", str(out)) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["deploy", "request"])
def test_paying_verb_without_a_wallet_says_how_to_give_one(
    capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    arguments = [verb, "--rpc-url", "http://127.0.0.1:1"]
    if verb == "request":
        arguments += ["--coordinator", "0x5FbDB2315678afecb367f032d93F642f64180aa3"]
    assert exit_code(*arguments) == 2
    assert "--keystore" in capsys.readouterr().err


def test_mistyped_coordinator_is_refused_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mistyped = "0x5FbDB2315678afecb367f032d93F642f64180aA3"
    assert exit_code("request", "--rpc-url", "http://x", "--coordinator", mistyped) == 2
    assert "wrong checksum" in capsys.readouterr().err


def test_ring_that_is_no_power_of_2_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("deploy", "--rpc-url", "http://127.0.0.1:1", "--ring-size", "300") == 2
    assert "choose 512" in capsys.readouterr().err
