"""
`oracle recover`: a new database after the old one was lost, with all that the chain remembers.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import click

from oracle import log
from oracle.cli.acts import confirm, yes_option
from oracle.cli.options import (
    config_option,
    json_option,
    load_pool_key,
    log_json_option,
    print_json,
)
from oracle.cli.words import counted
from oracle.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.airnode_service import AirnodeService
    from oracle.cli.airnodes import ConfiguredAirnode
    from oracle.cli.chains import ConfiguredChain
    from oracle.config import Settings
    from oracle.coordinator_service import Service
    from oracle.store.engine import Database
    from oracle.store.pool import Pool

_ETHER = 10**18


@click.command(epilog="Example: oracle recover --config oracle.toml")
@config_option
@yes_option
@json_option
@log_json_option
def recover(config: Path, *, yes: bool, as_json: bool, log_json: bool) -> None:
    """
    Make a new database from the chain alone, after the old one was lost for good.

    Requests, their fulfillments and what they cost come back. Seeds do not: those that were
    committed and not revealed were in the database only. This says which requests will be refunded
    because of that, and what is to be done before new ones are served. Where there is a backup,
    restore that instead: see docs/operating.md. Nothing is sent.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    log.configure("info", json=log_json)
    document = asyncio.run(_recover(Settings.load(config), yes=yes))
    if as_json:
        print_json(document)
    else:
        _show(document)


async def _recover(settings: Settings, *, yes: bool) -> dict[str, Any]:
    from oracle.cli.airnodes import configured_airnodes  # noqa: PLC0415
    from oracle.cli.chains import configured_chains  # noqa: PLC0415 - web3 is slow to import
    from oracle.store.engine import Access, Database  # noqa: PLC0415 - SQLAlchemy is slow too
    from oracle.store.pool import Pool  # noqa: PLC0415

    key, epoch = load_pool_key(settings.pool)
    epoch.check_writable()
    if await Database.exists(settings.database):
        raise ConfigError(
            f"there is a database at {settings.database}: start the node on it. If it is damaged, "
            "move it away and keep it: its seeds may still be read"
        )
    async with AsyncExitStack() as stack:
        chains = configured_chains(settings.chains, stack)
        airnodes = configured_airnodes(settings.airnode, stack)
        # An endpoint that is down would leave a part of the new database empty.
        for chain in chains:
            await chain.check()
        for airnode in airnodes:
            await airnode.check()
        lines = [
            ("database", f"a new one at {settings.database}, filled from the chain"),
            *(("coordinator", f"{one.name}: {one.settings.coordinator}") for one in chains),
            *(("airnode", f"{one.name}: {one.settings.contract}") for one in airnodes),
            ("lost", "every seed that was committed and not revealed yet; requests that hold one"),
            ("", "are refunded after their window"),
        ]
        if airnodes:
            lines.append(
                ("", "requests to the Airnode from before wait for `oracle requests release`")
            )
        confirm(lines, yes=yes, refused="no database was made")
        database = await Database.open(settings.database, Access.SOLE)
        stack.push_async_callback(database.close)
        pool = Pool(key, epoch)
        await pool.begin_anew(database)
        return {
            "database": str(settings.database),
            "coordinators": [await _coordinator(one, database, pool) for one in chains],
            "airnodes": [await _airnode(one, database, pool) for one in airnodes],
        }


async def _read(service: Service | AirnodeService) -> int:
    """
    Read a contract's whole history; return the head that it was read to.
    """
    from oracle.steps.settle import settle  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.steps.watch import watch  # noqa: PLC0415

    head = await service.reader.block()
    await watch(service, head)
    await settle(service, head)
    return head.number


