"""
What the verbs share with which a person spends or decides: where, with which key, the question
before, and the receipt after.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from oracle.cli.options import load_signer
from oracle.errors import ChainError, ConfigError, DatabaseLockedError, OracleError
from oracle.given import checked_address, checked_endpoint, read_secret_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner, UnsignedTransaction
    from oracle.config import ChainSettings, Settings
    from oracle.evm import Receipt
    from oracle.store.engine import Database

_DEFAULT_CONFIG = Path("oracle.toml")
# Precompiled contracts and what chains put beside them: nobody has their keys.
_LOWEST_ACCOUNT = 1 << 16
_ETHER = 10**18

yes_option = click.option("--yes", is_flag=True, help="Do it without asking.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    The chain that a verb acts on, from a configuration or from the command line.
    """

    rpc_url: str = field(repr=False)
    option: str  # where the endpoint and the chain id were named
    chain_name: str | None = None
    chain: ChainSettings | None = None
    settings: Settings | None = None


payer_option = click.option(
    "--keystore",
    type=click.Path(path_type=Path),
    help="Encrypted keystore file of the wallet that acts; its password is asked for, or read "
    "from ORACLE_WALLET_PASSWORD or ORACLE_WALLET_PASSWORD_FILE. Default: the key in "
    "ORACLE_WALLET_KEY or ORACLE_WALLET_KEY_FILE, else the configuration's wallet.",
)


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add `--config`, `--chain` and `--rpc-url`.
    """
    for option in (
        click.option(
            "--rpc-url",
            envvar="ORACLE_RPC_URL",
            help="JSON-RPC endpoint of the chain, instead of a configuration; or set "
            "ORACLE_RPC_URL.",
        ),
        click.option("--chain", help="Its [chains.NAME] in the configuration, if it has several."),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="The configuration file. Default, without --rpc-url: oracle.toml.",
        ),
    ):
        function = option(function)
    return function


def find_place(
    config: Path | None, chain: str | None, rpc_url: str | None, *, several: bool = False
) -> Place:
    """
    Return where to act. A configuration that was named wins over an endpoint in the environment;
    with `several` its first chain stands for all, an Airnode's where there is no coordinator.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    given = click.get_current_context().get_parameter_source("rpc_url")
    if config is not None and given is ParameterSource.COMMANDLINE:
        raise ConfigError("--config and --rpc-url exclude each other: one says where to act")
    if rpc_url is not None and config is None:
        if chain is not None:
            raise ConfigError("--chain names a part of a configuration: give --config too")
        return Place(rpc_url=checked_endpoint(rpc_url, "--rpc-url"), option="--rpc-url")
    path = config or _DEFAULT_CONFIG
    settings = Settings.load(path)
    if several and chain is None:
        return _first_place(settings)
    return configured_place(settings, chosen_chain(settings, path, chain))


def _first_place(settings: Settings) -> Place:
    if settings.chains:
        return configured_place(settings, next(iter(settings.chains)))
    assert settings.airnode is not None
    return airnode_place(settings, next(iter(settings.airnode.chains)))


def airnode_place(settings: Settings, name: str) -> Place:
    """
    Return a chain of a configuration's Airnode.
    """
    assert settings.airnode is not None
    option = f"airnode.chains.{name}"
    url = settings.airnode.chains[name].endpoints[0].get_secret_value()
    return Place(
        rpc_url=checked_endpoint(url, f"{option}.endpoints"),
        option=option,
        chain_name=f"airnode.{name}",
        settings=settings,
    )


def chosen_chain(settings: Settings, path: Path, chain: str | None) -> str:
    """
    Return the name of the coordinator's chain that is meant.

    Raises `ConfigError` when there is none, or when it is not clear which.
    """
    check_coordinators(settings, path)
    if chain is None and len(settings.chains) > 1:
        raise ConfigError(f"say which --chain: {', '.join(settings.chains)}")
    name = chain or next(iter(settings.chains))
    if name not in settings.chains:
        raise ConfigError(
            f"there is no [chains.{name}] in {path}: known are {', '.join(settings.chains)}"
        )
    return name


def check_coordinators(settings: Settings, path: Path) -> None:
    """
    Raise `ConfigError` when a configuration has an Airnode alone: this verb is for coordinators.
    """
    if not settings.chains:
        raise ConfigError(
            f"there is no coordinator in {path}, which serves an Airnode alone: name one in a "
            "section [chains.NAME] for this"
        )


def configured_place(settings: Settings, name: str) -> Place:
    """
    Return a chain of a configuration.
    """
    chain = settings.chains[name]
    return Place(
        rpc_url=checked_endpoint(
            chain.endpoints[0].get_secret_value(), f"chains.{name}.endpoints"
        ),
        option=f"chains.{name}",
        chain_name=name,
        chain=chain,
        settings=settings,
    )


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[tuple[Web3Reader, int]]:
    """
    Yield a reader of the place's chain, and the chain's id.

    Raises `ConfigError` when the endpoint serves another chain than the configuration says.
    """
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - web3 is slow to import

    reader = Web3Reader(place.rpc_url)
    try:
        actual = await reader.chain_id()
        if place.chain is not None and place.chain.chain_id != actual:
            raise ConfigError(
                f"{place.option}.chain_id is {place.chain.chain_id}, but {reader.name} serves "
                f"chain {actual}: correct one of them"
            )
        yield reader, actual
    finally:
        await reader.close()


