"""
`oracle gateway`: QRNG APIs over HTTP.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oracle import faults, log
from oracle.cli.gateway_keys import config_option, keys, refuse_nodes_database
from oracle.cli.options import load_pool_key, log_json_option
from oracle.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from oracle.config import GatewaySettings
    from oracle.gateway.server import Tls

_PEM = click.Path(path_type=Path, dir_okay=False)


@click.group(
    invoke_without_command=True,
    epilog="Example: oracle gateway --simulate --port 8600, "
    "then curl -H 'x-api-key: any' 'http://127.0.0.1:8600/anu?length=4&type=hex16&size=10'",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8600, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@config_option
@click.option(
    "--simulate",
    is_flag=True,
    help="Serve labelled entropy of the operating system, to every key: for devnets, never for "
    "money.",
)
@click.option(
    "--allow-simulated",
    is_flag=True,
    help="Let sources of the configuration be simulators; every reply is then marked as "
    "simulated.",
)
@click.option("--tls-certificate", type=_PEM, help="Serve HTTPS with this certificate (PEM).")
@click.option("--tls-key", type=_PEM, help="The key of the certificate (PEM, no password).")
@click.option(
    "--tls-client-ca",
    type=_PEM,
    help="Let in only clients with a certificate of this authority (PEM).",
)
@log_json_option
@click.pass_context
def gateway(context: click.Context, /, **options: Any) -> None:
    """
    Speak the APIs of ANU (old and new), QRNG Open API, Qrypt and QCI, so that a client of those
    services works with only its base URL changed.

    They are under /anu, /qrng-open-api, /qrypt and /qci, their description under /docs. Entropy
    comes from a pool of the gateway's own (--config) or from a simulator (--simulate).
    """
    if context.invoked_subcommand is None:
        _serve(**options)


def _serve(  # noqa: PLR0913 - the options of the command
    *,
    host: str,
    port: int,
    config: Path | None,
    simulate: bool,
    allow_simulated: bool,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    log_json: bool,
) -> None:
    if simulate == (config is not None):
        raise ConfigError(
            "where is the entropy to come from? Give either --config FILE, for sources and a pool "
            "of its own, or --simulate"
        )
    if simulate and allow_simulated:
        raise ConfigError("--allow-simulated is for the sources of a --config: leave it out")
    log.configure("info", json=log_json)
    tls = _tls(tls_certificate, tls_key, tls_client_ca)
    if config is None:
        asyncio.run(_simulate(host, port, tls))
        return
    from oracle.config import GatewaySettings  # noqa: PLC0415 - pydantic is slow to import

    settings = GatewaySettings.load(config)
    asyncio.run(_serve_pool(settings, host, port, tls, allow_simulated=allow_simulated))


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("TLS needs both --tls-certificate and --tls-key")
    from oracle.gateway.server import Tls  # noqa: PLC0415 - FastAPI is slow to import

    return Tls(certificate, key, client_ca)


async def _simulate(host: str, port: int, tls: Tls | None) -> None:
    from oracle.gateway.app import create_app  # noqa: PLC0415 - FastAPI is slow to import
    from oracle.gateway.server import serve  # noqa: PLC0415
    from oracle.gateway.simulator import Simulator  # noqa: PLC0415

    await _supervise(serve(create_app(Simulator(), faults=True), host, port, tls))


async def _serve_pool(
    settings: GatewaySettings, host: str, port: int, tls: Tls | None, *, allow_simulated: bool
) -> None:
    from oracle.cli.sources import compose_supplies  # noqa: PLC0415 - pydantic is slow to import
    from oracle.gateway.app import create_app  # noqa: PLC0415 - so is FastAPI
    from oracle.gateway.pool_desk import PoolDesk  # noqa: PLC0415
    from oracle.gateway.server import serve  # noqa: PLC0415
    from oracle.gateway.supply import keep_filled  # noqa: PLC0415
    from oracle.steps.refill import refill  # noqa: PLC0415
    from oracle.store import clients  # noqa: PLC0415
    from oracle.store.engine import Access, Database  # noqa: PLC0415
    from oracle.store.pool import Pool  # noqa: PLC0415
    from oracle.store.replies import Replies  # noqa: PLC0415

    key, epoch = load_pool_key(settings.pool)
    epoch.check_writable()
    if allow_simulated:
        faults.arm()
    async with AsyncExitStack() as stack:
        supplies = compose_supplies(settings, key, stack, allow_simulated=allow_simulated)
        database = await Database.open(settings.database, Access.SOLE)
        stack.push_async_callback(database.close)
        await refuse_nodes_database(database)
        pool = Pool(key, epoch)
        if dropped := await pool.unlock(database):
            log.get().warning("backup_detected", blocks_dropped=dropped)
        if not allow_simulated and await Replies(database, pool).hold_simulated():
            raise ConfigError(
                f"the pool in {settings.database} holds simulated entropy: add --allow-simulated, "
                "or name another database"
            )
        async with database.read() as connection:
            if not await clients.by_digest(connection):
                log.get().warning(
                    "no_clients", advice="nobody can draw: create a key with `gateway key create`"
                )
        target, max_age = settings.pool.fresh, settings.pool.max_age_hours
        filling = partial(refill, database, pool, supplies, target, max_age_hours=max_age)
        desk = PoolDesk(database, pool, target_blocks=target, simulated=allow_simulated)
        await _supervise(
            serve(create_app(desk), host, port, tls),
            desk.run(),
            keep_filled(filling, desk.taken),
        )


async def _supervise(*work: Coroutine[None, None, None]) -> None:
    """
    Run the server, which comes first, and its keepers, until one ends or a signal says so.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    tasks = [asyncio.create_task(one) for one in (*work, _wait(told))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # The server goes first: it lets the replies that are under way be finished.
        for task in tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    for task in done:
        task.result()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


gateway.add_command(keys)
