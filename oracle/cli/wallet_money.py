"""
`oracle wallet balances` and `sweep`: what is in the accounts.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.acts import (
    Place,
    airnode_place,
    carry_out,
    checked_recipient,
    configured_address,
    configured_place,
    confirm,
    describe,
    ether,
    fee_limit,
    find_place,
    left_to_serve,
    load_payer,
    node_stopped,
    opened,
    payer_option,
    place_options,
    yes_option,
)
from oracle.cli.options import json_option, print_json
from oracle.cli.wallet_sponsors import print_sponsor, sponsor_balances
from oracle.cli.words import counted
from oracle.errors import ChainError, ConfigError, EndpointError
from oracle.given import checked_address, read_secret_file

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner

# The fulfillment by which `balances` says how far the money goes.
_TYPICAL_CALLBACK_GAS = 100_000


@click.command(epilog="Example: oracle wallet balances --config oracle.toml")
@place_options
@click.option(
    "--keystore",
    type=click.Path(path_type=Path),
    help="Of this keystore file's address; no password is needed.",
)
@click.option("--address", help="Of this address.")
@json_option
def balances(
    config: Path | None,
    chain: str | None,
    rpc_url: str | None,
    keystore: Path | None,
    address: str | None,
    *,
    as_json: bool,
) -> None:
    """
    Show what the node's wallets have on every chain, and how many fulfillments that pays for; and
    of an Airnode, which sponsor wallets have open requests, and what is missing in them.

    With --keystore or --address: what that account has.
    """
    from oracle.chain.wallets import keystore_address  # noqa: PLC0415 - web3 is slow to import

    if keystore is not None and address is not None:
        raise ConfigError("--keystore and --address exclude each other: one account")
    account = None if address is None else checked_address(address, "--address")
    if keystore is not None:
        account = keystore_address(read_secret_file(keystore), keystore)
    place = find_place(config, chain, rpc_url, several=True)
    if account is None and place.settings is None:
        raise ConfigError("say whose balance: give --address or --keystore, or a --config")
    places = _places(place) if chain is None else [place]
    rows = asyncio.run(_balances(places, account))
    if account is None and chain is None and place.settings is not None:
        rows += asyncio.run(sponsor_balances(place.settings))
    if as_json:
        print_json(rows)
    else:
        _print_balances(rows)
    failed = [row["chain"] for row in rows if "error" in row]
    if failed:
        raise ChainError(f"not every chain answered: {', '.join(map(str, failed))}")


def _places(place: Place) -> list[Place]:
    """
    Return all chains of a place's configuration.
    """
    settings = place.settings
    if settings is None:
        return [place]
    return [configured_place(settings, name) for name in settings.chains] or [
        airnode_place(settings, name)
        for name in (settings.airnode.chains if settings.airnode else ())
    ]


async def _balances(places: list[Place], account: str | None) -> list[dict[str, Any]]:
    rows = []
    for place in places:
        if account is None and place.chain is None:
            continue  # an Airnode has no wallet of its own
        address = account or configured_address(place)
        try:
            async with opened(place) as (reader, chain_id):
                row = await balance_of(place, reader, chain_id, address)
        except EndpointError as error:
            row = {"chain": place.chain_name, "address": address, "error": str(error)}
        rows.append(row)
    return rows


async def balance_of(
    place: Place, reader: Web3Reader, chain_id: int, address: str
) -> dict[str, Any]:
    """
    Return what an account has, and how many typical fulfillments that pays for.
    """
    from oracle.chain.probe import rollup_fee  # noqa: PLC0415 - web3 is slow to import
    from oracle.chain.transact import pending_nonce  # noqa: PLC0415
    from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415

    # A typical one alone: all of its gas limit, and 516 bytes of calldata with what is around.
    gas = CoordinatorProtocol.single_gas(_TYPICAL_CALLBACK_GAS, 1)
    tip = 10**8 if place.chain is None else int(place.chain.priority_fee_gwei * 10**9)
    base_fee = (await reader.block()).base_fee
    cost = gas * (base_fee + tip) + await rollup_fee(reader, 580, gas)
    balance = await reader.balance(address)
    return {
        "chain": place.chain_name,
        "chainId": chain_id,
        "address": address,
        "balanceWei": balance,
        "nonce": await reader.nonce(address),
        "pendingNonce": await pending_nonce(reader, address),
        "baseFeeWei": base_fee,
        "fulfillmentWei": cost,
        "fulfillments": balance // cost if cost else None,
    }


def _print_balances(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("no sponsor wallet has open requests")
    for row in rows:
        name = row["chain"] or f"chain {row['chainId']}"
        if "error" in row:
            click.echo(f"{name}: {row['error']}")
            continue
        if "sponsor" in row:
            print_sponsor(row)
            continue
        in_flight = row["pendingNonce"] - row["nonce"]
        click.echo(
            f"{name}: {row['address']} has {ether(row['balanceWei'])}; next nonce "
            f"{row['nonce']}, {in_flight} in flight"
        )
        if row["fulfillments"] is not None:
            click.echo(
                f"  enough for {row['fulfillments']} fulfillments of one word and "
                f"{_TYPICAL_CALLBACK_GAS} callback gas, each alone, at a base fee of "
                f"{row['baseFeeWei'] / 10**9:.9g} gwei"
            )


@click.command(
    epilog="Example: oracle wallet sweep --config oracle.toml "
    "--to 0x5FbDB2315678afecb367f032d93F642f64180aa3"
)
@place_options
@payer_option
@click.option("--to", required=True, help="Who gets it, written with its checksum.")
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Wei to leave behind.",
)
@yes_option
@json_option
def sweep(  # noqa: PLR0913 - one parameter per option
    config: Path | None,
    chain: str | None,
    rpc_url: str | None,
    keystore: Path | None,
    to: str,
    keep: int,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Send everything that a wallet has to another account; only the gas is spent.

    Refused while the node of the configuration runs, or the wallet has transactions in flight.
    """
    recipient = checked_recipient(to, "--to")
    place = find_place(config, chain, rpc_url)
    signer = load_payer(place, keystore)
    if recipient == signer.address:
        raise ConfigError(f"--to {to} is the wallet itself")
    result = asyncio.run(_sweep(place, signer, recipient, keep, yes=yes))
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"{ether(result['amountWei'])} went to {recipient} in {result['transaction']}; "
            f"{ether(result['leftWei'])} stayed"
        )


