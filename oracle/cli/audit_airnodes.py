"""
The part of `oracle audit` that is about an Airnode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.cli import audit_report
from oracle.given import read_secret_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oracle.airnode_settings import AirnodeChainSettings
    from oracle.audit.airnode_report import AirnodeReport, Waiting
    from oracle.chain.airnode_xpub import AirnodeXpub
    from oracle.config import Settings

# By the field of the report: what the list is called in JSON and on a terminal.
_LISTS = {
    "open": ("open", "open"),
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
    return {
        name: await audit_report.audited(
            _audit_chain(settings, name, chain, xpub),
            AirnodeReport(
                chain_id=chain.chain_id,
                contract=chain.contract,
                airnode=xpub.airnode,
                first=0,
                block=0,
            ),
        )
        for name, chain in settings.airnode.chains.items()
    }


async def _audit_chain(
    settings: Settings, name: str, chain: AirnodeChainSettings, xpub: AirnodeXpub
) -> AirnodeReport:
    from oracle.audit import airnode_chain  # noqa: PLC0415 - slow to import
    from oracle.audit.airnode_store import AirnodeStoreAudit  # noqa: PLC0415
    from oracle.store.cursors import get_setting  # noqa: PLC0415

    chain_id, contract = chain.chain_id, chain.contract
    async with audit_report.both_sides(settings, f"airnode.chains.{name}", chain) as (
        database,
        reader,
    ):
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
        "beforeRestore": audit_report.listed("requests", report.before_restore, _id),
        **{
            name: audit_report.listed("entries", getattr(report, field), _waiting)
            for field, (name, _) in _LISTS.items()
        },
        "findings": audit_report.findings(report),
    }


def _waiting(entry: Waiting) -> dict[str, object]:
    return {
        "id": _id(entry.id),
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
    title = f"airnode.{name}, blocks {report.first} to {report.block}"
    audit_report.print_report(report, title, rows, _lines(report))


def _lines(report: AirnodeReport) -> Iterator[str]:
    for field, (_, heading) in _LISTS.items():
        yield from audit_report.lines_of(heading, getattr(report, field), _line)


def _line(entry: Waiting) -> str:
    return (
        f"  {_id(entry.id)}  {entry.reason}  for {entry.age_blocks} blocks, {entry.age_seconds} s"
    )


def _id(raw: bytes) -> str:
    return "0x" + raw.hex()
