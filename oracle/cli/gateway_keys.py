"""
`oracle gateway key`: who may draw from a gateway.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oracle.cli.options import json_option, print_json
from oracle.errors import ConfigError, DatabaseLockedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.store.clients import Client, Rate
    from oracle.store.engine import Database

SCOPES = ("anu-legacy", "anu", "qrng-open-api", "qrypt", "qci")
_UNITS = {"": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration of the gateway: database, pool and sources of its own.",
)


@click.group("key", epilog="Example: oracle gateway key list --config gateway.toml")
def keys() -> None:
    """
    Create, list and revoke the keys of clients.
    """


def _parse_rate(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if match is None:
        raise click.BadParameter("write REQUESTS/SECONDS, as in 30/10")
    return int(match[1]), int(match[2])


def _parse_size(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12}) ?([kmg]ib)?", text.lower())
    if match is None:
        raise click.BadParameter("write a number of bytes, as in 1048576 or 1MiB")
    return int(match[1]) * _UNITS[match[2] or ""]


@keys.command(
    "create",
    epilog="Example: oracle gateway key create ci --config gateway.toml --scope qrypt "
    "--rate 30/10 --quota 100MiB",
)
@click.argument("name")
@config_option
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="A dialect in which the key draws; may be given several times.",
)
@click.option("--rate", callback=_parse_rate, help="REQUESTS/SECONDS that the client may draw.")
@click.option("--quota", callback=_parse_size, help="Bytes in a calendar month (UTC).")
@json_option
def create_key(
    name: str,
    config: Path | None,
    scopes: tuple[str, ...],
    rate: tuple[int, int] | None,
    quota: int | None,
    *,
    as_json: bool,
) -> None:
    """
    Create a client and print its key, which is shown this once and stored nowhere.

    The client named `anonymous` has no key and stands for all who show none, each address with
    the rate for itself: ANU's first API knows no keys.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ConfigError(f"{name!r} is no name: use letters, digits, dots and dashes")
    from oracle.store import clients  # noqa: PLC0415 - SQLAlchemy is slow to import

    async def create() -> str | None:
        async with _store(config) as database, database.write() as tx:
            limit = None if rate is None else clients.Rate(*rate)
            return await clients.create(tx, name, scopes, rate=limit, quota_bytes=quota)

    key = asyncio.run(create())
    if as_json:
        print_json({"name": name, "scopes": sorted(scopes), "key": key})
    elif key is None:
        click.echo("Clients without a key are let in within a second.")
    else:
        click.echo(key)


@keys.command("list", epilog="Example: oracle gateway key list --config gateway.toml")
@config_option
@json_option
def list_keys(config: Path | None, *, as_json: bool) -> None:
    """
    List the clients and what they drew this month.
    """
    from oracle.store import clients  # noqa: PLC0415 - SQLAlchemy is slow to import

    async def read() -> tuple[list[Client], dict[int, int]]:
        async with _store(config) as database, database.read() as connection:
            month = datetime.now(UTC).date().replace(day=1)
            return await clients.everyone(connection), await clients.drawn_since(connection, month)

    known, drawn = asyncio.run(read())
    if as_json:
        print_json([_document(client, drawn.get(client.id, 0)) for client in known])
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("client", "scopes", "rate", "drawn this month", "quota", "state")
    for client in known:
        table.add_row(
            client.name,
            " ".join(sorted(client.scopes)),
            _rate(client.rate),
            f"{drawn.get(client.id, 0):,}",
            "none" if client.quota_bytes is None else f"{client.quota_bytes:,}",
            "revoked" if client.revoked_at else "active",
        )
    Console().print(table)


@keys.command("revoke", epilog="Example: oracle gateway key revoke ci --config gateway.toml")
@click.argument("name")
@config_option
def revoke_key(name: str, config: Path | None) -> None:
    """
    Let a client draw no more, from now on.
    """
    from oracle.store import clients  # noqa: PLC0415 - SQLAlchemy is slow to import

    async def revoke() -> None:
        async with _store(config) as database, database.write() as tx:
            await clients.revoke(tx, name)

    asyncio.run(revoke())
    click.echo(f"{name} draws no more.")


@asynccontextmanager
async def _store(config: Path | None) -> AsyncIterator[Database]:
    """
    Open the gateway's database, whether a gateway runs on it or not.
    """
    from oracle.config import GatewaySettings  # noqa: PLC0415 - pydantic is slow to import
    from oracle.store.engine import Access, Database  # noqa: PLC0415 - so is SQLAlchemy

    path = GatewaySettings.load(config or Path("gateway.toml")).database
    try:
        database = await Database.open(path, Access.SOLE)
    except DatabaseLockedError:
        database = await Database.open(path, Access.VISIT)
    try:
        await refuse_nodes_database(database)
        yield database
    finally:
        await database.close()


def _rate(rate: Rate | None) -> str:
    return "none" if rate is None else f"{rate.requests}/{rate.seconds} s"


def _document(client: Client, drawn: int) -> dict[str, object]:
    return {
        "name": client.name,
        "scopes": sorted(client.scopes),
        "rate": None
        if client.rate is None
        else {"requests": client.rate.requests, "seconds": client.rate.seconds},
        "quotaBytes": client.quota_bytes,
        "drawnBytes": drawn,
        "createdAt": client.created_at,
        "revokedAt": client.revoked_at,
    }


async def refuse_nodes_database(database: Database) -> None:
    """
    Raise `ConfigError` when a node has worked on this database.
    """
    from oracle.store.cursors import knows_a_chain  # noqa: PLC0415 - SQLAlchemy is slow to import

    async with database.read() as connection:
        if await knows_a_chain(connection):
            raise ConfigError(
                f"{database.name} is a node's database: name another file, a gateway has a pool "
                "of its own"
            )
