"""
`oracle gateway`: QRNG APIs over HTTP.
"""

from __future__ import annotations

import asyncio

import click

from oracle.errors import ConfigError


@click.command(
    epilog="Example: oracle gateway --simulate --port 8600, "
    "then curl -H 'x-api-key: any' 'http://127.0.0.1:8600/anu?length=4&type=hex16&size=10'"
)
@click.option("--port", type=click.IntRange(1, 65535), default=8600, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--simulate",
    is_flag=True,
    help="Serve labelled entropy of the operating system: for devnets, never for money.",
)
def gateway(port: int, host: str, *, simulate: bool) -> None:
    """
    Speak the APIs of ANU (old and new), QRNG Open API, Qrypt and QCI, so that a client of those
    services works with only its base URL changed.

    They are under /anu, /qrng-open-api, /qrypt and /qci, their description under /docs.
    """
    if not simulate:
        raise ConfigError("this version of the gateway only simulates: add --simulate")
    from oracle.gateway.app import create_app  # noqa: PLC0415 - FastAPI is slow to import
    from oracle.gateway.server import serve  # noqa: PLC0415
    from oracle.gateway.simulator import Simulator  # noqa: PLC0415

    asyncio.run(serve(create_app(Simulator(), faults=True), host, port))
