"""
`oracle entropy`: the pool and the sources that fill it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from oracle.cli.options import config_option, json_option, print_json
from oracle.cli.wallet import write_secret_file
from oracle.config import Settings


@click.group()
def entropy() -> None:
    """
    Prepare the pool of quantum entropy, and look at the sources that fill it.
    """


@entropy.command("create-key", epilog="Example: oracle entropy create-key --out keys/pool.key")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; never overwritten.",
)
def create_key(out: Path) -> None:
    """
    Create the key that encrypts the pool (mode 0600).

    Keep it, and the .epoch file that will appear beside it, out of the database's backups: whoever
    has both key and database knows every committed seed, and a backup with its own epoch file is
    not recognized as one.
    """
    from oracle.store.seal import PoolKey  # noqa: PLC0415 - cryptography is slow to import

    write_secret_file(out, PoolKey.generate())
    click.echo(f"The pool key is in {out}.")


@entropy.command(epilog="Example: oracle entropy status --json")
@config_option
@json_option
def status(config: Path, *, as_json: bool) -> None:
    """
    Show the state of every source, what is left of its quota and when that begins anew, and the
    pool; also while the node runs. Nothing is drawn.
    """
    from oracle.cli import source_report  # noqa: PLC0415 - Rich and SQLAlchemy are slow to import

    document = asyncio.run(source_report.status(Settings.load(config)))
    if as_json:
        print_json(document)
    else:
        source_report.print_status(document)


@entropy.command(epilog="Example: oracle entropy check --config oracle.toml")
@config_option
@json_option
def check(config: Path, *, as_json: bool) -> None:
    """
    Make one small real draw per source, test it, destroy it, and say what would happen in
    production.

    Each draw counts against the quota of its account. Exits with 1 when the node could not fill
    its pool from these sources.
    """
    from oracle.cli import source_report  # noqa: PLC0415 - Rich and SQLAlchemy are slow to import

    document = asyncio.run(source_report.check(Settings.load(config)))
    if as_json:
        print_json(document)
    else:
        source_report.print_check(document)
    if not document["fills"]:
        sys.exit(1)
