from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from oracle.cli.backup import backup
from oracle.errors import ConfigError
from oracle.store.cursors import get_setting, put_setting
from oracle.store.engine import Access, Database
from tests.databases import on_sqlite, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytestmark = [pytest.mark.store, on_sqlite]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(
        'database = "oracle.db"\n[sources.anu]\nkind = "anu-quantum-numbers"\n',
        encoding="utf-8",
    )
    return path


def run(config: Path, out: Path) -> Result:
    return CliRunner().invoke(backup, [str(out), "--config", str(config), "--json"], env={})


async def test_a_running_nodes_database_is_copied_whole(
    database: Database, config: Path, tmp_path: Path
) -> None:
    async with database.write() as tx:
        await put_setting(tx, "name", "value")
    out = tmp_path / "backup.db"
    result = run(config, out)
    assert json.loads(result.stdout) == {
        "database": str(path_of(database)),
        "backup": str(out),
        "bytes": out.stat().st_size,
    }
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    async with database.write() as tx:
        await put_setting(tx, "name", "later")
    copy = await Database.open(out, Access.NODE)
    async with copy.read() as connection:
        assert await get_setting(connection, "name") == "value"
    await copy.close()


async def test_what_is_there_is_not_overwritten(
    database: Database, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "backup.db"
    out.write_bytes(b"precious")
    assert "exists and is not overwritten" in str(run(config, out).exception)
    assert out.read_bytes() == b"precious"
    missing = run(config, tmp_path / "nowhere" / "backup.db")
    assert "does not exist or cannot be written" in str(missing.exception)


def test_without_a_database_there_is_nothing_to_copy(
    place: Path, config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text(encoding="utf-8").replace("oracle.db", "nowhere.db"))
    result = run(config, tmp_path / "backup.db")
    assert isinstance(result.exception, ConfigError)
    assert "there is no database at" in str(result.exception)
    assert not (tmp_path / "backup.db").exists()


def test_what_is_no_database_leaves_no_file(place: Path, config: Path, tmp_path: Path) -> None:
    place.write_bytes(b"no database at all" * 100)
    result = run(config, tmp_path / "backup.db")
    assert isinstance(result.exception, ConfigError)
    assert "cannot be copied to" in str(result.exception)
    assert not (tmp_path / "backup.db").exists()