async def _sweep(
    place: Place, signer: LocalSigner, recipient: str, keep: int, *, yes: bool
) -> dict[str, Any]:
    from oracle.chain.transact import prepare_sweep  # noqa: PLC0415 - web3 is slow to import

    async with node_stopped(place) as database, opened(place) as (reader, chain_id):
        unserved = await left_to_serve(place, signer.address, database, reader) if database else 0
        transfer = await prepare_sweep(reader, signer.address, recipient, keep=keep)
        lines = [
            ("send", ether(transfer.value)),
            ("from", signer.address),
            ("to", await describe(reader, recipient)),
            ("chain", f"{chain_id} ({reader.name})"),
            ("fee", f"at most {ether(fee_limit(transfer))}"),
        ]
        if unserved:
            waiting = counted(unserved, "request")
            lines.append(("note", f"the node has {waiting} to serve, and cannot pay then"))
        confirm(lines, yes=yes)
        receipt = await carry_out(reader, signer, transfer)
        return {
            "chainId": chain_id,
            "from": signer.address,
            "to": recipient,
            "amountWei": transfer.value,
            "leftWei": await reader.balance(signer.address),
            "transaction": "0x" + receipt.transaction_hash.hex(),
            "gasUsed": receipt.gas_used,
            "feeWei": receipt.gas_used * receipt.gas_price,
        }
