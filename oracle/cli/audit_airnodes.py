"""
The part of `oracle audit` that is about an Airnode.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from oracle.errors import ChainError, ConfigError
from oracle.given import checked_endpoint, read_secret_file

if TYPE_CHECKING:
    from oracle.airnode_settings import AirnodeChainSettings
    from oracle.audit.airnode_report import AirnodeReport, Waiting
    from oracle.chain.airnode_xpub import AirnodeXpub
    from oracle.config import Settings

_LISTS = {
    "unserved": ("unserved", "open, and the store has ended them"),
    "exposed": ("exposed", "exposed: the number may have left this node, and nothing settles it"),
    "held": ("held", "held: the callback fails, or cannot be tried"),
    "unfunded": ("unfunded", "unfunded: the sponsor wallet cannot pay"),
    "withdrawals_late": ("withdrawalsLate", "withdrawals that are open for too long"),
}


async def audit_airnodes(settings: Settings) -> dict[str, AirnodeReport]:
    """
    Audit the Airnode on all of its chains; without its password, since nothing is signed.
    """
    from oracle.audit.airnode_report import AirnodeReport  # noqa: PLC0415 - not needed for --help
    from oracle.chain.mnemonics import announced  # noqa: PLC0415 - slow to import

    if settings.airnode is None:
        return {}
    path = settings.airnode.mnemonic_file
    xpub = announced(read_secret_file(path), path)
    reports = {}
    for name, chain in settings.airnode.chains.items():
        try:
            reports[name] = await _audit_chain(settings, name, chain, xpub)
        except ChainError as error:
            # A dead endpoint is no reason to leave the other chains alone.
            reports[name] = AirnodeReport(
                chain_id=chain.chain_id,
                contract=chain.contract,
                airnode=xpub.airnode,
                first=0,
                block=0,
            )
            reports[name].find("not_audited", str(error))
    return reports


async def _audit_chain(
    settings: Settings, name: str, chain: AirnodeChainSettings, xpub: AirnodeXpub
) -> AirnodeReport:
    from oracle.audit import airnode_chain  # noqa: PLC0415 - slow to import
    from oracle.audit.airnode_store import AirnodeStoreAudit  # noqa: PLC0415
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415
    from oracle.store.cursors import get_setting  # noqa: PLC0415
    from oracle.store.engine import Access, Database  # noqa: PLC0415

    place = f"airnode.chains.{name}"
    chain_id, contract = chain.chain_id, chain.contract
    database = await Database.open(settings.database, Access.READ)
    reader = Web3Reader(
        checked_endpoint(chain.endpoints[0].get_secret_value(), f"{place}.endpoints")
    )
    try:
        actual = await reader.chain_id()
        if actual != chain_id:
            raise ConfigError(
                f"{place}.chain_id is {chain_id}, but {reader.name} serves chain {actual}: "
                "correct one of them"
            )
        first = chain.start_block
        if first is None:
            async with database.read() as connection:
                known = await get_setting(connection, f"start:{chain_id}:{contract}")
            # Nothing was read before the first start.
            first = (await reader.block()).number if known is None else int(known)
        with await airnode_chain.open_airnode_ledger(
            reader, chain_id, contract, xpub.airnode, chain.depth, first
        ) as ledger:
            store = AirnodeStoreAudit(
                database,
                ledger,
                xpub,
                depth=chain.depth,
                withdrawal_wait=round(chain.withdrawal_wait_minutes * 60_000),
            )
            await store.check_chain(reader)
            await airnode_chain.audit_airnode_chain(reader, ledger)
            await store.audit(reader)
            await airnode_chain.list_open(reader, ledger)
            return ledger.report
    finally:
        await reader.close()
        await database.close()


def document(report: AirnodeReport) -> dict[str, Any]:
    """
    Return what `oracle audit --json` prints of an Airnode on one chain. Lists hold their first
    thousand entries.
    """
    return {
        "chainId": report.chain_id,
        "airnodeRrp": report.contract,
        "airnode": report.airnode,
        "firstBlock": report.first,
        "block": report.block,
        "clean": report.clean,
        "requests": report.requests,
        "fulfilled": report.fulfilled,
        "failedCallbacks": report.failed_callbacks,
        "givenUp": report.given_up,
        "earlier": report.earlier,
        "notInStore": report.not_in_store,
        "withdrawals": report.withdrawals,
        "withdrawalsPaid": report.withdrawals_paid,
        "beforeRestore": {
            "count": report.before_restore.count,
            "requests": ["0x" + id_.hex() for id_ in report.before_restore],
        },
        **{
            name: {
                "count": getattr(report, field).count,
                "entries": [_waiting(entry) for entry in getattr(report, field)],
            }
            for field, name in {"open": "open", **{f: n for f, (n, _) in _LISTS.items()}}.items()
        },
        "findings": {
            "count": report.findings.count,
            "findings": [
                {
                    "code": finding.code,
                    "requestId": finding.request_id and "0x" + finding.request_id.hex(),
                    "detail": finding.detail,
                }
                for finding in report.findings
            ],
        },
    }


def _waiting(entry: Waiting) -> dict[str, object]:
    return {
        "id": "0x" + entry.id.hex(),
        "sponsor": entry.sponsor,
        "block": entry.block,
        "ageBlocks": entry.age_blocks,
        "ageSeconds": entry.age_seconds,
        "reason": entry.reason,
    }


def print_report(name: str, report: AirnodeReport) -> None:
    """
    Print what was found of an Airnode on one chain.
    """
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    # Where nobody looks, nothing is folded.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    title = f"airnode.{name}, blocks {report.first} to {report.block}"
    table = Table(title=title, show_header=False)
    rows = {
        "requests": report.requests,
        "fulfilled": report.fulfilled,
        "answered, and the callback failed": report.failed_callbacks,
        "given up on chain": report.given_up,
        "open": report.open.count,
        "settled, and made before these blocks": report.earlier,
        "answered before the backup was restored": report.before_restore.count,
        "withdrawals": report.withdrawals,
        "withdrawals that were paid": report.withdrawals_paid,
        "findings": report.findings.count,
    }
    for label, count in rows.items():
        table.add_row(label, str(count))
    console.print(table)
    for field, heading in {"open": "open", **{f: text for f, (_, text) in _LISTS.items()}}.items():
        entries = getattr(report, field)
        if entries.count:
            console.print(f"{heading} ({entries.count})")
        for entry in entries:
            console.print(
                f"  0x{entry.id.hex()}  {entry.reason}  for {entry.age_blocks} blocks, "
                f"{entry.age_seconds} s"
            )
    for finding in report.findings:
        id_ = f"  0x{finding.request_id.hex()}" if finding.request_id else ""
        console.print(f"[red]{finding.code}[/red]{id_}  {finding.detail}")
