"""
`oracle run`: puts the node together, after making sure that it can work.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oracle import log
from oracle.cli.options import config_option, load_pool_key, log_json_option
from oracle.errors import EndpointError

if TYPE_CHECKING:
    from oracle.cli.airnodes import ConfiguredAirnode
    from oracle.cli.chains import ConfiguredChain
    from oracle.config import Settings
    from oracle.runner import Runner

_SWITCH_SECONDS = 0.0005


@click.command(epilog="Example: oracle run --config oracle.toml")
@config_option
@click.option("--verbose", is_flag=True, help="Log every pass over the chain.")
@log_json_option
def run(config: Path, *, verbose: bool, log_json: bool) -> None:
    """
    Run the node until SIGINT or SIGTERM: watch, commit, fulfill.

    Everything that it would need is checked first, and it refuses to start with one sentence if
    anything is missing. Killing it at any moment loses nothing.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    log.configure("debug" if verbose else "info", json=log_json)
    # A commit's thread waits so long at most for a busy event loop to give way.
    sys.setswitchinterval(_SWITCH_SECONDS)
    asyncio.run(_run(Settings.load(config)))


async def _run(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        runner = await compose(settings, stack)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, runner.stop)
        log.get().info("node_started")
        await runner.run()
        log.get().info("node_stopped")


async def compose(settings: Settings, stack: AsyncExitStack, *, alone: bool = False) -> Runner:
    """
    Check everything that the configuration claims and build the node from it, one that shares the
    database with no other if it is to be alone.

    Raises `ConfigError` or `PoolKeyError` for what a person has to correct. A chain that does not
    answer is named, and tried again while the others are served.
    """
    from oracle.cli import claims  # noqa: PLC0415 - eth_hash is slow to import
    from oracle.cli.airnodes import configured_airnodes  # noqa: PLC0415
    from oracle.cli.chains import configured_chains  # noqa: PLC0415 - web3 is slow to import
    from oracle.cli.sources import compose_supplies  # noqa: PLC0415
    from oracle.membership import Membership, SharedMembership  # noqa: PLC0415
    from oracle.runner import Runner  # noqa: PLC0415
    from oracle.store.engine import Access, Database  # noqa: PLC0415
    from oracle.store.pool import Pool  # noqa: PLC0415
    from oracle.store.soundness import check_sound  # noqa: PLC0415

    key, epoch = load_pool_key(settings.pool)
    epoch.check_writable()
    chains = configured_chains(settings.chains, stack, keep_days=settings.keep_days)
    airnodes = configured_airnodes(settings.airnode, stack, keep_days=settings.keep_days)
    devnet = settings.devnet
    supplies = compose_supplies(settings, key, stack, allow_simulated=devnet)
    everything: list[ConfiguredChain | ConfiguredAirnode] = [*chains, *airnodes]
    answering = [chain for chain in everything if await _answers(chain)]

    if isinstance(settings.database, Path) and not settings.database.exists():
        claims.check_not_lost(str(settings.database), epoch)
    database = await Database.open(settings.database, Access.SOLE if alone else Access.NODE)
    stack.push_async_callback(database.close)
    async with database.read() as connection:
        await check_sound(connection)
    pool = Pool(key, epoch)
    if not devnet:
        async with database.read() as connection:
            await claims.check_not_simulated(connection, pool, database.name)
    membership = Membership(database, pool)
    if database.is_shared:
        epoch.hold()
        membership = SharedMembership(database, pool)
    if dropped := await pool.unlock(database, vouched=await membership.is_vouched()):
        log.get().warning(
            "backup_detected",
            blocks_dropped=dropped,
            advice="the epoch file is ahead of the database: unbound entropy was destroyed, it "
            "may be used already",
        )
    if not database.is_shared:
        for chain in answering:
            with suppress(EndpointError):  # it is tried again
                await chain.connect(database, pool)
    return Runner(
        membership,
        pool,
        supplies,
        chains,
        airnodes,
        fresh=settings.pool.fresh,
        poll_seconds=settings.poll_seconds,
        max_age_hours=settings.pool.max_age_hours,
    )


async def _answers(chain: ConfiguredChain | ConfiguredAirnode) -> bool:
    try:
        await chain.check()
    except EndpointError as error:
        log.get().warning("chain_unreachable", chain=chain.name, error=str(error))
        return False
    return True
