"""
`oracle wallet`: keys in encrypted files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from oracle.cli.options import environment_secret, json_option, print_json
from oracle.errors import ConfigError

_MIN_PASSWORD = 8


@click.group()
def wallet() -> None:
    """
    Create the wallets that commit and fulfill.
    """


@wallet.command(epilog="Example: oracle wallet create --out keys/operator.json")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; never overwritten.",
)
@json_option
def create(out: Path, *, as_json: bool) -> None:
    """
    Create a key and write it, encrypted, to a keystore file (mode 0600).

    The password is asked for, or read from ORACLE_WALLET_PASSWORD or ORACLE_WALLET_PASSWORD_FILE.
    Without it the key is lost: there is no other copy.
    """
    from oracle.chain.wallets import create_keystore  # noqa: PLC0415 - web3 is slow to import

    if out.exists():
        raise ConfigError(f"{out} exists and is not overwritten: choose another file")
    if not out.parent.is_dir():
        raise ConfigError(f"there is no folder {out.parent}: create it first")
    password = environment_secret("ORACLE_WALLET_PASSWORD")
    if password is None and not sys.stdin.isatty():
        raise ConfigError("there is no password: set ORACLE_WALLET_PASSWORD_FILE")
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(password) < _MIN_PASSWORD:
        raise ConfigError(
            f"the password has fewer than {_MIN_PASSWORD} characters: choose a longer one"
        )
    address, text = create_keystore(password)
    write_secret_file(out, text)
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
