"""
`oracle requests`: what the store knows.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.options import config_option, json_option, print_json
from oracle.errors import ConfigError, OracleError
from oracle.request import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.config import Settings
    from oracle.explain import Reason
    from oracle.request import TrackedRequest
    from oracle.store.retention import Pruned

    Explained = tuple[TrackedRequest, Reason]


@click.group()
def requests() -> None:
    """
    Look at the requests that this node knows; also while it runs.
    """


@requests.command("list", epilog="Example: oracle requests list --state sent --limit 20")
@config_option
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=25, show_default=True)
@json_option
def list_(config: Path, state: str | None, limit: int, *, as_json: bool) -> None:
    """
    List requests, the newest first, each with why it is where it is; count them by state.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    found, counts, pruned = asyncio.run(
        _list(Settings.load(config), State(state) if state else None, limit)
    )
    if as_json:
        print_json(
            {
                "counts": {str(name): count for name, count in counts.items()},
                "pruned": pruned,
                "requests": [_document(tracked, why) for tracked, why in found],
            }
        )
        return
    if not found:
        click.echo("no such requests" if counts or pruned else "no requests yet")
        return
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    title = [f"{count} {name}" for name, count in counts.items()]
    if pruned:
        title.append(f"{pruned} pruned")
    table = Table(title=", ".join(title))
    for heading in ("index", "request", "requester", "block", "state", "reason"):
        table.add_column(heading, overflow="fold")
    for tracked, why in found:
        made = tracked.request
        table.add_row(
            str(made.seed_index),
            "0x" + made.key.request_id.hex()[:16] + "…",
            made.requester,
            str(made.block_number),
            str(tracked.state),
            why.code,
        )
    # Where nobody looks, nothing is folded.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@requests.command(epilog="Example: oracle requests show 0x5f2c91")
