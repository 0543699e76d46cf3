"""
Which databases a test of the store runs on: both, unless it says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest
from sqlalchemy import select

from oracle.store.schema import metadata
from oracle.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from oracle.store.engine import Database

# What the fixture `copied` is: it opens a copy of a database as it is now.
Copy: TypeAlias = "Callable[[Database], Awaitable[Database]]"

SQLITE, POSTGRES = "sqlite", "postgres"

# What a file does and a server does not.
on_sqlite = pytest.mark.parametrize("place", [SQLITE], indirect=True)


def path_of(database: Database) -> Path:
    """
    Return the file of a SQLite database.
    """
    assert isinstance(database, SqliteDatabase)
    return database.path


async def content_of(database: Database) -> bytes:
    """
    Return all bytes of all files of a SQLite database; of one on a server all that its rows hold.
    """
    if isinstance(database, SqliteDatabase):
        files = sorted(database.path.parent.glob(database.path.name + "*"))
        assert database.path in files
        return b"\0".join(path.read_bytes() for path in files)
    parts: list[bytes] = []
    async with database.read() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                parts += [
                    bytes(value) if isinstance(value, bytes) else str(value).encode()
                    for value in row
                ]
    return b"\0".join(parts)
