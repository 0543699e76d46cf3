"""
Keys come in and stay in: no verb shows one, nor a password, whatever goes wrong.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from oracle.chain.wallets import from_keystore, from_mnemonic, from_private_key
from oracle.cli.main import main
from oracle.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

PASSWORD = "correct horse battery"
KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
# BIP-39's own test vector, and its accounts as every wallet derives them.
MNEMONIC = f"{'abandon ' * 11}about"
FIRST = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
SECOND = "0x6Fac4D18c912343BF86fa7049364Dd4E424Ab9C0"
PATH_OF_SECOND = "m/44'/60'/0'/0/1"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ORACLE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", PASSWORD)


@pytest.fixture
def oracle(capsys: pytest.CaptureFixture[str]) -> Oracle:
    return Oracle(capsys)


class Oracle:
    """
    Runs a verb and makes sure that nothing secret is said.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else -1
        said = self._capsys.readouterr()
        for secret in (KEY, KEY[:20], PASSWORD, "abandon"):
            assert secret not in said.out + said.err
        return code, said.out, said.err


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def held(path: Path) -> str:
    assert path.stat().st_mode & 0o777 == 0o600
    return from_keystore(path.read_text(), PASSWORD, path).address


@pytest.mark.parametrize("text", [KEY, f"0x{KEY}", f"{KEY.upper()}\n"])
def test_a_key_in_a_file_is_imported(oracle: Oracle, tmp_path: Path, text: str) -> None:
    out = tmp_path / "wallet.json"
    code, said, _ = oracle(
        "wallet", "import", "--from", private(tmp_path / "key", text), "--out", out, "--json"
    )
    assert code == 0
    assert json.loads(said) == {"address": ADDRESS, "keystore": str(out)}
    assert held(out) == ADDRESS


@pytest.mark.parametrize(
    ("arguments", "address"), [((), FIRST), (("--path", PATH_OF_SECOND), SECOND)]
)
def test_a_mnemonic_on_standard_input_is_imported(
    oracle: Oracle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    address: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(MNEMONIC.replace(" ", "\n") + "\n"))
    out = tmp_path / "wallet.json"
    assert oracle("wallet", "import", "--from", "-", "--out", out, *arguments)[0] == 0
    assert held(out) == address


@pytest.mark.parametrize(
    ("variable", "text", "address"),
    [("ORACLE_WALLET_KEY", KEY, ADDRESS), ("ORACLE_WALLET_MNEMONIC", MNEMONIC, FIRST)],
)
def test_a_key_in_the_environment_is_imported(
    oracle: Oracle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    text: str,
    address: str,
) -> None:
    monkeypatch.setenv(variable, text)
    out = tmp_path / "wallet.json"
    assert oracle("wallet", "import", "--out", out)[0] == 0
    assert held(out) == address


