"""
`python -m tests.chaos`: what `scripts/chaos.sh` runs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path

import click

from oracle.errors import ConfigError, OracleError
from tests.chaos.nodes import find_points
from tests.chaos.report import document, print_report
from tests.chaos.run import BLOCK_SECONDS, chaos
from tests.chaos.schedule import Plan, make_schedule

_BEGAN = time.monotonic()


def say(words: str) -> None:
    """
    Tell on standard error how far it is.
    """
    sys.stderr.write(f"chaos {time.monotonic() - _BEGAN:7.1f} s: {words}\n")
    sys.stderr.flush()


@click.command()
@click.option("--requests", type=click.IntRange(1), default=300, show_default=True)
@click.option("--faults", type=click.IntRange(0), default=40, show_default=True)
@click.option("--seed", type=click.IntRange(0), help="Repeats a schedule; default: a new one.")
@click.option(
    "--database",
    type=click.Choice(["sqlite", "postgres"]),
    default="sqlite",
    show_default=True,
)
@click.option("--nodes", type=click.IntRange(1, 3), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--schedule", "only_schedule", is_flag=True, help="Print the schedule and end.")
@click.option(
    "--block-seconds",
    type=click.FloatRange(0.1, 5),
    default=BLOCK_SECONDS,
    show_default=True,
    help="How long a block takes.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep logs and databases here.",
)
def main(
    *,
    requests: int,
    faults: int,
    seed: int | None,
    database: str,
    nodes: int,
    as_json: bool,
    only_schedule: bool,
    block_seconds: float,
    keep: Path | None,
) -> None:
    """
    Make requests of both protocols while everything around the nodes fails, then count.

    Exit code 1 when a request was lost, fulfilled twice or drawn again, a seed was used twice,
    the audit has findings, or more than one request in a hundred could only be refunded.
    """
    plan = Plan(
        seed=secrets.randbelow(10**6) if seed is None else seed,
        requests=requests,
        faults=faults,
        nodes=nodes,
        database=database,
    )
    if database == "sqlite" and nodes > 1:
        raise click.UsageError("one node has SQLite for itself: more need --database postgres")
    if only_schedule:
        click.echo(json.dumps(make_schedule(plan, find_points()).document(), indent=2))
        return
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"{keep} is not empty: name a new folder with --keep")
    with tempfile.TemporaryDirectory(prefix="oracle-chaos-") as temporary:
        folder = Path(temporary) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        say(f"seed {plan.seed}")
        try:
            outcome = asyncio.run(chaos(plan, folder, say, block_seconds=block_seconds))
        except ConfigError as error:
            raise click.UsageError(str(error)) from None
        except OracleError as error:
            raise click.ClickException(f"seed {plan.seed}: {error}") from None
    if as_json:
        click.echo(json.dumps(document(plan, outcome), indent=2))
    else:
        print_report(plan, outcome)
    sys.exit(1 if outcome.failures else 0)


main()
