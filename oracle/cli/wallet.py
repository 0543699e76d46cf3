"""
`oracle wallet`: keys in encrypted files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from oracle.cli.options import environment_secret, json_option, print_json
from oracle.cli.wallet_money import balances, sweep
from oracle.errors import ConfigError
from oracle.given import read_secret_file

_MIN_PASSWORD = 8

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


wallet.add_command(balances)
wallet.add_command(sweep)


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
