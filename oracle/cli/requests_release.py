"""
`oracle requests release`: the operator's word for requests that are older than a restored backup.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from oracle.cli.acts import confirm, yes_option
from oracle.cli.options import config_option, json_option, print_json
from oracle.cli.requests_native import prefix_of
from oracle.cli.words import counted
from oracle.errors import ConfigError, OracleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest
    from oracle.config import Settings
    from oracle.request import Tracked

    _Tracked = Tracked[AirnodeRequest]

_FEW = 10  # ids that are named one by one before the question


@click.command(epilog="Example: oracle requests release 0x5f2c91 --config oracle.toml")
@click.argument("request_ids", metavar="[ID]…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that wait for this.")
@config_option
@yes_option
@json_option
def release(
    request_ids: Sequence[str], config: Path, *, everything: bool, yes: bool, as_json: bool
) -> None:
    """
    Let Airnode requests be answered that wait because the database was restored from a backup.

    The database that was lost may have signed another number for them, and a second one would be
    proof of misbehaviour: look first whether it did. The first digits of an id are enough. Works
    beside a running node, which answers them with the next block.
    """
    if everything == bool(request_ids):
        raise ConfigError("say which requests: give their ids, or --all")
    prefixes = [prefix_of(one) for one in request_ids]
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    released = asyncio.run(_release(Settings.load(config), prefixes, yes=yes))
    if as_json:
        print_json({"released": released})
        return
    click.echo(f"{len(released)} released: the node answers them with the next block")


async def _release(settings: Settings, prefixes: Sequence[bytes], *, yes: bool) -> list[str]:
    from oracle.store import airnode  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.store.engine import Access, Database  # noqa: PLC0415 - as above

    # SQLite lets one process write at a time, and the node reads this word anew in every pass.
    database = await Database.open(settings.database, Access.VISIT)
    try:
        async with database.read() as connection:
            chosen = await _chosen(connection, prefixes)
        ids = ["0x" + one.request.key.request_id.hex() for one in chosen]
        named = ids if len(ids) <= _FEW else [*ids[:_FEW], f"and {len(ids) - _FEW} more"]
        lines = [
            ("release", f"{counted(len(ids), 'request')} of before the restore"),
            *(("", one) for one in named),
            ("risk", "if the lost database has signed a number for one of them, two are signed"),
        ]
        confirm(lines, yes=yes, refused="nothing was released")
        async with database.write() as tx:
            return [
                id_
                for id_, one in zip(ids, chosen, strict=True)
                if await airnode.release(tx, one.request.key)
            ]
    finally:
        await database.close()


async def _chosen(connection: AsyncConnection, prefixes: Sequence[bytes]) -> list[_Tracked]:
    """
    Return the requests that are meant, each of which waits for this; without prefixes all.
    """
    from oracle.store import airnode  # noqa: PLC0415 - SQLAlchemy is slow to import

    waiting = await airnode.waiting_after_restore(connection)
    if not waiting:
        raise OracleError("no request waits for the operator's word: there is nothing to release")
    if not prefixes:
        return waiting
    chosen: dict[bytes, _Tracked] = {}
    for prefix in prefixes:
        found = [one for one in waiting if one.request.key.request_id.startswith(prefix)]
        if not found:
            raise OracleError(
                f"no request that begins with 0x{prefix.hex()} waits for the operator's word: "
                "`oracle requests show` says what it waits for"
            )
        if len(found) > 1:
            raise OracleError(
                f"several requests begin with 0x{prefix.hex()}: give more digits, or --all"
            )
        chosen[found[0].request.key.request_id] = found[0]
    return list(chosen.values())
