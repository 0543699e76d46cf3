"""
Numbered changes of the schema, applied in order when a node starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """
    Bring the schema to the newest version.
    """
    command.upgrade(_config(connection), "head")


def newest() -> str:
    """
    Return the name of the newest version.
    """
    return max(path.name[:4] for path in Path(__file__).parent.glob("versions/[0-9]*.py"))
