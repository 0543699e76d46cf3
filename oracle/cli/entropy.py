"""
`oracle entropy`: the pool.
"""

from __future__ import annotations

from pathlib import Path

import click

from oracle.cli.wallet import write_secret_file


@click.group()
def entropy() -> None:
    """
    Prepare the pool of quantum entropy.
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
