"""
Numbered changes of the schema, applied in order when a node starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from oracle.errors import InvariantError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """
    Bring the schema to the newest version, over a connection that enforces no foreign keys: some
    changes copy a table that others refer to.

    Raises `InvariantError`, before anything is committed, when a row then refers to nothing.
    """
    before = MigrationContext.configure(connection).get_current_revision()
    command.upgrade(_config(connection), "head")
    if before != newest():
        broken = connection.execute(text("PRAGMA foreign_key_check")).all()
        if broken:
            raise InvariantError(f"{len(broken)} rows of the database refer to what is not there")


def newest() -> str:
    """
    Return the name of the newest version.
    """
    return max(path.name[:4] for path in Path(__file__).parent.glob("versions/[0-9]*.py"))
