"""
Reaching a PostgreSQL server: how a session is set up, and what its errors mean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ConnStatus
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from oracle.errors import (
    ConfigError,
    DatabaseFailedError,
    DatabaseUnavailableError,
    OracleError,
)
from oracle.store.engine import Access

if TYPE_CHECKING:
    from oracle.database_url import DatabaseUrl

_OLDEST = 14
# A peer that is gone is noticed within seconds; whoever names these in the URL has it that way.
_REACH = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "quantum-oracle",
}
_LOCK_SECONDS = 10
#: So long a process may be paused inside a transaction before the others go on without it.
IDLE_SECONDS = 5
_SECONDS = 60  # that a statement may take
_SECONDS_ALONE = 1800  # that one may take, or a pause, where nobody is held up
# The classes of errors that pass by themselves: connections, resources, the operator's
# intervention, conflicts between transactions.
_PASSING = ("08", "40", "53", "57P", "58")
_ALSO_PASSING = {
    "25006": "it is read-only now, as a standby is",
    "25P03": "this process was paused inside a transaction",
    "25P04": "a transaction took too long",
    "55P03": "others hold it up",
    "57014": "a statement took too long",
}


class Server:
    """
    The server behind a URL.

    Guarantees: every session of it is one in which a commit is durable, and whose pause inside a
    transaction holds nobody up for long; no error shows the URL's password.
    """

    def __init__(self, url: DatabaseUrl, access: Access) -> None:
        self.name = str(url)
        self._access = access
        try:
            parts = make_url(url.text)
        except (ArgumentError, ValueError):
            raise ConfigError(f"`database`: {url} cannot be read as a URL") from None
        self._arguments: dict[str, Any] = dict(_REACH)
        if access is not Access.READ:
            self._arguments["target_session_attrs"] = "read-write"
        _, named = parts.get_dialect()().create_connect_args(parts)
        self._arguments |= named
        self._password = parts.password

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        """
        Open a session.

        Raises `ConfigError` for what a person has to correct, `DatabaseUnavailableError` for the
        rest.
        """
        try:
            session = await psycopg.AsyncConnection.connect(**self._arguments, autocommit=True)
        except psycopg.ProgrammingError as error:
            # libpq knows no such parameter.
            raise ConfigError(f"`database`: {self._scrubbed(error)}") from None
        except (psycopg.Error, OSError) as error:
            raise self._refused(error) from None
        try:
            await self._set_up(session)
        except psycopg.Error as error:
            await session.close()
            raise self.translated(error) or error from None
        except BaseException:
            await session.close()
            raise
        return session

    async def _set_up(self, session: psycopg.AsyncConnection[Any]) -> None:
        if session.info.server_version < _OLDEST * 10_000:
            raise ConfigError(
                f"the server of {self.name} is PostgreSQL {session.info.server_version // 10_000}:"
                f" {_OLDEST} is the oldest that works"
            )
        if session.info.parameter_status("server_encoding") != "UTF8":
            raise ConfigError(
                f"the encoding of {self.name} is not UTF8: create the database with "
                "`ENCODING 'UTF8' TEMPLATE template0`"
            )
        shared = self._access in {Access.NODE, Access.VISIT}
        settings = {
            "lock_timeout": _LOCK_SECONDS,
            "statement_timeout": _SECONDS if shared else _SECONDS_ALONE,
            "idle_in_transaction_session_timeout": IDLE_SECONDS if shared else _SECONDS_ALONE,
            # So that the server, too, lets go of what a machine held that is gone.
            "tcp_keepalives_idle": 5,
            "tcp_keepalives_interval": 2,
            "tcp_keepalives_count": 3,
        }
        commands = [
            f"SET {name} = {int(value * (1000 if 'timeout' in name else 1))}"
            for name, value in settings.items()
        ]
        if self._access is Access.READ:
            commands.append("SET default_transaction_read_only = on")
        commands.append("SELECT current_setting('synchronous_commit')")
        row = await last_row(session, "; ".join(commands))
        if row == ("off",):
            raise ConfigError(
                f"synchronous_commit is off in {self.name}, so that a commit could be lost after "
                "what it says was done: set it to on, for the database, its role or the server"
            )

    def translated(self, error: BaseException) -> OracleError | None:
        """
        Return what an error of the server or of the way to it means; nothing for every other one.
        """
        if isinstance(error, PoolTimeoutError):
            return self._unavailable("all connections of this process are in use")
        if isinstance(error, DBAPIError):
            error = error.orig or error
        if not isinstance(error, psycopg.Error):
            return None
        state = error.sqlstate
        if state is None:
            # Not the server's word, but the connection's.
            lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
            return self._unavailable("the connection to it was lost") if lost else None
        if state in _ALSO_PASSING or state.startswith(_PASSING):
            return self._unavailable(_ALSO_PASSING.get(state) or self._scrubbed(error))
        return self._lasting(state, error)

    def _lasting(self, state: str, error: psycopg.Error) -> OracleError | None:
        """
        Return what an error means that a person has to end; nothing for one of ours.
        """
        if state == "42501":
            return ConfigError(
                f"the user in {self.name} lacks rights there ({self._scrubbed(error)}): make it "
                "the owner of the database"
            )
        if state in {"XX001", "XX002"}:
            return DatabaseFailedError(
                f"the database {self.name} fails: its server says that it is damaged: restore a "
                "backup"
            )
        return None

    def _unavailable(self, why: str) -> DatabaseUnavailableError:
        return DatabaseUnavailableError(f"the database {self.name} cannot be used now: {why}")

    def _refused(self, error: BaseException) -> OracleError:
        """
        Return what it means that no session could be opened: there libpq has words alone.
        """
        said = self._scrubbed(error)
        for pattern, sentence in _REFUSALS.items():
            if re.search(pattern, said):
                return ConfigError(sentence.format(name=self.name))
        if re.search(r"session is (?:not )?read-only|standby mode", said):
            return self._unavailable("it is a read-only standby: name the primary, or promote it")
        if re.search(r"too many (?:clients|connections)|connection slots are reserved", said):
            return self._unavailable("all of its connections are taken: raise max_connections")
        return self._unavailable(said)

    def _scrubbed(self, error: BaseException) -> str:
        """
        Return the first line of what an error says, from where it gets to the point.
        """
        said = str(error).strip().partition("\n")[0]
        if isinstance(self._password, str) and self._password:
            said = said.replace(self._password, "***")
        return re.sub(r"^.*?(?:FATAL|ERROR): +", "", said) or type(error).__name__


_REFUSALS = {
    r"password authentication failed|no password supplied": (
        "the server of {name} refuses the user or the password: correct the URL in "
        "ORACLE_DATABASE_FILE or ORACLE_DATABASE"
    ),
    r"database \".*\" does not exist": (
        "there is no database {name} on its server: create it with `CREATE DATABASE`"
    ),
    r"role \".*\" does not exist": (
        "the server knows no user of the name in {name}: create it with `CREATE ROLE … LOGIN`"
    ),
    r"no pg_hba\.conf entry": (
        "the server lets nobody in as {name} from this machine: add a line to its pg_hba.conf, or "
        "ask for TLS with ?sslmode=require"
    ),
    r"permission denied for database": (
        "the user in {name} may not connect to it: grant it CONNECT"
    ),
}


async def last_row(session: psycopg.AsyncConnection[Any], commands: str) -> tuple[Any, ...] | None:
    """
    Run several commands in one round trip, and return the first row of the last one if it has any.
    """
    async with session.cursor() as cursor:
        await cursor.execute(commands, prepare=False)
        while cursor.nextset():
            pass
        return await cursor.fetchone() if cursor.description else None


def is_lost(session: psycopg.AsyncConnection[Any]) -> bool:
    """
    Return whether the server has ended an idle session, as far as this side has heard; it asks
    nobody.
    """
    try:
        for _ in range(2):  # the server's last word, and the end after it
            session.pgconn.consume_input()
    except psycopg.Error:
        return True
    return session.pgconn.status != ConnStatus.OK
