"""
A configuration that is good, and ways to load it and what is made of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from oracle.config import Settings
from oracle.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
KEY = "ab" * 32
GOOD = f"""
database = "data/oracle.db"

[pool]
key_file = "keys/pool.key"

[chains.main]
chain_id = 1
endpoints = ["http://127.0.0.1:8545"]
coordinator = "{ADDRESS}"
trusted = true

[chains.main.wallet]
keystore = "keys/operator.json"
password_file = "/run/secrets/password"

[sources.anu]
kind = "anu-quantum-numbers"
key_file = "keys/anu.key"
"""
Load = Callable[[str], Settings]
Refused = Callable[[str], str]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ORACLE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> Settings:
        path = tmp_path / "oracle.toml"
        path.write_text(text)
        return Settings.load(path)

    return load


@pytest.fixture
def refused(load: Load, tmp_path: Path) -> Refused:
    """
    Load what must be refused and return the sentence, without the file's name, or with that of the
    variable that is wrong.
    """

    def refused(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text)
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert sentence.startswith((f"{tmp_path / 'oracle.toml'}", "the variable "))
        return sentence.removeprefix(f"{tmp_path / 'oracle.toml'}: ")

    return refused


def secret_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path
