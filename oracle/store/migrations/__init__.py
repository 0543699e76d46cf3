"""
Numbered changes of the schema, applied in order when a node starts.

Programs of the version before run on while the first of the new version changes the schema, and
one may be started again later. So a change must let them work, reading and writing:

- add a table, an index, or a column that is nullable or has a server default;
- add a check only if what the older program writes passes it;
- rename, drop or narrow nothing, and give no column another meaning.

A change that cannot keep to that says `BREAKING = True` in its module: it is applied only when no
older program runs on the database, and none starts on it afterwards. What an older program leaves
unwritten in a new column has to mean something: say what, in the column's comment.

Both databases run the same changes: `sqlite_` and `postgresql_` arguments where they differ.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import delete, insert, select, text

from oracle.errors import ConfigError, InvariantError
from oracle.store.schema import settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# The oldest version whose programs can work on the schema.
_COMPATIBLE_FROM = "compatible_from"
# Programs of older versions take no schema but their own.
_FIRST_CHECKED = "0011"


class Fit(Enum):
    """
    How a database's schema stands to this program's.
    """

    NONE = "none"  #: there is none
    OLDER = "older"  #: it has to be brought up to date
    SAME = "same"  #: it is this program's
    NEWER = "newer"  #: a newer program changed it, and this one can work on it
    FOREIGN = "foreign"  #: a newer program changed it, and this one cannot

    def check(self, name: str) -> None:
        """
        Raise `ConfigError` when this program cannot work on the schema, even if it is changed.
        """
        if self is Fit.FOREIGN:
            raise ConfigError(
                f"{name} was brought up to date by a newer version, whose schema this version "
                "cannot work on: start the newer one"
            )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def fit_of(connection: Connection) -> Fit:
    """
    Compare the schema with this program's.
    """
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return Fit.NONE
    if found <= newest():
        return Fit.SAME if found == newest() else Fit.OLDER
    oldest = connection.scalar(select(settings.c.value).where(settings.c.name == _COMPATIBLE_FROM))
    return Fit.NEWER if oldest is not None and oldest <= newest() else Fit.FOREIGN


def breaks_others(connection: Connection) -> bool:
    """
    Return whether programs of the database's version cannot live with what `upgrade` would do.
    """
    before = MigrationContext.configure(connection).get_current_revision()
    return before is not None and before < newest() and _breaking() > before


def upgrade(connection: Connection, name: str) -> None:
    """
    Bring the schema to the newest version; a newer one that this program can work on stays. On
    SQLite the connection enforces no foreign keys: some changes copy a table that others refer to.

    Raises `ConfigError` when a newer program's schema is none to work on, and `InvariantError`,
    before anything is committed, when a row then refers to nothing.
    """
    fit = fit_of(connection)
    fit.check(name)
    if fit is Fit.NEWER:
        return
    command.upgrade(_config(connection), "head")
    if fit is Fit.SAME:
        return
    connection.execute(delete(settings).where(settings.c.name == _COMPATIBLE_FROM))
    connection.execute(insert(settings).values(name=_COMPATIBLE_FROM, value=_breaking()))
    if connection.dialect.name == "sqlite":
        broken = connection.execute(text("PRAGMA foreign_key_check")).all()
        if broken:
            raise InvariantError(f"{len(broken)} rows of the database refer to what is not there")


def newest() -> str:
    """
    Return the name of the newest version.
    """
    return max(path.name[:4] for path in Path(__file__).parent.glob("versions/[0-9]*.py"))


def _breaking() -> str:
    """
    Return the newest version that programs of the one before cannot work on.
    """
    changes = ScriptDirectory.from_config(_config()).walk_revisions()
    return max(
        (one.revision for one in changes if getattr(one.module, "BREAKING", False)),
        default=_FIRST_CHECKED,
    )
