"""
`oracle entropy`: the pool and the sources that fill it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from oracle.cli.options import config_option, json_option, print_json
from oracle.cli.secret_files import write_secret_file


@click.group(epilog="Example: oracle entropy status --config oracle.toml")
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
@json_option
def create_key(out: Path, *, as_json: bool) -> None:
    """
    Create the key that encrypts the pool (mode 0600).

    Keep it, and the .epoch file that will appear beside it, out of the database's backups: whoever
    has both key and database knows every committed seed, and a backup with its own epoch file is
    not recognized as one.
    """
    from oracle.store.seal import PoolKey  # noqa: PLC0415 - cryptography is slow to import

    write_secret_file(out, PoolKey.generate())
    if as_json:
        print_json({"keyFile": str(out)})
    else:
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
    from oracle.config import Settings  # noqa: PLC0415

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
    from oracle.config import Settings  # noqa: PLC0415

    document = asyncio.run(source_report.check(Settings.load(config)))
    if as_json:
        print_json(document)
    else:
        source_report.print_check(document)
    if not document["fills"]:
        sys.exit(1)


@entropy.command(epilog="Example: oracle entropy draw --blocks 256")
@config_option
@click.option(
    "--blocks",
    type=click.IntRange(min=1),
    help="How many blocks of 32 bytes to add; default: as many as the pool lacks.",
)
@click.option(
    "--allow-simulated",
    is_flag=True,
    help="Let a gateway's sources be simulators, as `oracle gateway --allow-simulated` does.",
)
@json_option
def draw(config: Path, blocks: int | None, *, allow_simulated: bool, as_json: bool) -> None:
    """
    Draw entropy into the pool of a node or gateway that does not run, as that would: with the
    same sources, tests, rates and quotas, and never more than `pool.fresh` blocks.

    Exits with 1 when the sources deliver less; what they delivered is in the pool.
    """
    from oracle import log  # noqa: PLC0415 - not needed for --help
    from oracle.cli import pool_acts  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.config import load_pool_settings  # noqa: PLC0415

    log.configure("info")
    settings = load_pool_settings(config)
    document = asyncio.run(pool_acts.draw(settings, blocks, allow_simulated=allow_simulated))
    if as_json:
        print_json(document)
    else:
        click.echo(pool_acts.drawn(document))
    if not document["complete"]:
        sys.exit(1)


@entropy.command(epilog="Example: oracle entropy report --out entropy.html --source anu")
@config_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The HTML file to write; one that is there is replaced.",
)
@click.option("--source", help="Its [sources.NAME] in the configuration; default: all.")
@click.option(
    "--bytes",
    "n_bytes",
    type=click.IntRange(4096, 1 << 20),
    default=128 * 1024,
    show_default=True,
    help="The size of a source's sample.",
)
@click.option("--yes", is_flag=True, help="Draw without asking.")
@json_option
def report(
    config: Path, out: Path, source: str | None, n_bytes: int, *, yes: bool, as_json: bool
) -> None:
    """
    Draw a sample of every source, test it, and write one page that shows what it looks like.

    The page asks for nothing on the network. The sample is destroyed: no random number is made of
    what the page shows. The draws count against the quotas of the accounts, so you are asked
    first. Exits with 1 when a source gave nothing or something looks wrong.
    """
    from oracle.cli import sample_report  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.cli.acts import confirm  # noqa: PLC0415 - beside the others
    from oracle.config import load_pool_settings  # noqa: PLC0415

    settings = load_pool_settings(config)
    sources = sample_report.chosen(settings, source)
    costs = asyncio.run(sample_report.costs(settings, sources, n_bytes))
    confirm(costs, yes=yes, refused="nothing was drawn")
    document = asyncio.run(sample_report.report(settings, sources, n_bytes, out))
    if as_json:
        print_json(document)
    else:
        for line in sample_report.told(document):
            click.echo(line)
    if not document["passed"]:
        sys.exit(1)


@entropy.command(
    "rotate-key", epilog="Example: oracle entropy rotate-key --backup backups/oracle.db"
)
@config_option
@click.option(
    "--backup",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A new file for a backup of the database, made when the new key is in place.",
)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def rotate_key(config: Path, backup: Path | None, *, yes: bool, as_json: bool) -> None:
    """
    Replace the key of a pool whose node or gateway does not run, and destroy the old one.

    All that lives is sealed under the new key. What earlier backups hold can then be opened by
    nobody, so they are of no use, neither to a thief nor to you. Interrupted, run it again: it
    finishes.
    """
    from oracle.cli import pool_acts  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.cli.acts import confirm  # noqa: PLC0415 - beside the others
    from oracle.config import load_pool_settings  # noqa: PLC0415

    settings = load_pool_settings(config)
    confirm(pool_acts.rotation(settings, backup), yes=yes, refused="nothing was changed")
    document = asyncio.run(pool_acts.rotate(settings, backup))
    if as_json:
        print_json(document)
    else:
        click.echo(pool_acts.rotated(document))
