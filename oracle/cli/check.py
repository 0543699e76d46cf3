"""
`oracle check`: all that would go wrong at the start, or tonight.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from oracle.cli.options import config_option, json_option, print_json
from oracle.cli.words import counted

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.cli.findings import Findings
    from oracle.config import Settings

_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command(epilog="Example: oracle check --config oracle.toml")
@config_option
@click.option(
    "--draw",
    is_flag=True,
    help="Also make one small real draw per source, which counts against its quota.",
)
@json_option
def check(config: Path, *, draw: bool, as_json: bool) -> None:
    """
    Look at everything that a node needs, and say what would go wrong; also while it runs.

    Keys and their files, sources, pool, database and disk, and on every chain: endpoints, clock,
    coordinator, logs, runway and money; for an Airnode its mnemonic, contract, endpoint ids, depth
    and authorizers. Nothing is sent, and nothing written but the count of what
    --draw used. Exit code 1 on an error, 2 when the configuration cannot be read.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    findings = asyncio.run(_check(Settings.load(config), draw=draw))
    if as_json:
        print_json(findings.document())
    else:
        _print(findings)
    sys.exit(0 if findings.document()["ok"] else 1)


async def _check(settings: Settings, *, draw: bool) -> Findings:
    # Imported here: web3, SQLAlchemy and Rich are slow to import, and `--help` needs none of them.
    from oracle.cli.check_airnode import check_airnode  # noqa: PLC0415
    from oracle.cli.check_chains import check_chains  # noqa: PLC0415
    from oracle.cli.check_node import check_secrets, check_sources, check_store  # noqa: PLC0415
    from oracle.cli.findings import Findings  # noqa: PLC0415

    findings = Findings()
    check_secrets(settings, findings)
    database = await check_store(settings, findings)
    try:
        await check_sources(settings, findings, draw=draw)
        await check_chains(settings, findings, database)
        await check_airnode(settings, findings, database)
    finally:
        if database is not None:
            await database.close()
    return findings


def _print(findings: Findings) -> None:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table()
    for heading in ("", "where", "what", "found"):
        table.add_column(heading, overflow="fold")
    for one in findings.found:
        found = one.detail if one.advice is None else f"{one.detail}: {one.advice}"
        style = _STYLES[one.level]
        table.add_row(Text(one.level, style=style), one.where, Text(one.check), Text(found))
    # Where nobody looks, nothing is folded.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(table)
    document = findings.document()
    errors, warnings = (document[kind] for kind in ("errors", "warnings"))
    console.print(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}")
