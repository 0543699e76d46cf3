"""
Databases on a server in the configuration: their URLs, and the passwords that are not in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.config import GatewaySettings
from oracle.database_url import DatabaseUrl
from oracle.errors import ConfigError
from tests.configured import GOOD, Load, Refused, load, no_environment, refused, secret_file

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

__all__ = ["load", "no_environment", "refused"]

SERVER = "postgresql+psycopg://oracle@db.internal/oracle"
OPEN_SERVER = "postgresql+psycopg://oracle:right-horse@db.internal/oracle"


def on_a_server(url: str) -> str:
    return GOOD.replace('database = "data/oracle.db"', f'database = "{url}"')


def test_a_database_on_a_server_is_read(load: Load) -> None:
    assert load(on_a_server(SERVER)).database == DatabaseUrl.parse(SERVER)


def test_a_password_in_the_file_is_refused_and_not_repeated(refused: Refused) -> None:
    for url in (OPEN_SERVER, f"{SERVER}?password=right-horse"):
        sentence = refused(on_a_server(url))
        assert "the URL of database holds a password" in sentence
        assert "use database_file, or the variable ORACLE_DATABASE" in sentence
        assert "horse" not in sentence


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://oracle:right-horse@db/oracle", "write postgresql+psycopg:// instead"),
        ("postgresql+psycopg://oracle:right-horse@db", "names no database"),
        ("mongodb://oracle:right-horse@db/oracle", "which is not known"),
    ],
)
def test_a_url_that_cannot_be_used_says_how_to_write_it(
    refused: Refused, load: Load, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    sentence = refused(on_a_server(url))
    assert sentence.startswith("database: ")
    assert said in sentence
    assert "horse" not in sentence
    monkeypatch.setenv("ORACLE_DATABASE", url)
    sentence = refused(on_a_server(SERVER))
    assert said in sentence
    assert "horse" not in sentence


def test_the_environment_gives_a_url_with_its_password_by_value_and_by_file(
    load: Load, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ORACLE_DATABASE", OPEN_SERVER)
    settings = load(GOOD)
    assert settings.database == DatabaseUrl.parse(OPEN_SERVER)
    assert "horse" not in repr(settings)
    monkeypatch.delenv("ORACLE_DATABASE")
    file = secret_file(tmp_path, f"{OPEN_SERVER}\n")
    without = GOOD.replace('database = "data/oracle.db"', "")
    monkeypatch.setenv("ORACLE_DATABASE_FILE", str(file))
    settings = load(without)
    assert settings.database == DatabaseUrl.parse(OPEN_SERVER)
    assert "horse" not in repr(settings)
    assert "database and database_file exclude each other" in refused(GOOD)
    file.write_text("postgresql://oracle:right-horse@db/oracle")
    with pytest.raises(ConfigError, match=r"the URL in .*secret begins with postgresql://: write"):
        load(without)
    file.write_text(OPEN_SERVER)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="is open to everybody"):
        load(without)


def test_a_gateway_may_have_its_database_on_a_server(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f'database = "{SERVER}"\n[sources.anu]\nkind = "anu-quantum-numbers"\n')
    assert GatewaySettings.load(path).database == DatabaseUrl.parse(SERVER)
    path.write_text('[sources.anu]\nkind = "anu-quantum-numbers"\n')
    assert GatewaySettings.load(path).database == tmp_path / "gateway.db"
