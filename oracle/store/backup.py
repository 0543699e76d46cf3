"""
A copy of a database in one file.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from oracle.errors import ConfigError
from oracle.store.seal import sync_folder

if TYPE_CHECKING:
    from oracle.database_url import DatabaseUrl


def check_free(place: Path | DatabaseUrl, out: Path) -> Path:
    """
    Return the file of a database that a backup is to be made of. Raises `ConfigError` when it has
    none, or the backup could not be written.
    """
    if not isinstance(place, Path):
        raise ConfigError(
            f"{place} is on a PostgreSQL server: back it up as servers are, with pg_dump or the "
            "backups of who runs it for you, and read docs/operating.md on what a restore means"
        )
    if out.exists():
        raise ConfigError(f"{out} exists and is not overwritten: choose another file")
    if not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        raise ConfigError(f"the folder {out.parent} does not exist or cannot be written")
    return place


def back_up(path: Path, out: Path) -> None:
    """
    Copy a database, even one that a node works on, to a new file that only its owner can read,
    durably.

    Raises `ConfigError` when it cannot be read, or the file not be written; no file is left then.
    """
    os.close(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(out)) as copy,
        ):
            source.backup(copy)
            # One file, whole by itself.
            copy.execute("PRAGMA journal_mode = DELETE").close()
        with out.open("rb") as file:
            os.fsync(file.fileno())
        sync_folder(out.parent)
    except (OSError, sqlite3.Error) as error:
        out.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be copied to {out}: {error}") from None
