"""
The keys that `oracle init` makes: those that are there already are kept.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from oracle.given import read_secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.chain.airnode_xpub import AirnodeXpub


def make_keys(folder: Path, written: list[str], *, wallet: bool) -> str | None:
    """
    Make the keys that are not there yet and add their names to `written`; return the wallet's
    address, if one is wanted.
    """
    from oracle.chain.wallets import create_keystore, keystore_address  # noqa: PLC0415 - slow
    from oracle.cli.secret_files import write_secret_file  # noqa: PLC0415
    from oracle.store.seal import PoolKey  # noqa: PLC0415

    keys = folder / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    pool_key, password, keystore = keys / "pool.key", keys / "password", keys / "operator.json"

    def write(path: Path, text: str) -> None:
        write_secret_file(path, text)
        written.append(str(path))

    if not pool_key.exists():
        write(pool_key, PoolKey.generate())
    if not wallet:
        return None
    if keystore.exists():
        return keystore_address(read_secret_file(keystore), keystore)
    if not password.exists():
        write(password, secrets.token_hex(16))
    address, text = create_keystore(read_secret_file(password))
    write(keystore, text)
    return address


def make_mnemonic(folder: Path, written: list[str]) -> AirnodeXpub:
    """
    Make the Airnode's mnemonic unless it is there, and return what is announced of it.
    """
    from oracle.chain.mnemonics import Mnemonic, announced, seal  # noqa: PLC0415 - slow
    from oracle.chain.sponsor_wallets import AirnodeKeys  # noqa: PLC0415
    from oracle.cli.secret_files import write_secret_file  # noqa: PLC0415

    path, password = folder / "keys" / "airnode.json", folder / "keys" / "airnode.password"
    if path.exists():
        return announced(read_secret_file(path), path)
    if not password.exists():
        write_secret_file(password, secrets.token_hex(16))
        written.append(str(password))
    mnemonic = Mnemonic.create()
    xpub = AirnodeKeys(mnemonic).xpub
    write_secret_file(path, seal(mnemonic, xpub, read_secret_file(password)))
    written.append(str(path))
    return xpub