def load_payer(place: Place, keystore: Path | None) -> LocalSigner:
    """
    Load the wallet that was named, else the one of the configuration.
    """
    from oracle.cli.chains import configured_signer  # noqa: PLC0415 - eth_hash is slow to import

    named = keystore or any(
        os.environ.get(name) for name in ("ORACLE_WALLET_KEY", "ORACLE_WALLET_KEY_FILE")
    )
    if named or place.chain is None or place.chain_name is None:
        return load_signer(keystore)
    return configured_signer(place.chain_name, place.chain)


def configured_address(place: Place) -> str:
    """
    Return the configured wallet's address; for a keystore file without its password.
    """
    from oracle.chain.wallets import keystore_address  # noqa: PLC0415 - web3 is slow to import
    from oracle.cli.chains import configured_signer  # noqa: PLC0415

    assert place.chain is not None
    assert place.chain_name is not None
    if (keystore := place.chain.wallet.keystore) is not None:
        return keystore_address(read_secret_file(keystore), keystore)
    return configured_signer(place.chain_name, place.chain).address


@asynccontextmanager
async def node_stopped(place: Place) -> AsyncIterator[Database | None]:
    """
    Keep the node of the place's configuration from running, and yield its database. Without a
    configuration nothing is known of a node.

    Raises `ConfigError` while it runs.
    """
    from oracle.store.engine import Access, Database  # noqa: PLC0415 - SQLAlchemy is slow to import

    if place.settings is None:
        yield None
        return
    try:
        database = await Database.find(place.settings.database, Access.ACT)
    except DatabaseLockedError:
        raise ConfigError(
            f"the node of {place.settings.database} runs and signs with its own nonces: stop it "
            "first"
        ) from None
    try:
        yield database
    finally:
        if database is not None:
            await database.close()


async def left_to_serve(place: Place, wallet: str, database: Database, reader: Web3Reader) -> int:
    """
    Return how many requests a stopped node has still to serve.

    Raises `ChainError` when it left transactions of the wallet behind that the chain has not taken
    yet.
    """
    from oracle.request import State  # noqa: PLC0415 - not needed for --help
    from oracle.store import requests, transactions  # noqa: PLC0415
    from oracle.store.transactions import SlotState  # noqa: PLC0415

    assert place.chain is not None
    chain_id, contract = place.chain.chain_id, place.chain.coordinator
    unserved = (State.OBSERVED, State.CONFIRMED, State.DRAWN, State.SIGNED, State.SENT)
    async with database.read() as connection:
        slots = await transactions.slots_of(connection, chain_id, wallet)
        waiting = await requests.in_states(connection, chain_id, contract, unserved, limit=None)
    mined = await reader.nonce(wallet)
    in_flight = sum(
        slot.nonce >= mined and slot.state in {SlotState.SIGNED, SlotState.SENT} for slot in slots
    )
    if in_flight:
        raise ChainError(
            f"the node left {in_flight} transactions that the chain has not taken yet: run it "
            "until they are mined"
        )
    return len(waiting)


def checked_recipient(text: str, option: str) -> str:
    """
    Return an address that is about to get money or a role.

    Raises `ConfigError` unless it is written with its checksum and can be somebody's.
    """
    address = checked_address(text, option)
    if int(address, 16) < _LOWEST_ACCOUNT:
        raise ConfigError(f"{option} {text}: nobody has the key of this address")
    if text != address:
        raise ConfigError(
            f"{option} {text} has no checksum, so that a typing error would go unseen: copy the "
            "address from where it shows capital and small letters"
        )
    return address


async def describe(reader: Web3Reader, address: str) -> str:
    """
    Return the address with a word on what is there: the last chance to see a wrong one.
    """
    if await reader.code(address):
        return f"{address} (a contract)"
    if not await reader.nonce(address) and not await reader.balance(address):
        return f"{address} (never used on this chain)"
    return address


def ether(wei: int) -> str:
    """
    Return an amount in ether, exactly.
    """
    sign, digits = "-" if wei < 0 else "", f"{abs(wei):019d}"
    return f"{sign}{digits[:-18]}.{digits[-18:]}".rstrip("0").rstrip(".") + " ether"


def wei_of(amount: Decimal, option: str) -> int:
    """
    Return an amount of ether in wei; raises `ConfigError` unless it is a positive number of them.
    """
    if not amount.is_finite() or amount <= 0 or amount >= Decimal(10) ** 27:
        raise ConfigError(f"{option} {amount} is no amount of ether")
    numerator, denominator = amount.as_integer_ratio()
    if numerator * _ETHER % denominator:
        raise ConfigError(f"{option} {amount} has more than 18 decimals")
    return numerator * _ETHER // denominator


def confirm(
    lines: Sequence[tuple[str, str]], *, yes: bool, refused: str = "nothing was sent"
) -> None:
    """
    Say on stderr what is about to happen, and ask.

    Raises `ConfigError` where nobody can answer, `OracleError` when the answer is no.
    """
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{name:<{width}}  {value}", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("nobody is here to be asked: add --yes to do it")
    if not click.confirm("Do it?", err=True):
        raise OracleError(refused)


def fee_limit(transaction: UnsignedTransaction) -> int:
    """
    Return the most that a transaction's gas can cost, in wei.
    """
    return transaction.gas_limit * transaction.fees.max_fee


async def carry_out(
    reader: Web3Reader, signer: LocalSigner, transaction: UnsignedTransaction
) -> Receipt:
    """
    Send a transaction, name it on stderr at once, and return its receipt.
    """
    from oracle.chain.transact import send, wait_for  # noqa: PLC0415 - web3 is slow to import

    sent = await send(reader, signer, transaction)
    click.echo(f"sent 0x{sent.hex()}, waiting for its block …", err=True)
    return await wait_for(reader, sent)
