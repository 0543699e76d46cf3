"""
`oracle bench`: measurements to repeat.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oracle.cli.options import json_option, print_json
from oracle.cli.until_told import run_until_told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oracle.bench.figures import Figures
    from oracle.bench.gateway import GatewayFigures
    from oracle.bench.node import NodeFigures
    from oracle.bench.refill import RefillFigures
    from oracle.bench.requesters import AirnodeFigures

_SEEDS_MOST = 10_000


@click.group(epilog="Example: oracle bench node --requests 1000 --json")
def bench() -> None:
    """
    Measure what the protocol costs, beside what others cost.
    """


@bench.command(epilog="Example: oracle bench gas --json")
@json_option
def gas(*, as_json: bool) -> None:
    """
    Measure the gas of one random word, with a minimal consumer that stores it.

    Whole transactions, measured on a throw-away chain in their steady state. The contracts of
    Airnode and Chainlink are fetched from npm the first time; where that cannot be, and for Pyth,
    documented figures stand in and say so.
    """
    from oracle.devnet.processes import find_anvil  # noqa: PLC0415 - not needed for --help

    find_anvil()
    figures = run_until_told(_gas(as_json=as_json))
    if as_json:
        print_json({name: each.document() for name, each in figures.items()})
    else:
        _print(figures)


@bench.command(epilog="Example: oracle bench node --requests 1000 --json")
@click.option("--requests", type=click.IntRange(1), default=1000, show_default=True)
@json_option
def node(requests: int, *, as_json: bool) -> None:
    """
    Measure a node under a burst of requests, on a chain that mines at once and on one that mines
    every second.

    Node, chain and the one who asks share this machine.
    """
    from oracle.devnet.processes import find_anvil  # noqa: PLC0415 - not needed for --help

    find_anvil()
    figures = run_until_told(_node(requests, as_json=as_json))
    if as_json:
        print_json([each.document() for each in figures])
    else:
        _print_node(figures)


@bench.command(epilog="Example: oracle bench airnode --requests 200 --json")
@click.option("--requests", type=click.IntRange(20), default=200, show_default=True)
@json_option
def airnode(requests: int, *, as_json: bool) -> None:
    """
    Measure how a node answers consumers of API3 QRNG: one sponsor and twenty, on a chain that
    mines at once and on one that mines every second.

    The contract is API3's own. Node, chain and the one who asks share this machine.
    """
    from oracle.devnet.processes import find_anvil  # noqa: PLC0415 - not needed for --help

    find_anvil()
    figures = run_until_told(_airnode(requests, as_json=as_json))
    if as_json:
        print_json([each.document() for each in figures])
    else:
        _print_airnode(figures)


async def _airnode(requests: int, *, as_json: bool) -> list[AirnodeFigures]:
    from oracle.bench.requesters import measure_airnode  # noqa: PLC0415 - web3 is slow to import

    say = _narrator(as_json=as_json)
    figures = []
    for block_seconds in (None, 1):
        for sponsors in (1, 20):
            with tempfile.TemporaryDirectory(prefix="oracle-bench-") as folder:
                figures.append(
                    await measure_airnode(
                        Path(folder),
                        requests=requests,
                        sponsors=sponsors,
                        block_seconds=block_seconds,
                        say=say,
                    )
                )
    return figures


def _print_airnode(figures: Sequence[AirnodeFigures]) -> None:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"a burst of {figures[0].requests} requests", title_justify="left")
    table.add_column("")
    for each in figures:
        table.add_column(f"{each.mining}, {each.sponsors} sponsors", justify="right")
    documents = [each.document() for each in figures]
    for name in documents[0]:
        if name not in ("mining", "sponsors", "requests"):
            table.add_row(name.replace("_", " "), *(str(each[name]) for each in documents))
    Console().print(table)


@bench.command(epilog="Example: oracle bench entropy --requests 10000 --json")
@click.option("--requests", type=click.IntRange(100), default=100_000, show_default=True)
@json_option
def entropy(requests: int, *, as_json: bool) -> None:
    """
    Measure how fast seeds come into a pool and how fast the gateway gives them away.

    As many seeds as requests, at most 10,000, are drawn from a simulator. The gateway serves a
    pool of its own to fifty clients, and no block may come twice. All share this machine.
    """
    refills, gateway = run_until_told(_entropy(requests, as_json=as_json))
    if as_json:
        print_json(
            {"refill": [each.document() for each in refills], "gateway": gateway.document()}
        )
    else:
        _print_entropy(refills, gateway)
    if gateway.served_twice:
        raise SystemExit(1)


async def _entropy(requests: int, *, as_json: bool) -> tuple[list[RefillFigures], GatewayFigures]:
    from oracle import log  # noqa: PLC0415 - not needed for --help
    from oracle.bench import gateway, refill  # noqa: PLC0415 - SQLAlchemy is slow to import

    log.configure("warning")
    say = _narrator(as_json=as_json)
    with tempfile.TemporaryDirectory(prefix="oracle-bench-") as folder:
        refills = await refill.measure(Path(folder), seeds=min(requests, _SEEDS_MOST), say=say)
    with tempfile.TemporaryDirectory(prefix="oracle-bench-") as folder:
        return refills, await gateway.measure(Path(folder), requests=requests, say=say)


def _print_entropy(refills: Sequence[RefillFigures], gateway: GatewayFigures) -> None:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="seeds into the pool", title_justify="left")
    for name in refills[0].document():
        table.add_column(name.replace("_", " "), justify="right")
    for each in refills:
        table.add_row(*(str(value) for value in each.document().values()))
    Console().print(table)
    table = Table("", "", title="requests to the gateway", title_justify="left")
    for name, value in gateway.document().items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)


async def _node(requests: int, *, as_json: bool) -> list[NodeFigures]:
    from oracle.bench.node import measure  # noqa: PLC0415 - web3 is slow to import

    say = _narrator(as_json=as_json)
    figures = []
    for block_seconds in (None, 1):
        with tempfile.TemporaryDirectory(prefix="oracle-bench-") as folder:
            figures.append(
                await measure(
                    Path(folder), requests=requests, block_seconds=block_seconds, say=say
                )
            )
    return figures


def _print_node(figures: Sequence[NodeFigures]) -> None:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"a burst of {figures[0].requests} requests", title_justify="left")
    table.add_column("")
    for each in figures:
        table.add_column(each.mining, justify="right")
    documents = [each.document() for each in figures]
    for name in documents[0]:
        if name not in ("mining", "requests", "rpc_calls"):
            table.add_row(name.replace("_", " "), *(str(each[name]) for each in documents))
    Console().print(table)


async def _gas(*, as_json: bool) -> dict[str, Figures]:
    from oracle.bench.gas import measure  # noqa: PLC0415 - web3 is slow to import

    return await measure(_narrator(as_json=as_json))


def _narrator(*, as_json: bool) -> Callable[[str], None]:
    """
    Return what tells a person how far a measurement is.
    """
    from rich.console import Console  # noqa: PLC0415 - not needed for --help

    console = Console(stderr=as_json)
    started = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {line}", highlight=False)

    return say


def _print(figures: Mapping[str, Figures]) -> None:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    from oracle.bench.tables import calldata_table, commit_line, gas_table  # noqa: PLC0415 - web3

    for text in (gas_table(figures), calldata_table(figures)):
        table = Table(title=text.title, title_justify="left")
        for number, name in enumerate(text.header):
            table.add_column(name, justify="right" if number else "left", no_wrap=not number)
        for row in text.rows:
            table.add_row(*row)
        Console().print(table)
    click.echo(commit_line(figures))
    for name, each in figures.items():
        if each.documented:
            click.echo(f"{name}: documented ({each.source}), because {each.reason}.")
        else:
            click.echo(f"{name}: measured on {each.source}.")
