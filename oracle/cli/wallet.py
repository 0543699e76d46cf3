"""
`oracle wallet`: keys in encrypted files, and what is in the accounts.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.acts import (
    Place,
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
from oracle.cli.options import environment_secret, json_option, print_json
from oracle.config import checked_address, read_secret_file
from oracle.errors import ChainError, ConfigError, EndpointError

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner

_MIN_PASSWORD = 8
# The fulfillment by which `balances` says how far the money goes.
_TYPICAL_CALLBACK_GAS = 100_000

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; never overwritten.",
)


@click.group()
def wallet() -> None:
    """
    Keep the wallets that commit and fulfill.
    """


@wallet.command(epilog="Example: oracle wallet create --out keys/operator.json")
@out_option
@json_option
def create(out: Path, *, as_json: bool) -> None:
    """
    Create a key and write it, encrypted, to a keystore file (mode 0600).

    The password is asked for, or read from ORACLE_WALLET_PASSWORD or ORACLE_WALLET_PASSWORD_FILE.
    Without it the key is lost: there is no other copy.
    """
    from oracle.chain.wallets import create_keystore  # noqa: PLC0415 - web3 is slow to import

    _check_free(out)
    address, text = create_keystore(_new_password())
    write_secret_file(out, text)
    _tell_written(address, out, as_json=as_json)


@wallet.command(
    "import",
    epilog="Example: oracle wallet import --from old-key --out keys/operator.json",
)
@out_option
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file that holds the key or the mnemonic, or - for standard input. Without it: "
    "ORACLE_WALLET_KEY or ORACLE_WALLET_MNEMONIC, or either with _FILE; else it is asked for.",
)
@click.option(
    "--path",
    default=None,
    help="Derivation path of a mnemonic. Default: m/44'/60'/0'/0/0, the first account.",
)
@click.argument("refused", nargs=-1, type=click.UNPROCESSED, metavar="")
@json_option
def import_(
    out: Path, source: Path | None, path: str | None, refused: tuple[str, ...], *, as_json: bool
) -> None:
    """
    Write a key that you have to an encrypted keystore file (mode 0600).

    It is 64 hexadecimal digits, or a BIP-39 mnemonic with a derivation path; the passphrase of a
    mnemonic is read from ORACLE_WALLET_PASSPHRASE or ORACLE_WALLET_PASSPHRASE_FILE. Neither is
    ever given on the command line, which other users and the shell's history see.
    """
    from oracle.chain import wallets  # noqa: PLC0415 - web3 is slow to import

    if refused:
        # Not repeated: it may be a key.
        raise ConfigError(
            "no key is taken from the command line, where other users and the shell's history see "
            "it: if that was one, it has leaked; name a file that holds it with --from"
        )
    _check_free(out)
    text = _key_text(source)
    mnemonic = len(text.split()) > 1
    if path is not None and not mnemonic:
        raise ConfigError("--path is for a mnemonic, and this is a key")
    if mnemonic:
        passphrase = environment_secret("ORACLE_WALLET_PASSPHRASE") or ""
        signer = wallets.from_mnemonic(text, path or wallets.FIRST_ACCOUNT, passphrase)
    else:
        signer = wallets.from_private_key(text)
    if signer.address in wallets.WELL_KNOWN:
        click.echo(
            f"warning: {signer.address} is a well-known test key, anybody can spend what it has",
            err=True,
        )
    write_secret_file(out, signer.keystore(_new_password()))
    _tell_written(signer.address, out, as_json=as_json)


@wallet.command(epilog="Example: oracle wallet show --keystore keys/operator.json --open")
@click.option(
    "--keystore",
    type=click.Path(path_type=Path),
    required=True,
    help="The encrypted keystore file.",
)
@click.option("--open", "try_password", is_flag=True, help="Check that the password opens it.")
@json_option
def show(keystore: Path, *, try_password: bool, as_json: bool) -> None:
    """
    Show the address of a keystore file; its password is needed only with --open.
    """
    from oracle.chain import wallets  # noqa: PLC0415 - web3 is slow to import

    text = read_secret_file(keystore)
    address = wallets.keystore_address(text, keystore)
    if try_password:
        held = wallets.from_keystore(text, _password(), keystore).address
        if held != address:
            raise ConfigError(f"{keystore} names {address}, but holds the key of {held}")
    if as_json:
        print_json({"address": address, "keystore": str(keystore), "opened": try_password})
    else:
        click.echo(f"{address}{', opened by this password' if try_password else ''}")


@wallet.command(epilog="Example: oracle wallet balances --config oracle.toml")
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
    Show what the node's wallets have on every chain, and how many fulfillments that pays for.

    With --keystore or --address: what that account has.
    """
    from oracle.chain.wallets import keystore_address  # noqa: PLC0415 - web3 is slow to import

    if keystore is not None and address is not None:
        raise ConfigError("--keystore and --address exclude each other: one account")
    account = None if address is None else checked_address(address, "--address")
    if keystore is not None:
        account = keystore_address(read_secret_file(keystore), keystore)
    place = find_place(config, chain, rpc_url, several=True)
    places = [place]
    if place.settings is not None and chain is None:
        places = [configured_place(place.settings, name) for name in place.settings.chains]
    if account is None and places[0].chain is None:
        raise ConfigError("say whose balance: give --address or --keystore, or a --config")
    rows = asyncio.run(_balances(places, account))
    if as_json:
        print_json(rows)
    else:
        _print_balances(rows)
    failed = [row["chain"] for row in rows if "error" in row]
    if failed:
        raise ChainError(f"not every chain answered: {', '.join(map(str, failed))}")


