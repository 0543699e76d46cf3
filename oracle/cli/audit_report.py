"""
How `oracle audit` goes about a contract and shows what it found, whatever the protocol.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from oracle.errors import ChainError
from oracle.given import checked_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping

    from oracle.audit.findings import Finding, Findings, Listing
    from oracle.chain.reader import Web3Reader
    from oracle.chain_settings import EndpointSettings
    from oracle.config import Settings
    from oracle.store.engine import Database

_F = TypeVar("_F", bound="Findings")
_T = TypeVar("_T")

_NOT_AUDITED = "not_audited"


@asynccontextmanager
async def both_sides(
    settings: Settings, place: str, chain: EndpointSettings
) -> AsyncIterator[tuple[Database, Web3Reader]]:
    """
    Open what is held against each other: the database, unable to write, and the chain's first
    endpoint. `place` is the section that names it.
    """
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - slow to import
    from oracle.cli.claims import check_chain_id  # noqa: PLC0415
    from oracle.store.engine import Access, Database  # noqa: PLC0415

    database = await Database.open(settings.database, Access.READ)
    reader = Web3Reader(
        checked_endpoint(chain.endpoints[0].get_secret_value(), f"{place}.endpoints")
    )
    try:
        await check_chain_id(place, chain, reader)
        yield database, reader
    finally:
        await reader.close()
        await database.close()


async def audited(audit: Awaitable[_F], empty: _F) -> _F:
    """
    Return what an audit found; an empty report that says why if the chain did not answer.
    """
    try:
        return await audit
    except ChainError as error:
        # A dead endpoint is no reason to leave the other chains alone.
        empty.find(_NOT_AUDITED, str(error))
        return empty


def listed(name: str, listing: Listing[_T], show: Callable[[_T], object]) -> dict[str, object]:
    """
    Return what `--json` prints of a list, whose entries are called `name`.
    """
    return {"count": listing.count, name: [show(entry) for entry in listing]}


def findings(report: Findings) -> dict[str, object]:
    """
    Return what `--json` prints of the findings.
    """
    return listed("findings", report.findings, _finding)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "requestId": finding.request_id and "0x" + finding.request_id.hex(),
        "detail": finding.detail,
    }


def lines_of(heading: str, listing: Listing[_T], say: Callable[[_T], str]) -> Iterator[str]:
    """
    Yield the lines of a list, none if it is empty.
    """
    if listing.count:
        yield f"{heading} ({listing.count})"
    yield from map(say, listing)


def print_report(
    report: Findings, title: str, rows: Mapping[str, object], lines: Iterable[str]
) -> None:
    """
    Print a table of what was counted, the lines of lists and the findings.
    """
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    # Where nobody looks, nothing is folded.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    table = Table(title=title, show_header=False)
    # Nothing was counted where nothing was read.
    if all(finding.code != _NOT_AUDITED for finding in report.findings):
        for label, value in rows.items():
            table.add_row(label, str(value))
        console.print(table)
        for line in lines:
            console.print(line)
    else:
        console.print(title.partition(",")[0])
    for finding in report.findings:
        id_ = f"  0x{finding.request_id.hex()}" if finding.request_id else ""
        console.print(f"[red]{finding.code}[/red]{id_}  {finding.detail}")
