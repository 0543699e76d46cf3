"""
A database with the newest schema and nothing in it, to be copied: its migrations take longer than
what most tests do with it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from oracle.store.engine import Access, Database


def lay_database(path: Path) -> Path:
    """
    Put the file where a node will open it; return its path.
    """
    path.touch(mode=0o600, exist_ok=False)
    shutil.copyfile(_template(), path)
    return path


@cache
def _template() -> Path:
    path = Path(tempfile.mkdtemp()) / "oracle.db"

    async def migrate() -> None:
        database = await Database.open(path, Access.NODE)
        await database.close()

    # Whoever asks first may have an event loop at work.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate()).result()
    return path
