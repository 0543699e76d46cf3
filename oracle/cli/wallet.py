"""
`oracle wallet`: keys in encrypted files.
"""

from __future__ import annotations

from pathlib import Path

import click

from oracle.cli.options import environment_secret, json_option, print_json
from oracle.cli.secret_files import (
    check_free,
    given_secret,
    new_password,
    password,
    refuse_arguments,
    write_secret_file,
)
from oracle.cli.wallet_mnemonic import (
    create_mnemonic,
    import_mnemonic,
    show_mnemonic,
    sponsor_wallet,
)
from oracle.cli.wallet_money import balances, sweep
from oracle.errors import ConfigError
from oracle.given import read_secret_file

_VARIABLES = ("ORACLE_WALLET_KEY", "ORACLE_WALLET_MNEMONIC")

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; never overwritten.",
)


@click.group(epilog="Example: oracle wallet balances --config oracle.toml")
def wallet() -> None:
    """
    Keep the wallets that commit and fulfill.
    """


wallet.add_command(create_mnemonic)
wallet.add_command(import_mnemonic)
wallet.add_command(sponsor_wallet)
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

    check_free(out)
    address, text = create_keystore(new_password())
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

    refuse_arguments(refused)
    check_free(out)
    text = given_secret(source, _VARIABLES, what="key", prompt="Key or mnemonic")
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
    write_secret_file(out, signer.keystore(new_password()))
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

    Of a file that holds an Airnode's mnemonic the xpub is shown as well, which is public.
    """
    from oracle.chain import mnemonics, wallets  # noqa: PLC0415 - web3 is slow to import

    text = read_secret_file(keystore)
    if mnemonics.is_sealed(text):
        show_mnemonic(keystore, text, password() if try_password else None, as_json=as_json)
        return
    address = wallets.keystore_address(text, keystore)
    if try_password:
        held = wallets.from_keystore(text, password(), keystore).address
        if held != address:
            raise ConfigError(f"{keystore} names {address}, but holds the key of {held}")
    if as_json:
        print_json({"address": address, "keystore": str(keystore), "opened": try_password})
    else:
        click.echo(f"{address}{', opened by this password' if try_password else ''}")


def _tell_written(address: str, out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"address": address, "keystore": str(out)})
    else:
        click.echo(f"{address}\nThe key is in {out}. Fund this address before the node uses it.")
