"""
`oracle deploy`: a coordinator on a chain that can have one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.options import json_option, keystore_option, load_signer, print_json, rpc_option
from oracle.errors import ConfigError
from oracle.given import checked_address

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.chain.reader import Web3Reader
    from oracle.chain.transact import CoordinatorConfig
    from oracle.chain.wallets import LocalSigner


@click.command(
    epilog="Example: oracle deploy --rpc-url http://127.0.0.1:8545 --keystore keys/owner.json "
    "--operator 0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"
)
@rpc_option
@keystore_option
@click.option(
    "--owner", help="Cold: appoints the operator, withdraws. Default: the paying wallet."
)
@click.option("--operator", help="Hot: the node's wallet. Default: the paying wallet.")
@click.option(
    "--window",
    type=click.IntRange(64, 8191),
    help="Blocks in which a request can be fulfilled. Default: 8191 where the chain keeps that "
    "many block hashes "
    "(EIP-2935), else 256.",
)
@click.option(
    "--ring-size",
    type=click.IntRange(1, 1 << 20),
    default=256,
    show_default=True,
    help="Storage slots for pending requests.",
)
@click.option(
    "--flat-fee-gwei",
    type=click.IntRange(0, 10**9),
    default=0,
    show_default=True,
    help="Fee per request beside gas.",
)
@click.option(
    "--gas-margin-percent",
    type=click.IntRange(0, 500),
    default=120,
    show_default=True,
    help="Part of the gas costs that the fee covers.",
)
@json_option
def deploy(  # noqa: PLR0913, PLR0917 - one parameter per option
    rpc_url: str,
    keystore: Path | None,
    owner: str | None,
    operator: str | None,
    window: int | None,
    ring_size: int,
    flat_fee_gwei: int,
    gas_margin_percent: int,
    *,
    as_json: bool,
) -> None:
    """
    Deploy a QuantumCoordinator and print its address.

    On a rollup of the OP stack it is an OpStackCoordinator, whose fee covers L1 data too. A chain
    whose BLOCKHASH could be predicted is refused. All limits are immutable; there is no
    proxy and no pause.
    """
    settings = checked_settings(owner, operator, ring_size, flat_fee_gwei, gas_margin_percent)
    signer = load_signer(keystore)
    result = asyncio.run(_deploy(rpc_url, signer, window, settings))
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        click.echo(f"{name}: {value}")
    click.echo(
        f"\nFor the operator's oracle.toml, in its [chains.NAME]:\n"
        f'chain_id = {result["chainId"]}\ncoordinator = "{result["coordinator"]}"'
    )


def checked_settings(
    owner: str | None,
    operator: str | None,
    ring_size: int,
    flat_fee_gwei: int,
    gas_margin_percent: int,
) -> dict[str, Any]:
    """
    Return fields of `CoordinatorConfig`, without the addresses that were not given.

    Raises `ConfigError` naming the option that cannot be.
    """
    settings: dict[str, Any] = {
        name: checked_address(address, f"--{name}")
        for name, address in (("owner", owner), ("operator", operator))
        if address is not None
    }
    if ring_size & ring_size - 1:
        raise ConfigError(
            f"--ring-size {ring_size} is no power of 2: choose {1 << ring_size.bit_length()}"
        )
    return settings | {
        "ring_size": ring_size,
        "flat_fee_gwei": flat_fee_gwei,
        "gas_margin_bps": gas_margin_percent * 100,
    }


async def fitted(
    reader: Web3Reader, payer: str, window: int | None, settings: dict[str, Any]
) -> tuple[str, CoordinatorConfig]:
    """
    Return which contract fits the chain, and its configuration with the longest window unless one
    is given; whoever pays has the roles that `settings` give to nobody.

    Raises `ConfigError` for a chain that cannot have a coordinator, or not with such a window.
    """
    from oracle.chain.probe import is_op_stack, probe_block_hash  # noqa: PLC0415 - web3 is slow
    from oracle.chain.transact import CoordinatorConfig, longest_window  # noqa: PLC0415

    await probe_block_hash(reader)
    longest = await longest_window(reader)
    if window is not None and window > longest:
        raise ConfigError(
            f"this chain keeps {longest} block hashes: choose --window {longest} or less"
        )
    contract = "OpStackCoordinator" if await is_op_stack(reader) else "QuantumCoordinator"
    roles = {"owner": payer, "operator": payer}
    return contract, CoordinatorConfig(window=window or longest, **(roles | settings))


async def _deploy(
    rpc_url: str, signer: LocalSigner, window: int | None, settings: dict[str, Any]
) -> dict[str, object]:
    from oracle import artifacts  # noqa: PLC0415 - not needed for --help
    from oracle.chain import transact  # noqa: PLC0415 - web3 is slow to import
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415

    reader = Web3Reader(rpc_url)
    try:
        chain_id = await reader.chain_id()
        contract, config = await fitted(reader, signer.address, window, settings)
        artifact = artifacts.load(contract)
        address, receipt = await transact.deploy(reader, signer, artifact, config.encode())
    finally:
        await reader.close()
    return {
        "chainId": chain_id,
        "coordinator": address,
        "contract": contract,
        "deployedAt": receipt.block_number,
        "owner": config.owner,
        "operator": config.operator,
        "window": config.window,
        "transaction": "0x" + receipt.transaction_hash.hex(),
        "gasUsed": receipt.gas_used,
    }
