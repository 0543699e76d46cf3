"""
`oracle wallet`: the mnemonic of an Airnode, and the sponsor wallets that follow from it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oracle.cli.options import json_option, print_json
from oracle.cli.secret_files import (
    check_free,
    given_secret,
    new_password,
    refuse_arguments,
    write_secret_file,
)
from oracle.errors import ConfigError
from oracle.given import checked_address

if TYPE_CHECKING:
    from oracle.chain.airnode_xpub import AirnodeXpub
    from oracle.chain.mnemonics import Mnemonic

_VARIABLES = ("ORACLE_AIRNODE_MNEMONIC",)

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.command(
    "create-mnemonic", epilog="Example: oracle wallet create-mnemonic keys/airnode.json"
)
@file_argument
@click.option(
    "--show-words",
    is_flag=True,
    help="Show the words on this terminal, once, to be written down on paper.",
)
@json_option
def create_mnemonic(file: Path, *, show_words: bool, as_json: bool) -> None:
    """
    Create an Airnode's mnemonic and write it, encrypted, to FILE (mode 0600, never overwritten).

    Prints the Airnode's address and its xpub, which you announce: with it requesters derive their
    sponsor wallets. Nothing prints the words again: a copy of FILE and of its password is a backup
    of all keys, and without either the Airnode and what its sponsor wallets hold is lost.

    The password is asked for, or read from ORACLE_WALLET_PASSWORD or ORACLE_WALLET_PASSWORD_FILE.
    """
    from oracle.chain.mnemonics import Mnemonic  # noqa: PLC0415 - web3 is slow to import

    if show_words and (as_json or not sys.stdout.isatty()):
        raise ConfigError(
            "--show-words writes on a terminal only, where nothing keeps them: leave out --json "
            "and do not redirect the output"
        )
    check_free(file)
    mnemonic = Mnemonic.create()
    xpub = _write(mnemonic, file)
    _tell(xpub, {"file": str(file)}, as_json=as_json)
    if show_words:
        click.echo(
            "\nWrite these words down, in this order, and clear the terminal. Whoever has them "
            f"has the Airnode and all its sponsor wallets:\n\n{mnemonic.words()}"
        )
    elif not as_json:
        click.echo(
            f"The mnemonic is in {file}. Back it up with its password, apart from each other."
        )


@click.command(
    "import-mnemonic",
    epilog="Example: oracle wallet import-mnemonic keys/airnode.json --from secrets/words",
)
@file_argument
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file that holds the words, or - for standard input. Without it: "
    "ORACLE_AIRNODE_MNEMONIC or ORACLE_AIRNODE_MNEMONIC_FILE; else they are asked for.",
)
@click.argument("refused", nargs=-1, type=click.UNPROCESSED, metavar="")
@json_option
def import_mnemonic(
    file: Path, source: Path | None, refused: tuple[str, ...], *, as_json: bool
) -> None:
    """
    Write an Airnode's mnemonic that you have, encrypted, to FILE (mode 0600, never overwritten).

    It is an English BIP-39 mnemonic without a passphrase, as Airnode knows it: the same words give
    the same Airnode. Take none that a personal wallet uses, whose first account would be the
    Airnode.
    """
    from oracle.chain.mnemonics import Mnemonic  # noqa: PLC0415 - web3 is slow to import

    refuse_arguments(refused)
    check_free(file)
    words = given_secret(source, _VARIABLES, what="mnemonic", prompt="Mnemonic")
    mnemonic = Mnemonic.from_words(words)
    if mnemonic.well_known:
        click.echo(
            "warning: this mnemonic is a well-known test one: anybody can sign as this Airnode, "
            "and a node takes it on a devnet only",
            err=True,
        )
    _tell(_write(mnemonic, file), {"file": str(file)}, as_json=as_json)


@click.command(
    "sponsor-wallet",
    epilog="Example: oracle wallet sponsor-wallet --xpub xpub6C… --sponsor 0x7099…",
)
@click.option("--xpub", required=True, help="The extended public key that the Airnode announces.")
@click.option(
    "--sponsor",
    required=True,
    help="Who pays for the requests: by default the requesting contract itself.",
)
@click.option("--airnode", help="The Airnode's address: checks that the xpub belongs to it.")
@json_option
def sponsor_wallet(xpub: str, sponsor: str, airnode: str | None, *, as_json: bool) -> None:
    """
    Print the address of a sponsor's wallet at an Airnode: it is funded, and named in requests.
    """
    from oracle.chain.airnode_xpub import AirnodeXpub  # noqa: PLC0415 - slow to import

    named = None if airnode is None else checked_address(airnode, "--airnode")
    payer = checked_address(sponsor, "--sponsor")
    key = AirnodeXpub.from_text(xpub, airnode=named)
    address = key.sponsor_wallet(payer)
    if as_json:
        print_json({"sponsorWallet": address, "sponsor": payer, "airnode": key.airnode})
    else:
        click.echo(address)


def show_mnemonic(path: Path, text: str, password: str | None, *, as_json: bool) -> None:
    """
    Show which Airnode a file's mnemonic is; with a password, that it opens and is that one's.
    """
    from oracle.chain import mnemonics  # noqa: PLC0415 - web3 is slow to import
    from oracle.chain.sponsor_wallets import AirnodeKeys  # noqa: PLC0415 - as above

    xpub = mnemonics.announced(text, path)
    if password is not None:
        held = AirnodeKeys(mnemonics.unseal(text, password, path)).address
        if held != xpub.airnode:
            raise ConfigError(f"{path} names {xpub.airnode}, but holds the mnemonic of {held}")
    _tell(xpub, {"file": str(path), "opened": password is not None}, as_json=as_json)


def _write(mnemonic: Mnemonic, file: Path) -> AirnodeXpub:
    from oracle.chain.mnemonics import seal  # noqa: PLC0415 - web3 is slow to import
    from oracle.chain.sponsor_wallets import AirnodeKeys  # noqa: PLC0415 - as above

    xpub = AirnodeKeys(mnemonic).xpub
    write_secret_file(file, seal(mnemonic, xpub, new_password()))
    return xpub


def _tell(xpub: AirnodeXpub, more: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json({"airnode": xpub.airnode, "xpub": str(xpub), **more})
    else:
        click.echo(f"Airnode {xpub.airnode}\nxpub    {xpub}")
