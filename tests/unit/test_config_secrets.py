"""
Secrets in the configuration: by value, by file, and never repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.errors import ConfigError
from oracle.given import read_secret_file, secret, variable_of
from tests.configured import GOOD, KEY, Load, Refused, load, no_environment, refused, secret_file

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

__all__ = ["load", "no_environment", "refused"]


@pytest.mark.parametrize(
    ("after", "name", "variable"),
    [
        ("[pool]\n", "pool.key", "ORACLE_POOL__KEY"),
        ("[chains.main.wallet]\n", "chains.main.wallet.key", "ORACLE_CHAINS__MAIN__WALLET__KEY"),
        (
            "[chains.main.wallet]\n",
            "chains.main.wallet.password",
            "ORACLE_CHAINS__MAIN__WALLET__PASSWORD",
        ),
        ("[sources.anu]\n", "sources.anu.key", "ORACLE_SOURCES__ANU__KEY"),
    ],
)
def test_secret_in_the_file_is_refused_and_not_repeated(
    refused: Refused, after: str, name: str, variable: str
) -> None:
    field = name.rpartition(".")[2]
    sentence = refused(GOOD.replace(after, f'{after}{field} = "{KEY}"\n'))
    assert sentence == (
        f"{name} is a secret and does not belong into this file: use {name}_file, or the "
        f"variable {variable}"
    )


@pytest.mark.parametrize(
    "place",
    [
        ("pool", "key"),
        ("chains", "main", "wallet", "key"),
        ("chains", "main", "wallet", "password"),
        ("sources", "anu", "key"),
        ("sources", "open", "token"),
    ],
)
def test_environment_gives_every_secret_by_value_and_by_file(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: tuple[str, ...]
) -> None:
    *sections, field = place

    text = GOOD
    if "open" in place:
        text += '[sources.open]\nkind = "qrng-open-api"\nurl = "https://q.example/v1"\n'
    if place == ("chains", "main", "wallet", "key"):
        # A key instead of a keystore.
        text = text.replace('keystore = "keys/operator.json"\n', "")

    def found(name: str) -> object:
        at: object = load(text)
        for section in sections:
            at = at[section] if isinstance(at, dict) else getattr(at, section)
        return getattr(at, name)

    variable = variable_of(*place)
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "given"))
    assert found(f"{field}_file") == tmp_path / "given"
    monkeypatch.delenv(f"{variable}_FILE")
    monkeypatch.setenv(variable, KEY)
    value = found(field)
    assert KEY not in repr(value)
    assert KEY not in repr(load(text))
    assert secret(value, None, what="key", variable=variable) == KEY  # type: ignore[arg-type]


def test_secret_comes_from_its_value_before_its_file(load: Load, tmp_path: Path) -> None:
    settings = load(GOOD)
    path = secret_file(tmp_path, f"\n{KEY}\n")
    assert secret(None, path, what="pool key", variable="X") == KEY
    value = type(settings.chains["main"].endpoints[0])("  other ")
    assert secret(value, path, what="pool key", variable="X") == "other"


def test_missing_secret_names_both_ways_to_give_it() -> None:
    with pytest.raises(ConfigError) as caught:
        secret(None, None, what="pool key", variable="ORACLE_POOL__KEY")
    assert str(caught.value) == (
        "there is no pool key: set ORACLE_POOL__KEY, or ORACLE_POOL__KEY_FILE to a file that "
        "holds it"
    )


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_secret_file_that_is_open_to_everybody_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, KEY, mode)
    with pytest.raises(ConfigError) as caught:
        read_secret_file(path)
    sentence = f"the secret file {path} is open to everybody: run `chmod 600 {path}`"
    assert str(caught.value) == sentence


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_secret_file_of_owner_and_group_is_read(tmp_path: Path, mode: int) -> None:
    assert read_secret_file(secret_file(tmp_path, f" {KEY}\n", mode)) == KEY


def test_missing_secret_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    with pytest.raises(ConfigError) as caught:
        read_secret_file(path)
    assert str(caught.value) == f"the secret file {path} does not exist"


@pytest.mark.parametrize("text", ["", "\n", "  \n\t"])
def test_empty_secret_file_is_refused(tmp_path: Path, text: str) -> None:
    path = secret_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_secret_file(path)
    assert str(caught.value) == f"the secret file {path} is empty"


def test_secret_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: check its owner and mode"):
        read_secret_file(tmp_path)