async def _coordinator(link: ConfiguredChain, database: Database, pool: Pool) -> dict[str, Any]:
    from oracle.request import State  # noqa: PLC0415
    from oracle.store import requests  # noqa: PLC0415 - SQLAlchemy is slow to import

    service = await link.connect(database, pool)
    head = await _read(service)
    answer = await service.reader.call(service.contract, service.protocol.SEEDS)
    counters = service.protocol.decode_counters(answer)
    place = (service.chain_id, service.contract)
    async with database.read() as connection:
        counts = await service.book.count_by_state(connection, service.book.of(*place))
        open_ = await requests.in_states(
            connection, *place, [State.OBSERVED, State.CONFIRMED], limit=None
        )
    waiting = [one.request for one in open_]
    lost = counters.committed - counters.next
    roots = -(-service.runway // 256)
    return {
        "name": link.name,
        "chainId": service.chain_id,
        "coordinator": service.contract,
        "block": head,
        "requests": sum(counts.values()),
        "fulfilled": counts.get(State.MINED, 0) + counts.get(State.DONE, 0),
        "cancelled": counts.get(State.CANCELLED, 0),
        "refundable": [
            {
                "requestId": "0x" + request.key.request_id.hex(),
                "requester": request.requester,
                "feeWei": request.fee,
                "fromBlock": request.block_number + service.window + 1,
            }
            for request in waiting
        ],
        "refundWei": sum(request.fee for request in waiting),
        "lostSeeds": {"first": counters.next, "upTo": counters.committed, "count": lost},
        "newRoots": roots,
        "newRootsGas": service.protocol.commit_gas(roots),
    }


async def _airnode(link: ConfiguredAirnode, database: Database, pool: Pool) -> dict[str, Any]:
    from oracle.request import State  # noqa: PLC0415

    link.succeed = True
    service = await link.connect(database, pool)
    head = await _read(service)
    place = (service.chain_id, service.contract)
    async with database.read() as connection:
        counts = await service.book.count_by_state(connection, service.book.of(*place))
        open_ = await service.book.in_states(
            connection, *place, [State.OBSERVED, State.CONFIRMED], limit=None
        )
    return {
        "name": link.name,
        "chainId": service.chain_id,
        "airnodeRrp": service.contract,
        "fromBlock": service.start_block,
        "block": head,
        "requests": sum(counts.values()),
        "answered": counts.get(State.MINED, 0) + counts.get(State.DONE, 0),
        "waiting": ["0x" + one.request.key.request_id.hex() for one in open_],
    }


def _show(document: dict[str, Any]) -> None:
    click.echo(f"a new database is at {document['database']}")
    for one in document["coordinators"]:
        click.echo(f"\n{one['name']}: coordinator {one['coordinator']}, read to {one['block']}")
        click.echo(
            f"  {counted(one['requests'], 'request')}: {one['fulfilled']} fulfilled, "
            f"{one['cancelled']} cancelled, {len(one['refundable'])} that nobody can serve"
        )
        if one["refundable"]:
            blocks = [each["fromBlock"] for each in one["refundable"]]
            click.echo(
                f"  {one['refundWei'] / _ETHER} ETH of fees go back to their requesters, who can "
                f"cancel from block {min(blocks)} to {max(blocks)} on, each its own"
            )
        lost = one["lostSeeds"]
        if lost["count"]:
            click.echo(
                f"  {lost['count']} seeds that no request has taken are lost, from index "
                f"{lost['first']} on. Until they are discarded, new requests take them and are "
                f"not served: run `oracle coordinator discard --all` first, then start the node. "
                f"{one['newRoots']} new roots cost it at most {one['newRootsGas']} gas"
            )
    for one in document["airnodes"]:
        click.echo(f"\n{one['name']}: AirnodeRrpV0 {one['airnodeRrp']}, read to {one['block']}")
        click.echo(
            f"  {counted(one['requests'], 'request')} since block {one['fromBlock']}: "
            f"{one['answered']} answered, {len(one['waiting'])} open"
        )
        if one["waiting"]:
            click.echo(
                "  The lost database may have signed numbers for the open ones: look whether one "
                "was seen (in a mempool, at an endpoint), then `oracle requests release`"
            )
