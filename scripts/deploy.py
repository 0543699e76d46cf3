"""
`ape run deploy`: what `oracle deploy` does, with Ape's accounts on any network that Ape knows.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any, cast

import click
from ape.cli import ConnectedProviderCommand, account_option

from oracle.cli.deploy import checked_settings, fitted
from oracle.cli.deploy import deploy as verb
from scripts._chain import ApeReader, container, options_of, speaking

if TYPE_CHECKING:
    from ape.api import AccountAPI, ProviderAPI

    from oracle.chain.reader import Web3Reader


@click.command(
    cls=ConnectedProviderCommand,
    short_help="Deploy a QuantumCoordinator and print its address.",
    epilog="Example: ape run deploy --network ethereum:mainnet:node --account cold "
    "--operator 0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
    params=options_of(
        verb, "owner", "operator", "window", "ring_size", "flat_fee_gwei", "gas_margin_percent"
    ),
)
@account_option()
def cli(provider: ProviderAPI, account: AccountAPI, window: int | None, **settings: Any) -> None:
    """
    Deploy a QuantumCoordinator and print its address.

    The contract, its settings and the checks of the chain are those of `oracle deploy`. All limits
    are immutable; there is no proxy and no pause.
    """
    with speaking():
        if provider.network.is_local and provider.get_block("latest").number == 0:
            provider.mine()  # a chain that has just begun has no block to be checked
        reader = cast("Web3Reader", ApeReader(provider, account.address))
        contract, config = asyncio.run(
            fitted(reader, account.address, window, checked_settings(**settings))
        )
        coordinator = account.deploy(container(contract), dataclasses.astuple(config))
    click.echo(
        f"chainId: {provider.chain_id}\n"
        f"coordinator: {coordinator.address}\n"
        f"contract: {contract}\n"
        f"owner: {config.owner}\n"
        f"operator: {config.operator}\n"
        f"window: {config.window}"
    )
