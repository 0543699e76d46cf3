"""
`oracle devnet`: a local chain with everything on it, for as long as one likes.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from oracle.cli.until_told import run_until_told
from oracle.errors import ConfigError


@click.command(
    epilog="Example: oracle devnet --port 8545, then in another terminal "
    "python -c \"import json; print(json.load(open('deployments/31337.json'))['coordinator'])\""
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8545,
    show_default=True,
    help="Where the chain's JSON-RPC listens.",
)
@click.option(
    "--deployments",
    type=click.Path(path_type=Path),
    default=Path("deployments/31337.json"),
    show_default=True,
    help="File that appears when all is ready, with every address, and goes when the devnet ends.",
)
def devnet(port: int, deployments: Path) -> None:
    """
    Run a local chain with a coordinator and a node that serves it, until Ctrl-C.

    It is anvil with one block per second, beside it a simulated QRNG service and an example
    consumer.
    Your contracts get real callbacks, as they will on a live chain; only the entropy is simulated.
    """
    from oracle.devnet.processes import find_anvil, require_free  # noqa: PLC0415 - not needed for --help

    require_free(port, "--port")
    find_anvil()
    try:
        deployments.parent.mkdir(parents=True, exist_ok=True)
        deployments.touch()
        deployments.unlink()
    except OSError as error:
        raise ConfigError(f"{deployments} cannot be written: {error.strerror}") from None
    with suppress(click.Abort):
        # Being told to end is how a devnet ends.
        run_until_told(_devnet(port, deployments))


async def _devnet(port: int, deployments: Path) -> None:
    from oracle.devnet.network import PLAYER_KEY, Devnet, Ground  # noqa: PLC0415 - web3 is slow

    with tempfile.TemporaryDirectory(prefix="oracle-devnet-") as folder:
        async with (
            Ground(Path(folder), port=port, say=click.echo) as ground,
            Devnet(Path(folder), ground, airnode=True) as network,
        ):
            text = json.dumps(network.deployment.document(), indent=2) + "\n"
            draft = deployments.with_name(deployments.name + ".new")
            draft.write_text(text, encoding="utf-8")
            draft.replace(deployments)
            try:
                click.echo(
                    f"ready: {deployments}\n{text}"
                    f"An account with funds: {network.player().address}, its key {PLAYER_KEY}.\n"
                    "What the node says of requests: oracle requests list --config "
                    f"{Path(folder) / 'oracle.toml'}\n"
                    "Ctrl-C ends it."
                )
                while True:
                    for process in (ground.anvil, ground.gateway, network.node):
                        if process is not None:
                            process.check()
                    await asyncio.sleep(1)
            finally:
                deployments.unlink(missing_ok=True)
