"""
What a PostgreSQL server says of itself that an operator should know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_QUERY = text(
    "SELECT current_setting('server_version') AS version,"
    " current_setting('fsync') = 'on' AS fsync,"
    " current_setting('synchronous_commit') AS commits,"
    " current_setting('synchronous_standby_names') <> '' AS awaits_standbys,"
    " (SELECT count(*) FROM pg_stat_replication) AS standbys,"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int"
    " - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS free"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """
    How durable a commit is, and how many connections are free.
    """

    version: str
    fsync: bool
    awaits_standbys: bool  #: a commit waits until a standby has it
    standbys: int  #: connected now
    free: int  #: connections

    @property
    def may_lose(self) -> bool:
        """
        Whether a standby that takes over can lack what was committed.
        """
        return self.standbys > 0 and not self.awaits_standbys


async def server_facts(connection: AsyncConnection) -> ServerFacts | None:
    """
    Return what the server says of itself; nothing of a database that has none.
    """
    if connection.dialect.name != "postgresql":
        return None
    row = (await connection.execute(_QUERY)).one()
    return ServerFacts(
        version=row.version,
        fsync=row.fsync,
        # `local` is on disk here, and waits for no standby whatever their names.
        awaits_standbys=row.awaits_standbys and row.commits != "local",
        standbys=row.standbys,
        free=row.free,
    )
