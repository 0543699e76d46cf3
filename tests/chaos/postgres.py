"""
The PostgreSQL server of a run, stopped under the nodes as its faults say.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from oracle.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.schedule import Fault
    from tests.postgres import Postgres


class Server:
    """
    A server with one database for all nodes.
    """

    def __init__(self, postgres: Postgres) -> None:
        self.url = postgres.create().text
        self._postgres = postgres
        self._down_until: int | None = None

    async def end(self, fault: Fault) -> None:
        """
        Stop it, whatever is under way: as a crash does (`immediate`), or in order (`fast`).
        """
        if self._down_until is None:
            arguments = ("stop", "-m", fault.arguments["mode"])
            await asyncio.to_thread(self._postgres.control, *arguments)
        self._down_until = fault.end

    async def keep(self, tick: int) -> None:
        """
        Start it again when it is time.
        """
        if self._down_until is not None and self._down_until <= tick:
            await self.calm()

    async def calm(self) -> None:
        """
        Start it if it is down.
        """
        if self._down_until is not None:
            self._down_until = None
            await asyncio.to_thread(self._postgres.start)


@contextmanager
def running_server() -> Iterator[Server]:
    """
    Run a server that nobody else uses.
    """
    try:
        from tests.postgres import running_postgres  # noqa: PLC0415 - SQLite needs nothing of it
    except ImportError:
        raise ConfigError(
            "PostgreSQL is not here: run scripts/install.sh dev, which brings it"
        ) from None
    with running_postgres() as postgres:
        yield Server(postgres)
