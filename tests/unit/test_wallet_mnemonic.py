"""
An Airnode's mnemonic comes in and stays in: no verb shows a word unless it is told to, on a
terminal.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from oracle.chain import mnemonics
from oracle.chain.mnemonics import Mnemonic
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.cli.main import main
from tests.factories import hash32

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

PASSWORD = "correct horse battery"
# Nobody's.
MNEMONIC = Mnemonic(hash32("airnode")[:16])
WORDS = MNEMONIC.words()
KEYS = AirnodeKeys(MNEMONIC)
JUNK = "test test test test test test test test test test test junk"
SPONSOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER = "0x9d3C147cA16DB954873A498e0af5852AB39139f2"


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
    Runs a verb and makes sure that no known word is said.
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
        assert PASSWORD not in said.out + said.err
        assert not {WORDS, WORDS.split(" ", 1)[1]} & {said.out, said.err}
        assert " ".join(WORDS.split()[1:4]) not in said.out + said.err
        return code, said.out, said.err


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def held(path: Path) -> Mnemonic:
    assert path.stat().st_mode & 0o777 == 0o600
    return mnemonics.unseal(path.read_text(), PASSWORD, path)


def test_created_mnemonic_is_encrypted_and_announced(oracle: Oracle, tmp_path: Path) -> None:
    file = tmp_path / "airnode.json"
    code, said, _ = oracle("wallet", "create-mnemonic", file, "--json")
    assert code == 0
    keys = AirnodeKeys(held(file))
    assert json.loads(said) == {
        "airnode": keys.address,
        "xpub": str(keys.xpub),
        "file": str(file),
    }
    for word in held(file).words().split():
        assert f" {word} " not in f" {said} "
    assert oracle("wallet", "create-mnemonic", file)[0] == 2  # never overwritten


def test_words_are_shown_on_a_terminal_alone(
    oracle: Oracle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "airnode.json"
    code, said, error = oracle("wallet", "create-mnemonic", file, "--show-words")
    assert (code, said) == (2, "")
    assert "terminal only" in error
    assert not file.exists()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert oracle("wallet", "create-mnemonic", file, "--show-words", "--json")[0] == 2
    code, said, _ = oracle("wallet", "create-mnemonic", file, "--show-words")
    assert code == 0
    assert said.rstrip().splitlines()[-1] == held(file).words()


@pytest.mark.parametrize("way", ["file", "stdin", "variable"])
def test_mnemonic_is_imported(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    file, arguments = tmp_path / "airnode.json", []
    if way == "file":
        arguments = ["--from", private(tmp_path / "words", WORDS)]
    elif way == "stdin":
        monkeypatch.setattr(sys, "stdin", io.StringIO(WORDS.replace(" ", "\n")))
        arguments = ["--from", "-"]
    else:
        monkeypatch.setenv("ORACLE_AIRNODE_MNEMONIC", WORDS)
    code, said, error = oracle("wallet", "import-mnemonic", file, *arguments)
    assert (code, error) == (0, "")
    assert KEYS.address in said
    assert str(KEYS.xpub) in said
    assert held(file) == MNEMONIC


def test_mnemonic_is_never_taken_from_the_command_line(oracle: Oracle, tmp_path: Path) -> None:
    file = tmp_path / "airnode.json"
    code, _, error = oracle("wallet", "import-mnemonic", file, *WORDS.split())
    assert code == 2
    assert "it has leaked" in error
    code, _, error = oracle("wallet", "import-mnemonic", file, "--from", WORDS)
    assert code == 2
    assert not file.exists()


def test_bad_mnemonic_writes_nothing(oracle: Oracle, tmp_path: Path) -> None:
    file = tmp_path / "airnode.json"
    words = private(tmp_path / "words", WORDS.rsplit(" ", 1)[0])
    code, _, error = oracle("wallet", "import-mnemonic", file, "--from", words)
    assert code == 2
    assert "this has 11" in error
    assert not file.exists()


def test_well_known_mnemonic_is_imported_with_a_warning(oracle: Oracle, tmp_path: Path) -> None:
    file = tmp_path / "airnode.json"
    words = private(tmp_path / "words", JUNK)
    code, _, error = oracle("wallet", "import-mnemonic", file, "--from", words)
    assert code == 0
    assert "well-known" in error


def test_file_is_shown_and_opened(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = private(tmp_path / "airnode.json", mnemonics.seal(MNEMONIC, KEYS.xpub, PASSWORD))
    code, said, _ = oracle("wallet", "show", "--keystore", file, "--open", "--json")
    assert code == 0
    assert json.loads(said) == {
        "airnode": KEYS.address,
        "xpub": str(KEYS.xpub),
        "file": str(file),
        "opened": True,
    }
    monkeypatch.setenv("ORACLE_WALLET_PASSWORD", "another password")
    assert oracle("wallet", "show", "--keystore", file)[0] == 0
    code, _, error = oracle("wallet", "show", "--keystore", file, "--open")
    assert code == 2
    assert "does not open" in error


def test_file_that_names_another_airnode_is_found(oracle: Oracle, tmp_path: Path) -> None:
    foreign = AirnodeKeys(Mnemonic.from_words(JUNK)).xpub
    file = private(tmp_path / "airnode.json", mnemonics.seal(MNEMONIC, foreign, PASSWORD))
    code, _, error = oracle("wallet", "show", "--keystore", file, "--open")
    assert code == 2
    assert KEYS.address in error


def test_sponsor_wallet_is_derived_from_the_xpub(oracle: Oracle) -> None:
    xpub, expected = str(KEYS.xpub), KEYS.sponsor_wallet(SPONSOR).address
    verb = ("wallet", "sponsor-wallet", "--xpub", xpub, "--sponsor", SPONSOR.lower())
    assert oracle(*verb)[:2] == (0, f"{expected}\n")
    code, said, _ = oracle(*verb, "--airnode", KEYS.address, "--json")
    assert code == 0
    assert json.loads(said) == {
        "sponsorWallet": expected,
        "sponsor": SPONSOR,
        "airnode": KEYS.address,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"--airnode": OTHER}, f"not to {OTHER}"),
        ({"--airnode": "0x12"}, "--airnode 0x12"),
        ({"--sponsor": SPONSOR[:-1]}, "--sponsor"),
        ({"--sponsor": SPONSOR.replace("dc79C8", "DC79C8")}, "checksum"),
        ({"--xpub": str(KEYS.xpub)[:-1]}, "111 characters"),
    ],
)
def test_sponsor_wallet_of_mistaken_words_is_not_derived(
    oracle: Oracle, change: dict[str, str], complaint: str
) -> None:
    words = {"--xpub": str(KEYS.xpub), "--sponsor": SPONSOR} | change
    arguments = [word for pair in words.items() for word in pair]
    code, said, error = oracle("wallet", "sponsor-wallet", *arguments)
    assert (code, said) == (2, "")
    assert complaint in error
