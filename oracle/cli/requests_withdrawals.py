"""
`oracle requests list --withdrawals`: what sponsors asked back.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.requests_native import stamp

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.config import Settings
    from oracle.store.withdrawals import Withdrawal


async def newest_withdrawals(settings: Settings, limit: int) -> list[dict[str, Any]]:
    """
    Return the newest withdrawals first, each with everything that is known of it.
    """
    from oracle.store import withdrawals  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.store.engine import Access, Database  # noqa: PLC0415

    database = await Database.open(settings.database, Access.VISIT)
    try:
        async with database.read() as connection:
            return [
                await _document_of(connection, settings, one)
                for one in await withdrawals.newest(connection, limit)
            ]
    finally:
        await database.close()


async def _document_of(
    connection: AsyncConnection, settings: Settings, one: Withdrawal
) -> dict[str, Any]:
    from oracle.explain_withdrawal import (  # noqa: PLC0415 - SQLAlchemy is slow to import
        KnownWithdrawal,
        explain_withdrawal,
    )
    from oracle.store import transactions  # noqa: PLC0415
    from oracle.store.attempts import attempts_of  # noqa: PLC0415
    from oracle.store.cursors import get_cursor  # noqa: PLC0415

    chains = {} if settings.airnode is None else settings.airnode.chains
    place = (one.chain_id, one.contract)
    chain = next((it for it in chains.values() if (it.chain_id, it.contract) == place), None)
    cursor = await get_cursor(connection, *place)
    slot, attempts = None, []
    if one.transaction_id is not None:
        slot = await transactions.get_slot(connection, one.transaction_id)
        attempts = await attempts_of(connection, slot.id)
    why = explain_withdrawal(
        KnownWithdrawal(
            withdrawal=one,
            depth=None if chain is None else chain.depth,
            scanned=None if cursor is None else cursor.number,
            slot=slot,
            attempts=attempts,
        )
    )
    return {
        "withdrawalId": f"0x{one.withdrawal_id.hex()}",
        "state": str(one.state),
        "reason": why.code,
        "explanation": why.sentence,
        "chainId": one.chain_id,
        "airnodeRrp": one.contract,
        "sponsor": one.sponsor,
        "sponsorWallet": one.sponsor_wallet,
        "firstSeenAt": stamp(one.created_at),
        "requestBlock": one.block_number,
        "returnedBlock": one.done_block,
        "transaction": f"0x{attempts[0].transaction_hash.hex()}" if attempts else None,
    }


def print_withdrawals(found: list[dict[str, Any]]) -> None:
    """
    Show withdrawals as a table.
    """
    if not found:
        click.echo("no withdrawals yet")
        return
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    for heading in ("withdrawal", "sponsor", "sponsor wallet", "block", "state", "reason"):
        table.add_column(heading, overflow="fold")
    for one in found:
        table.add_row(
            one["withdrawalId"][:18] + "…",
            one["sponsor"],
            one["sponsorWallet"],
            str(one["requestBlock"]),
            one["state"],
            one["reason"],
        )
    # Where nobody looks, nothing is folded.
    Console(width=None if sys.stdout.isatty() else 180).print(table)
