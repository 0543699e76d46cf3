"""
The file beside an Airnode's mnemonic that says which database answers its requests on which chain.

A request of Airnode RRP has the number that a database drew for it, and no other may draw again.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from oracle.errors import ConfigError
from oracle.store.seal import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    That one database answers for an Airnode on a chain's AirnodeRrpV0; `store_id` is the
    database's own, and `database` where it was last.
    """

    airnode: str
    chain_id: int
    contract: str
    store_id: str
    database: str
    genesis: str

    def is_for(self, other: Claim) -> bool:
        """
        Whether this is about the same Airnode, chain and contract.
        """
        return (self.airnode, self.chain_id, self.contract) == (
            other.airnode,
            other.chain_id,
            other.contract,
        )


class StoresFile:
    """
    The databases of an Airnode, in a file that is not in any of them.

    Guarantees: a database that is not the one that is written down is refused, and of two that
    claim at once one is.

    Does not: see a copy of the mnemonic that has no file beside it, or tell a database from its
    own backups; the pool's epoch does that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check_writable(self) -> None:
        """
        Raise `ConfigError` when nothing could be written down.
        """
        folder = self._path.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise ConfigError(
                f"the folder {folder}, where it is written down which database answers for the "
                "Airnode, does not exist or cannot be written: create it, or set "
                "airnode.stores_file"
            )

    def claim(self, claim: Claim, *, devnet: bool = False, succeed: bool = False) -> None:
        """
        Write down durably that a database answers, if none does yet; on a devnet, if none does for
        a chain with the same first block. With `succeed` it takes the place of one that is lost.

        Raises `ConfigError` when another database does, or nothing can be written down.
        """
        try:
            with self._locked():
                self._claim(claim, devnet=devnet, succeed=succeed)
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be written ({error.strerror}): correct that, or set "
                "airnode.stores_file"
            ) from None

    def check(self, claim: Claim, *, devnet: bool = False) -> None:
        """
        Raise `ConfigError` when another database answers; write nothing.
        """
        self._check(claim, self._read(), devnet=devnet)

    def _claim(self, claim: Claim, *, devnet: bool, succeed: bool) -> None:
        claims = self._read()
        known = next((one for one in claims if one.is_for(claim)), None)
        if known == claim:
            return
        if not succeed:
            self._check(claim, claims, devnet=devnet)
        claims = [*(one for one in claims if one != known), claim]
        text = json.dumps({"stores": [asdict(one) for one in claims]}, indent=2)
        replace_file(self._path, text + "\n")

    def _check(self, claim: Claim, claims: Sequence[Claim], *, devnet: bool) -> None:
        known = next((one for one in claims if one.is_for(claim)), None)
        if known is None or known.store_id == claim.store_id:
            return
        if not devnet or known.genesis == claim.genesis:
            raise ConfigError(
                f"the Airnode {claim.airnode} answers {claim.contract} on chain {claim.chain_id} "
                f"from another database, last at {known.database}: use that one or, if it is lost "
                f"for good and this one was not made by `oracle recover`, remove its entry from "
                f"{self._path}, knowing that requests which it drew a number for may get a second "
                "signature over another number"
            )

    def _read(self) -> list[Claim]:
        try:
            stores = json.loads(self._path.read_text(encoding="utf-8"))["stores"]
            return [Claim(**one) for one in stores]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{self._path}, which says what database answers for the Airnode, is damaged: put "
                "it right, or remove it if no other database ever answered for this Airnode"
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """
        Let nobody else read and write meanwhile.
        """
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
