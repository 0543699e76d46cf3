"""
`oracle nodes`: which nodes share a database, and which of them does what.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from oracle.cli.options import config_option, json_option, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.config import Settings

_SECOND = 1000  # milliseconds


@click.command(epilog="Example: oracle nodes --config oracle.toml")
@config_option
@json_option
def nodes(config: Path, *, as_json: bool) -> None:
    """
    Look at the nodes that share the database: when they were last heard of, and what they do.

    What nobody does is named too; a node that can do it takes it over within seconds. A SQLite
    file serves one node, which does everything.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    settings = Settings.load(config)
    document, held = asyncio.run(_read(settings))
    if as_json:
        print_json(document)
        return
    _show(document, held=held)


async def _read(settings: Settings) -> tuple[dict[str, list[dict[str, object]]], bool]:
    """
    Return what is known of nodes that share the database, and whether it is held now.
    """
    from sqlalchemy import select  # noqa: PLC0415 - slow to import

    from oracle.store import schema  # noqa: PLC0415 - as above
    from oracle.store.engine import Access, Database  # noqa: PLC0415 - as above

    database = await Database.open(settings.database, Access.READ)
    try:
        is_held = await database.is_held()
        async with database.read() as connection:
            clock = await database.clock(connection)
            known = (await connection.execute(select(schema.nodes))).all()
            held = (
                await connection.execute(select(schema.leases).order_by(schema.leases.c.name))
            ).all()
    finally:
        await database.close()
    places = {node.id: node.place for node in known}
    document: dict[str, list[dict[str, object]]] = {
        "nodes": [
            {
                "id": node.id,
                "place": node.place,
                "secondsSinceHeardOf": round((clock - node.seen_at) / _SECOND, 1),
                "work": [
                    lease.name
                    for lease in held
                    if lease.holder == node.id and lease.expires_at > clock
                ],
            }
            for node in sorted(known, key=lambda node: node.seen_at, reverse=True)
        ],
        "leases": [
            {
                "name": lease.name,
                "token": lease.token,
                "node": lease.holder if lease.expires_at > clock else None,
                "place": places.get(lease.holder) if lease.expires_at > clock else None,
            }
            for lease in held
        ],
    }
    return document, is_held


def _show(document: dict[str, list[dict[str, object]]], *, held: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415 - as above

    console = Console()
    if not document["nodes"] and not document["leases"]:
        alone = "one runs on it now, and does everything" if held else "none runs on it now"
        click.echo(f"no nodes share this database: {alone}")
        return
    table = Table("node", "last heard of", "work")
    for node in document["nodes"]:
        work = node["work"]
        assert isinstance(work, list)
        table.add_row(
            str(node["place"]), f"{node['secondsSinceHeardOf']} s ago", "\n".join(work) or "none"
        )
    console.print(table)
    for lease in document["leases"]:
        if lease["node"] is None:
            click.echo(f"nobody does {lease['name']} now")
