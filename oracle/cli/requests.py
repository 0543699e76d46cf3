"""
`oracle requests`: what the store knows.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.options import config_option, json_option, print_json
from oracle.cli.requests_airnode import AIRNODE
from oracle.cli.requests_native import NATIVE, prefix_of, stamp
from oracle.cli.requests_release import release
from oracle.cli.requests_withdrawals import newest_withdrawals, print_withdrawals
from oracle.errors import OracleError
from oracle.request import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.config import Settings


@click.group(epilog="Example: oracle requests list --state sent")
def requests() -> None:
    """
    Look at the requests that this node knows, and release what waits; also while it runs.
    """


requests.add_command(release)


@requests.command("list", epilog="Example: oracle requests list --state sent --limit 20")
@config_option
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only these.")
@click.option(
    "--protocol",
    type=click.Choice([NATIVE, AIRNODE]),
    help="Only those of coordinators, or of the Airnode.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=25, show_default=True)
@click.option(
    "--withdrawals", is_flag=True, help="What sponsors of the Airnode asked back, instead."
)
@json_option
def list_(
    *,
    config: Path,
    state: str | None,
    protocol: str | None,
    limit: int,
    withdrawals: bool,
    as_json: bool,
) -> None:
    """
    List requests, the newest first, each with why it is where it is; count them by state.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    if withdrawals:
        if state is not None or protocol == NATIVE:
            raise click.UsageError(
                "--withdrawals lists what sponsors of the Airnode asked back: give it without "
                "--state and --protocol"
            )
        asked = asyncio.run(newest_withdrawals(Settings.load(config), limit))
        if as_json:
            print_json({"withdrawals": asked})
        else:
            print_withdrawals(asked)
        return
    found, counts, pruned = asyncio.run(
        _list(Settings.load(config), State(state) if state else None, protocol, limit)
    )
    if as_json:
        print_json(
            {
                "counts": {str(name): count for name, count in counts.items()},
                "pruned": pruned,
                "requests": found,
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
    for heading in ("protocol", "index", "request", "requester", "block", "state", "reason"):
        table.add_column(heading, overflow="fold")
    for one in found:
        table.add_row(
            one["protocol"],
            str(one.get("index", "")),
            one["requestId"][:18] + "…",
            one["requester"],
            str(one["requestBlock"]),
            one["state"],
            one["reason"],
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
    prefix = prefix_of(request_id)
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    document, history, entropy = asyncio.run(_show(Settings.load(config), prefix))
    document["entropy"] = entropy and _dated(entropy)
    document["history"] = [
        {
            "at": stamp(event.at),
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
            click.echo(f"{name}: {json.dumps(value) if isinstance(value, dict) else value}")
    for line in _entropy_lines(document["entropy"]):
        click.echo(line)
    for event in document["history"]:
        reason = f" ({event['reason']})" if event["reason"] else ""
        click.echo(f"  {event['at']}  {event['from'] or '·'} → {event['to']}{reason}")


async def _list(
    settings: Settings, state: State | None, protocol: str | None, limit: int
) -> tuple[list[dict[str, Any]], dict[State, int], int]:
    from oracle.cli import requests_airnode, requests_native  # noqa: PLC0415
    from oracle.store import airnode, retention  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.store import requests as store  # noqa: PLC0415
    from oracle.store.engine import Access, Database  # noqa: PLC0415

    counts: Counter[State] = Counter()
    pruned = 0
    # Each with when it was first seen.
    found: list[tuple[int, dict[str, Any]]] = []
    database = await Database.open(settings.database, Access.VISIT)
    try:
        async with database.read() as connection:
            if protocol != AIRNODE:
                for native in await store.newest(connection, state=state, limit=limit):
                    document = await requests_native.document_of(connection, settings, native)
                    found.append((native.created_at, document))
                counts.update(await store.count_by_state(connection))
                pruned += await retention.count(connection, airnode=False)
            if protocol != NATIVE:
                for one in await airnode.BOOK.newest(connection, state=state, limit=limit):
                    document = await requests_airnode.document_of(connection, settings, one)
                    found.append((one.created_at, document))
                counts.update(await airnode.BOOK.count_by_state(connection))
                pruned += await retention.count(connection, airnode=True)
    finally:
        await database.close()
    found.sort(key=lambda pair: pair[0], reverse=True)
    return [document for _, document in found[:limit]], dict(counts), pruned


async def _show(
    settings: Settings, prefix: bytes
) -> tuple[dict[str, Any], Sequence[Any], dict[str, Any] | None]:
    from oracle.store.engine import Access, Database  # noqa: PLC0415 - SQLAlchemy is slow to import

    database = await Database.open(settings.database, Access.VISIT)
    try:
        async with database.read() as connection:
            return await _found(connection, settings, prefix)
    finally:
        await database.close()


async def _found(
    connection: AsyncConnection, settings: Settings, prefix: bytes
) -> tuple[dict[str, Any], Sequence[Any], dict[str, Any] | None]:
    from oracle.cli import requests_airnode, requests_native  # noqa: PLC0415
    from oracle.store import airnode, retention, sources  # noqa: PLC0415 - SQLAlchemy
    from oracle.store import requests as store  # noqa: PLC0415
    from oracle.store.history import history  # noqa: PLC0415
    from oracle.store.seed_blocks import native_purpose  # noqa: PLC0415

    native = await store.by_prefix(connection, prefix)
    pruned = await retention.by_prefix(connection, prefix)
    asked = await airnode.BOOK.by_prefix(connection, prefix)
    if len(native) + len(pruned) + len(asked) > 1:
        raise OracleError(f"several requests begin with 0x{prefix.hex()}: give more digits")
    if native:
        key = native[0].request.key
        purpose = native_purpose(key.chain_id, key.contract, native[0].request.seed_index)
        document = await requests_native.document_of(connection, settings, native[0])
    elif pruned:
        key, index = pruned[0].key, pruned[0].seed_index
        if index is None:
            purpose = airnode.airnode_purpose(key)
            document = requests_airnode.tombstone(pruned[0])
        else:
            purpose = native_purpose(key.chain_id, key.contract, index)
            document = requests_native.tombstone(pruned[0])
    elif asked:
        key = asked[0].request.key
        purpose = airnode.airnode_purpose(key)
        document = await requests_airnode.document_of(connection, settings, asked[0])
    else:
        raise OracleError(
            f"no request begins with 0x{prefix.hex()}: `oracle requests list` shows the newest"
        )
    return (
        document,
        await history(connection, key),
        await sources.provenance_of(connection, purpose),
    )


def _dated(entropy: dict[str, Any]) -> dict[str, Any]:
    """
    Return what a seed was mixed from with readable times.
    """
    inputs = [
        {name: stamp(value) if name.endswith("At") else value for name, value in one.items()}
        for one in entropy["inputs"]
    ]
    return entropy | {"receivedAt": stamp(entropy["receivedAt"]), "inputs": inputs}


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
