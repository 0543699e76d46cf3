"""
`oracle backup`: a copy of the database in one file.
"""

from __future__ import annotations

from pathlib import Path

import click

from oracle.cli.options import config_option, json_option, print_json


@click.command(epilog="Example: oracle backup backups/oracle.db")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@json_option
def backup(out: Path, config: Path, *, as_json: bool) -> None:
    """
    Copy the database of a node or gateway to the new file OUT, also while it runs.

    The pool key is not in it, and must not be kept with it; nor must the epoch file, by which a
    restored backup is recognized. A database on PostgreSQL is backed up by the server's own means:
    pg_dump, or whoever runs the server for you.
    """
    from oracle.config import load_pool_settings  # noqa: PLC0415 - pydantic is slow to import
    from oracle.errors import ConfigError  # noqa: PLC0415 - beside it
    from oracle.store.backup import back_up, check_free  # noqa: PLC0415

    place = load_pool_settings(config).database
    path = check_free(place, out)
    if not path.exists():
        raise ConfigError(f"there is no database at {path}: nothing to back up")
    back_up(path, out)
    size = out.stat().st_size
    if as_json:
        print_json({"database": str(path), "backup": str(out), "bytes": size})
    else:
        click.echo(f"{out} is a backup of {path}, {size} bytes. Keep the pool key elsewhere.")