@click.argument("request_id")
@config_option
@json_option
def show(request_id: str, config: Path, *, as_json: bool) -> None:
    """
    Show one request, why it is where it is, and everything that happened to it.

    The first digits of its id are enough. A request that ended unfulfilled says what its requester
    can do; one that was pruned, how it ended and what its seed was mixed from.
    """
    digits = request_id.removeprefix("0x").rstrip("….")
    # A digit alone is half a byte: it says little more.
    digits = digits[: len(digits) // 2 * 2]
    try:
        prefix = bytes.fromhex(digits)
    except ValueError:
        prefix = b""
    if not prefix:
        raise ConfigError(
            f"{request_id!r} is no request id: give 0x and its first hexadecimal digits"
        )
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    document, history, entropy = asyncio.run(_show(Settings.load(config), prefix))
    document["entropy"] = entropy and _dated(entropy)
    document["history"] = [
        {
            "at": _stamp(event.at),
            "from": event.before,
            "to": event.after,
            "reason": event.reason,
        }
        for event in history
    ]
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        if name not in ("history", "entropy") and value is not None:
            click.echo(f"{name}: {value}")
    for line in _entropy_lines(document["entropy"]):
        click.echo(line)
    for event in document["history"]:
        reason = f" ({event['reason']})" if event["reason"] else ""
        click.echo(f"  {event['at']}  {event['from'] or '·'} → {event['to']}{reason}")


async def _list(
    settings: Settings, state: State | None, limit: int
) -> tuple[list[Explained], dict[State, int], int]:
    from oracle.store import requests as store  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.store import retention  # noqa: PLC0415
    from oracle.store.engine import Database  # noqa: PLC0415

    database = await Database.open(settings.database, exclusive=False)
    try:
        async with database.read() as connection:
            found = await store.newest(connection, state=state, limit=limit)
            return (
                [(one, await _explained(connection, settings, one)) for one in found],
                await store.count_by_state(connection),
                await retention.count(connection),
            )
    finally:
        await database.close()


async def _show(
    settings: Settings, prefix: bytes
) -> tuple[dict[str, Any], Sequence[Any], dict[str, Any] | None]:
    from oracle.store import requests as store  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.store import retention, sources  # noqa: PLC0415
    from oracle.store.engine import Database  # noqa: PLC0415

    database = await Database.open(settings.database, exclusive=False)
    try:
        async with database.read() as connection:
            found: list[TrackedRequest | Pruned] = [
                *await store.by_prefix(connection, prefix),
                *await retention.by_prefix(connection, prefix),
            ]
            if not found:
                raise OracleError(
                    f"no request begins with 0x{prefix.hex()}: `oracle requests list` shows the "
                    "newest"
                )
            if len(found) > 1:
                raise OracleError(
                    f"several requests begin with 0x{prefix.hex()}: give more digits"
                )
            [one] = found
            if isinstance(one, retention.Pruned):
                key, index, document = one.key, one.seed_index, _tombstone(one)
            else:
                key, index = one.request.key, one.request.seed_index
                document = _document(one, await _explained(connection, settings, one))
            return (
                document,
                await store.history(connection, key),
                await sources.provenance(connection, key.chain_id, key.contract, index),
            )
    finally:
        await database.close()


async def _explained(
    connection: AsyncConnection, settings: Settings, tracked: TrackedRequest
) -> Reason:
    from oracle.explain import Known, explain  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.protocols.coordinator import BATCH  # noqa: PLC0415
    from oracle.store import batches, transactions  # noqa: PLC0415
    from oracle.store.cursors import get_cursor  # noqa: PLC0415

    request = tracked.request
    place = (request.key.chain_id, request.key.contract)
    chain = next(
        (one for one in settings.chains.values() if (one.chain_id, one.coordinator) == place),
        None,
    )
    cursor = await get_cursor(connection, *place)
    slot, attempts = None, []
    if tracked.transaction_id is not None:
        slot = await transactions.get_slot(connection, tracked.transaction_id)
        attempts = await transactions.attempts_of(connection, slot.id)
    return explain(
        Known(
            tracked=tracked,
            depth=None if chain is None else chain.depth,
            devnet=chain is not None and chain.devnet,
            scanned=None if cursor is None else cursor.number,
            slot=slot,
            attempts=attempts,
            batch=await batches.state_at(connection, *place, request.seed_index // BATCH * BATCH),
        )
    )


def _stamp(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _dated(entropy: dict[str, Any]) -> dict[str, Any]:
    """
    Return what a seed was mixed from with readable times.
    """
    inputs = [
        {name: _stamp(value) if name.endswith("At") else value for name, value in one.items()}
        for one in entropy["inputs"]
    ]
    return entropy | {"receivedAt": _stamp(entropy["receivedAt"]), "inputs": inputs}


def _entropy_lines(entropy: dict[str, Any] | None) -> list[str]:
    if entropy is None:
        return []
    kind = "SIMULATED entropy" if entropy["simulated"] else "entropy"
    names = " and ".join([*entropy["sources"], "the operating system"])
    lines = [f"{kind}: a seed mixed from {names}"]
    for one in entropy["inputs"]:
        lines.append(
            f"  {one['receivedAt']}  {one['source']}: {one['bits']} bits, health test"
            f" {one['health']}, keyed digest {one['digest'][:16]}…"
        )
        if one["vendorSays"]:
            lines.append(f"      the vendor says: {one['vendorSays']}")
    return lines


def _tombstone(pruned: Pruned) -> dict[str, Any]:
    from oracle.explain import explain_pruned  # noqa: PLC0415 - SQLAlchemy is slow to import

    why = explain_pruned(pruned)
    return {
        "requestId": "0x" + pruned.key.request_id.hex(),
        "state": str(pruned.state),
        "prunedAt": _stamp(pruned.pruned_at),
        "reason": why.code,
        "explanation": why.sentence,
        "chainId": pruned.key.chain_id,
        "coordinator": pruned.key.contract,
        "index": pruned.seed_index,
        "requestBlock": pruned.block_number,
        "fulfillmentBlock": pruned.outcome_block,
        "callbackSucceeded": pruned.callback_succeeded,
    }


def _document(tracked: TrackedRequest, why: Reason) -> dict[str, Any]:
    made = tracked.request
    outcome = tracked.outcome
    return {
        "requestId": "0x" + made.key.request_id.hex(),
        "state": str(tracked.state),
        "prunedAt": None,
        "reason": why.code,
        "explanation": why.sentence,
        "chainId": made.key.chain_id,
        "coordinator": made.key.contract,
        "index": made.seed_index,
        "requester": made.requester,
        "callbackGasLimit": made.callback_gas_limit,
        "numWords": made.num_words,
        "confirmations": made.confirmations,
        "feeWei": made.fee,
        "costWei": tracked.cost,
        "gainWei": None if tracked.cost is None else made.fee - tracked.cost,
        "requestBlock": made.block_number,
        "requestTransaction": "0x" + made.transaction_hash.hex(),
        "fulfillmentBlock": outcome.block_number if outcome else None,
        "fulfillmentTransaction": "0x" + outcome.transaction_hash.hex() if outcome else None,
        "callbackSucceeded": outcome.callback_succeeded if outcome else None,
    }
