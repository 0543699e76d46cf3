"""
`oracle audit`: chain, store and pool held against each other.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from oracle.cli import audit_report
from oracle.cli.options import config_option, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oracle.audit.airnode_report import AirnodeReport
    from oracle.audit.report import Money, Named, Report
    from oracle.config import ChainSettings, Settings

_LISTS = {
    "withheld": "withheld: cancelled, or their windows closed",
    "exposed": "exposed: the seed may have left this node, and the chain has no fulfillment",
    "overdue": "overdue: still to be saved",
}


@click.command(epilog="Example: oracle audit --config oracle.toml --json")
@config_option
@json_option
def audit(config: Path, *, as_json: bool) -> None:
    """
    Hold chain, store and pool against each other; also while the node runs.

    Every request fulfilled, cancelled or pending exactly once; every revealed seed the committed
    one, and bound once; fees, earnings and escrow adding up; no row of the store contradicting
    the chain. Of an Airnode: every request answered or given up once, with this store's number,
    for which one block of the pool was drawn; what is open, with its age and reason. Nothing is
    written. Exit code 1 on a finding.
    """
    from oracle.cli import audit_airnodes  # noqa: PLC0415 - not needed for --help
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    reports, airnodes = asyncio.run(_audit(Settings.load(config)))
    clean = all(one.clean for one in reports.values()) and all(
        one.clean for one in airnodes.values()
    )
    if as_json:
        print_json(
            {
                "clean": clean,
                "chains": {name: document(report) for name, report in reports.items()},
                "airnodes": {
                    name: audit_airnodes.document(report) for name, report in airnodes.items()
                },
            }
        )
    else:
        for name, report in reports.items():
            _print(name, report)
        for name, found in airnodes.items():
            audit_airnodes.print_report(name, found)
    sys.exit(0 if clean else 1)


async def _audit(settings: Settings) -> tuple[dict[str, Report], dict[str, AirnodeReport]]:
    from oracle.audit.report import Report  # noqa: PLC0415 - not needed for --help
    from oracle.cli.audit_airnodes import audit_airnodes  # noqa: PLC0415 - as above

    reports = {
        name: await audit_report.audited(
            _audit_chain(settings, name, chain),
            Report(chain_id=chain.chain_id, contract=chain.coordinator, block=0),
        )
        for name, chain in settings.chains.items()
    }
    return reports, await audit_airnodes(settings)


async def _audit_chain(settings: Settings, name: str, chain: ChainSettings) -> Report:
    from oracle.audit.chain import audit_chain, open_ledger  # noqa: PLC0415 - slow to import
    from oracle.audit.store import StoreAudit  # noqa: PLC0415

    async with audit_report.both_sides(settings, f"chains.{name}", chain) as (database, reader):
        with await open_ledger(reader, chain.chain_id, chain.coordinator, chain.depth) as ledger:
            store = StoreAudit(database, ledger)
            await store.check_chain(reader)
            await audit_chain(reader, ledger, store.leaves_of)
            await store.audit()
            return ledger.report


def document(report: Report) -> dict[str, Any]:
    """
    Return what `oracle audit --json` prints of one chain. Lists hold their first thousand entries.
    """
    return {
        "chainId": report.chain_id,
        "coordinator": report.contract,
        "block": report.block,
        "clean": report.clean,
        "requests": report.requests,
        "fulfilled": report.fulfilled,
        "cancelled": report.cancelled,
        "pending": report.pending,
        "failedCallbacks": report.failed_callbacks,
        "unproved": report.unproved,
        "notInStore": report.not_in_store,
        "money": report.money and _money(report.money),
        "foreignRoots": audit_report.listed("from", report.foreign_roots, int),
        **{
            name: audit_report.listed("requests", getattr(report, name), _named) for name in _LISTS
        },
        "findings": audit_report.findings(report),
    }


def _money(money: Money) -> dict[str, int]:
    return {
        "balanceWei": money.balance,
        "feesWei": money.fees,
        "earnedWei": money.earned,
        "uncollectedWei": money.uncollected,
        "withdrawnWei": money.withdrawn,
        "escrowWei": money.escrow,
        "refundedWei": money.refunded,
        "donatedWei": money.donated,
    }


def _named(entry: Named) -> dict[str, object]:
    return {
        "index": entry.index,
        "requestId": entry.request_id and "0x" + entry.request_id.hex(),
        "reason": entry.reason,
    }


def _print(name: str, report: Report) -> None:
    rows: dict[str, object] = {
        "requests": report.requests,
        "fulfilled": report.fulfilled,
        "cancelled": report.cancelled,
        "pending": report.pending,
        "failed callbacks to redeliver": report.failed_callbacks,
        "proved by the coordinator's code alone": report.unproved,
        "settled and no longer in the store": report.not_in_store,
        "batches of other stores": report.foreign_roots.count,
        "findings": report.findings.count,
    }
    if report.money is not None:
        for label, wei in _money(report.money).items():
            rows[label.removesuffix("Wei")] = f"{wei} wei"
    audit_report.print_report(report, f"{name}, up to block {report.block}", rows, _lines(report))


def _lines(report: Report) -> Iterator[str]:
    if report.foreign_roots.count:
        yield "other stores' batches begin at " + ", ".join(map(str, report.foreign_roots))
    for name, heading in _LISTS.items():
        yield from audit_report.lines_of(heading, getattr(report, name), _line)


def _line(entry: Named) -> str:
    id_ = "0x" + entry.request_id.hex() if entry.request_id else "no request"
    return f"  index {entry.index}  {id_}  {entry.reason}"
