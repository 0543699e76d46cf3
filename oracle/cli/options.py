"""
Options that several verbs share, and how they are turned into objects.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oracle.errors import ConfigError, PoolKeyError
from oracle.given import checked_endpoint, read_secret_file, secret, variable_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.chain.wallets import LocalSigner
    from oracle.config import PoolSettings
    from oracle.store.seal import EpochFile, PoolKey

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout instead of text."
)

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("oracle.toml"),
    show_default=True,
    help="The configuration file.",
)


def _checked_url(_: click.Context, __: click.Parameter, url: str) -> str:
    return checked_endpoint(url, "--rpc-url")


rpc_option = click.option(
    "--rpc-url",
    callback=_checked_url,
    envvar="ORACLE_RPC_URL",
    required=True,
    help="JSON-RPC endpoint of the chain; or set ORACLE_RPC_URL.",
)

log_json_option = click.option(
    "--log-json", is_flag=True, help="Log one JSON document a line, on stderr."
)


def keystore_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add `--keystore`.
    """
    return click.option(
        "--keystore",
        type=click.Path(path_type=Path),
        help="Encrypted keystore file of the paying wallet; its password is asked for, or read "
        "from "
        "ORACLE_WALLET_PASSWORD or ORACLE_WALLET_PASSWORD_FILE. Without it the key is read from "
        "ORACLE_WALLET_KEY or ORACLE_WALLET_KEY_FILE.",
    )(function)


def environment_secret(variable: str) -> str | None:
    """
    Return a secret from a variable, or from the file that `VARIABLE_FILE` names.
    """
    if value := os.environ.get(variable):
        return value.strip()
    if file := os.environ.get(f"{variable}_FILE"):
        return read_secret_file(Path(file))
    return None


def load_signer(keystore: Path | None) -> LocalSigner:
    """
    Load the wallet that a verb pays with.
    """
    from oracle.chain import wallets  # noqa: PLC0415 - web3 is slow to import

    if keystore is None:
        key = environment_secret("ORACLE_WALLET_KEY")
        if key is None:
            raise ConfigError(
                "there is no wallet to pay with: give --keystore FILE, or set "
                "ORACLE_WALLET_KEY_FILE"
            )
        return wallets.from_private_key(key)
    text = read_secret_file(keystore)
    password = environment_secret("ORACLE_WALLET_PASSWORD")
    if password is None:
        password = click.prompt("Password", hide_input=True, err=True)
    return wallets.from_keystore(text, password, keystore)


def load_pool_key(pool: PoolSettings) -> tuple[PoolKey, EpochFile]:
    """
    Load the key of a pool and find its epoch file.
    """
    from oracle.store.seal import EpochFile, PoolKey  # noqa: PLC0415 - cryptography is slow to import

    text = secret(pool.key, pool.key_file, what="pool key", variable=variable_of("pool", "key"))
    epoch_file = pool.epoch_file
    if epoch_file is None:
        if pool.key_file is None:
            raise ConfigError(
                "pool.epoch_file is missing: with the pool key in a variable, name a file for the "
                "pool's epoch "
                "that is not backed up with the database"
            )
        epoch_file = pool.key_file.with_name(pool.key_file.name + ".epoch")
    try:
        return PoolKey.from_text(text), EpochFile(epoch_file)
    except PoolKeyError as error:
        where = variable_of("pool", "key") if pool.key_file is None else pool.key_file
        raise PoolKeyError(f"{where} holds no pool key: {error}") from None


def print_json(document: object) -> None:
    """
    Print one JSON document on stdout.
    """
    click.echo(json.dumps(document, indent=2))
