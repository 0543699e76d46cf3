"""
`oracle demo`: the main job, live.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oracle.cli.options import json_option, print_json
from oracle.cli.until_told import run_until_told

if TYPE_CHECKING:
    from oracle.devnet.demo import Progress, Verdict


@click.command(epilog="Example: oracle demo --requests 40")
@click.option(
    "--requests",
    "count",
    type=click.IntRange(3, 250),
    default=20,
    show_default=True,
    help="How many: rolls of dice, and every fourth one of an API3 QRNG consumer.",
)
@json_option
def demo(count: int, *, as_json: bool) -> None:
    """
    Watch requests being fulfilled through a node that is killed in the middle.

    Starts a chain, a QRNG service and a node; rolls dice, and asks as a contract asks that was
    written for API3 QRNG; kills the node; starts it again; then audits the chain: every request
    fulfilled exactly once, no seed used twice, every value right.
    """
    from oracle.devnet.processes import find_anvil  # noqa: PLC0415 - not needed for --help

    find_anvil()
    started = time.monotonic()
    report, progress = run_until_told(_demo(count, as_json=as_json))
    if as_json:
        print_json(report.document())
    else:
        _print_table(report, progress, time.monotonic() - started)
    sys.exit(0 if report.clean else 1)


async def _demo(count: int, *, as_json: bool) -> tuple[Verdict, Progress]:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.live import Live  # noqa: PLC0415

    from oracle.devnet.demo import Progress, play  # noqa: PLC0415 - web3 is slow to import
    from oracle.devnet.network import Devnet, Ground  # noqa: PLC0415

    console = Console(stderr=as_json)
    progress = Progress(total=count)
    started = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {line}", highlight=False)

    with tempfile.TemporaryDirectory(prefix="oracle-demo-") as folder:
        async with (
            Ground(Path(folder), say=say) as ground,
            Devnet(Path(folder), ground, airnode=True) as network,
        ):
            if not console.is_terminal:
                return await play(network, progress, say), progress
            with Live(
                console=console, get_renderable=lambda: _status(progress), refresh_per_second=8
            ):
                report = await play(network, progress, say)
            return report, progress


def _status(progress: Progress) -> str:
    width = 40
    done = width * progress.fulfilled // progress.total
    asked = width * progress.requested // progress.total - done
    node = "[green]alive[/green]" if progress.node_alive else "[red]dead[/red]"
    return (
        "        "
        f"[green]{'█' * done}[/green][yellow]{'▒' * asked}[/yellow]{'·' * (width - done - asked)}"
        f"  {progress.fulfilled} fulfilled, {progress.requested} requested, node {node}"
    )


def _print_table(report: Verdict, progress: Progress, seconds: float) -> None:
    from statistics import median  # noqa: PLC0415 - only for the table

    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="audit, from the chain alone", show_header=False, title_justify="left")
    waited = progress.waited
    found = report.totals
    rows = {
        "requests": found["requests"],
        "of which Airnode's": (report.airnode or {}).get("requests", "none: no AirnodeRrpV0 here"),
        "fulfilled": found["fulfilled"],
        "lost": found["lost"],
        "fulfilled twice": found["duplicates"],
        "seeds used twice": found["seeds_reused"],
        "wrong values": found["wrong"],
        "other faults": found["faults"],
        "node killed": "once, with SIGKILL",
        "blocks to fulfillment": f"median {median(waited):.0f}, longest {max(waited)}",
        "time": f"{seconds:.1f} s",
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console().print(table)
    if report.clean:
        click.echo(
            "Every request was fulfilled exactly once. The entropy was simulated: this was a "
            "devnet."
        )
    else:
        click.echo("The audit found faults.", err=True)