def test_a_mnemonics_passphrase_makes_another_wallet(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_WALLET_MNEMONIC", MNEMONIC)
    monkeypatch.setenv("ORACLE_WALLET_PASSPHRASE", "TREZOR")
    out = tmp_path / "wallet.json"
    assert oracle("wallet", "import", "--out", out)[0] == 0
    assert held(out) == from_mnemonic(MNEMONIC, "m/44'/60'/0'/0/0", "TREZOR").address != FIRST


@pytest.mark.parametrize(
    ("text", "arguments", "reason"),
    [
        (KEY[:-1], (), "64 hexadecimal digits"),
        (f"{KEY}00", (), "64 hexadecimal digits"),
        ("0" * 64, (), "64 hexadecimal digits"),
        (MNEMONIC.replace("about", "abandon"), (), "no BIP-39 mnemonic"),
        (MNEMONIC.replace("about", "abuot"), (), "no BIP-39 mnemonic"),
        (MNEMONIC, ("--path", "44/60"), "no derivation path"),
        (MNEMONIC, ("--path", "m/99999999999"), "no derivation path"),
        (MNEMONIC, ("--path", "m/4294967296"), "out of range"),
        (KEY, ("--path", PATH_OF_SECOND), "--path is for a mnemonic"),
    ],
)
def test_what_is_no_key_is_refused_without_being_repeated(
    oracle: Oracle, tmp_path: Path, text: str, arguments: tuple[str, ...], reason: str
) -> None:
    out = tmp_path / "wallet.json"
    source = private(tmp_path / "key", text)
    code, said, err = oracle("wallet", "import", "--from", source, "--out", out, *arguments)
    assert (code, said) == (2, "")
    assert reason in err
    assert not out.exists()


def test_a_key_on_the_command_line_is_refused_without_being_repeated(
    oracle: Oracle, tmp_path: Path
) -> None:
    out = tmp_path / "wallet.json"
    code, _, err = oracle("wallet", "import", "--out", out, KEY)
    assert code == 2
    assert "it has leaked" in err
    for text in (KEY, MNEMONIC, KEY * 9):
        code, _, err = oracle("wallet", "import", "--out", out, "--from", text)
        assert code == 2
        assert "--from names no file" in err
    for option in (f"--key={KEY}", f"--path={KEY}"):
        assert oracle("wallet", "import", "--out", out, option)[0] == 2
    assert not out.exists()


def test_an_import_overwrites_nothing(oracle: Oracle, tmp_path: Path) -> None:
    out = tmp_path / "wallet.json"
    out.write_text("precious")
    code, _, err = oracle(
        "wallet", "import", "--from", private(tmp_path / "key", KEY), "--out", out
    )
    assert code == 2
    assert "is not overwritten" in err
    assert out.read_text() == "precious"


def test_a_key_file_that_everybody_can_read_is_refused(oracle: Oracle, tmp_path: Path) -> None:
    source = private(tmp_path / "key", KEY)
    source.chmod(0o644)
    code, _, err = oracle("wallet", "import", "--from", source, "--out", tmp_path / "wallet.json")
    assert code == 2
    assert "chmod 600" in err


def test_a_well_known_key_is_imported_with_a_warning(oracle: Oracle, tmp_path: Path) -> None:
    anvils = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    source = private(tmp_path / "key", anvils)
    code, _, err = oracle("wallet", "import", "--from", source, "--out", tmp_path / "wallet.json")
    assert code == 0
    assert "well-known test key" in err


def test_two_keys_in_the_environment_are_one_too_many(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_WALLET_KEY", KEY)
    monkeypatch.setenv("ORACLE_WALLET_MNEMONIC", MNEMONIC)
    code, _, err = oracle("wallet", "import", "--out", tmp_path / "wallet.json")
    assert code == 2
    assert "exclude each other" in err


def test_a_keystore_shows_its_address_without_a_password_and_opens_with_the_right_one(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keystore = private(tmp_path / "wallet.json", from_private_key(KEY).keystore(PASSWORD))
    assert oracle("wallet", "show", "--keystore", keystore, "--open")[:2] == (
        0,
        f"{ADDRESS}, opened by this password\n",
    )
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", "a wrong password")
    code, out, err = oracle("wallet", "show", "--keystore", keystore, "--open")
    assert (code, out) == (2, "")
    assert "does not open with this password" in err
    assert "a wrong password" not in err
    monkeypatch.delenv("ORACLE_WALLET_PASSWORD")
    assert oracle("wallet", "show", "--keystore", keystore)[:2] == (0, f"{ADDRESS}\n")


def test_a_keystore_that_names_another_address_than_it_holds_is_found_out(
    oracle: Oracle, tmp_path: Path
) -> None:
    content = json.loads(from_private_key(KEY).keystore(PASSWORD))
    content["address"] = FIRST[2:].lower()
    keystore = private(tmp_path / "wallet.json", json.dumps(content))
    code, _, err = oracle("wallet", "show", "--keystore", keystore, "--open")
    assert code == 2
    assert f"names {FIRST}, but holds the key of {ADDRESS}" in err


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"address": "0x12"}', '{"address": 5}'])
def test_a_file_that_is_no_keystore_has_no_address(
    oracle: Oracle, tmp_path: Path, text: str
) -> None:
    keystore = private(tmp_path / "wallet.json", text)
    code, _, err = oracle("wallet", "show", "--keystore", keystore)
    assert code == 2
    assert "is no keystore file" in err


def test_an_error_about_a_mnemonic_holds_none_of_its_words() -> None:
    with pytest.raises(ConfigError) as caught:
        from_mnemonic("zoo zebra wrong", "m/44'/60'/0'/0/0")
    assert not {"zoo", "zebra"} & set(str(caught.value).split())
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--chain", "x", "--rpc-url", "http://x"), "--chain names a part of a configuration"),
        (("--config", "x", "--rpc-url", "http://x"), "exclude each other"),
        (("--rpc-url", "ftp://x"), "must begin with http"),
        (("--rpc-url", "http://x"), "say which --coordinator"),
        ((), "there is no configuration at oracle.toml"),
    ],
)
def test_a_verb_without_a_place_asks_for_one(
    oracle: Oracle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = oracle("coordinator", "show", *arguments)
    assert (code, out) == (2, "")
    assert reason in err
