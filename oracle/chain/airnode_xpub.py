"""
What follows from an Airnode's extended public key alone: its address and its sponsor wallets.
"""

from __future__ import annotations

from oracle.chain.extended_keys import HARDENED, ExtendedPublicKey
from oracle.errors import ConfigError

# m/44'/60'/0', whose public key is announced; below it the Airnode's own account, and protocol 1.
ACCOUNT_PATH = (44 + HARDENED, 60 + HARDENED, HARDENED)
AIRNODE_PATH = (0, 0)
RRP = 1

_BITS = 31
_STEPS = 6


class AirnodeXpub:
    """
    The announced key of an Airnode. It is public: with it anybody derives sponsor wallets.

    Does not: stay harmless beside a sponsor wallet's private key, from which both reveal the key
    that signs.
    """

    def __init__(self, key: ExtendedPublicKey) -> None:
        self._key = key
        self._wallets = key.derive(RRP)
        self.airnode = key.derive(*AIRNODE_PATH).address

    def __repr__(self) -> str:
        return f"AirnodeXpub({self.airnode})"

    def __str__(self) -> str:
        return self._key.text()

    @classmethod
    def from_text(cls, text: str, *, airnode: str | None = None) -> AirnodeXpub:
        """
        Read what an Airnode announces.

        Raises `ConfigError` when it is no key of m/44'/60'/0', or not that of `airnode`.
        """
        key = ExtendedPublicKey.from_text(text)
        if (key.depth, key.child) != (len(ACCOUNT_PATH), ACCOUNT_PATH[-1]):
            raise ConfigError(
                f"this xpub stands at depth {key.depth}: an Airnode announces that of m/44'/60'/0'"
            )
        xpub = cls(key)
        if airnode is not None and xpub.airnode != airnode:
            raise ConfigError(
                f"this xpub belongs to the Airnode {xpub.airnode}, not to {airnode}: wallets that "
                "are derived from it would be another's"
            )
        return xpub

    def sponsor_wallet(self, sponsor: str) -> str:
        """
        Return the address of the wallet that fulfills a sponsor's requests.
        """
        return self._wallets.derive(*sponsor_path(sponsor)).address


def sponsor_path(sponsor: str) -> tuple[int, ...]:
    """
    Return the steps from the protocol's key to a sponsor's: 31 bits of its address each.
    """
    number = int(sponsor, 16)
    return tuple(number >> _BITS * k & HARDENED - 1 for k in range(_STEPS))