async def _balances(places: list[Place], account: str | None) -> list[dict[str, Any]]:
    rows = []
    for place in places:
        address = account or configured_address(place)
        try:
            async with opened(place) as (reader, chain_id):
                row = await _balance(place, reader, chain_id, address)
        except EndpointError as error:
            row = {"chain": place.chain_name, "address": address, "error": str(error)}
        rows.append(row)
    return rows


async def _balance(
    place: Place, reader: Web3Reader, chain_id: int, address: str
) -> dict[str, Any]:
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
    for row in rows:
        name = row["chain"] or f"chain {row['chainId']}"
        if "error" in row:
            click.echo(f"{name}: {row['error']}")
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


@wallet.command(
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
            lines.append(
                ("note", f"{unserved} requests still wait for the node, which cannot pay then")
            )
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


def _key_text(source: Path | None) -> str:
    """
    Return the key or mnemonic to import. No error repeats what was given for it.
    """
    if source is not None and str(source) == "-":
        text = sys.stdin.read().strip()
        if not text:
            raise ConfigError("standard input holds no key")
        return text
    if source is not None:
        try:
            known = source.is_file()
        except OSError:
            known = False  # too long a name
        if not known:
            # Not repeated: it may be the key itself.
            raise ConfigError(
                "--from names no file: it takes the name of a file that holds the key, or - for "
                "standard input"
            )
        return read_secret_file(source)
    found = [
        text
        for name in ("ORACLE_WALLET_KEY", "ORACLE_WALLET_MNEMONIC")
        if (text := environment_secret(name)) is not None
    ]
    if len(found) > 1:
        raise ConfigError(
            "ORACLE_WALLET_KEY and ORACLE_WALLET_MNEMONIC exclude each other: unset one"
        )
    if found:
        return found[0]
    if not sys.stdin.isatty():
        raise ConfigError("there is no key: name a file that holds it with --from, - for stdin")
    text = click.prompt("Key or mnemonic", hide_input=True, err=True)
    return str(text).strip()


def _password() -> str:
    password = environment_secret("ORACLE_WALLET_PASSWORD")
    if password is None and not sys.stdin.isatty():
        raise ConfigError("there is no password: set ORACLE_WALLET_PASSWORD_FILE")
    return password or str(click.prompt("Password", hide_input=True, err=True))


def _new_password() -> str:
    password = environment_secret("ORACLE_WALLET_PASSWORD")
    if password is None and not sys.stdin.isatty():
        raise ConfigError("there is no password: set ORACLE_WALLET_PASSWORD_FILE")
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(password) < _MIN_PASSWORD:
        raise ConfigError(
            f"the password has fewer than {_MIN_PASSWORD} characters: choose a longer one"
        )
    return password


def _check_free(out: Path) -> None:
    if out.exists():
        raise ConfigError(f"{out} exists and is not overwritten: choose another file")
    if not out.parent.is_dir():
        raise ConfigError(f"there is no folder {out.parent}: create it first")


def _tell_written(address: str, out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"address": address, "keystore": str(out)})
    else:
        click.echo(f"{address}\nThe key is in {out}. Fund this address before the node uses it.")


def write_secret_file(path: Path, text: str) -> None:
    """
    Write a new file that only its owner can read. Raises `ConfigError` when it cannot be created.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} exists and is not overwritten: choose another file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
