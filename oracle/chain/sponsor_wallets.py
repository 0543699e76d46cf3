"""
The keys of an Airnode: one mnemonic gives the key that signs numbers and all sponsor wallets.

From a sponsor wallet's private key and the announced xpub the key that signs can be computed: all
of them are worth as much as the mnemonic. So every signature is made here, in the process that
holds the mnemonic, and no private key is handed out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_account import Account

from oracle.chain.airnode_xpub import (
    ACCOUNT_PATH,
    AIRNODE_PATH,
    RRP,
    AirnodeXpub,
    sponsor_path,
)
from oracle.chain.extended_keys import ExtendedPrivateKey, ExtendedPublicKey, fingerprint
from oracle.chain.wallets import LocalSigner
from oracle.evm import keccak

if TYPE_CHECKING:
    from oracle.chain.fees import Fees
    from oracle.chain.mnemonics import Mnemonic
    from oracle.chain.wallets import UnsignedTransaction

_PREFIX = b"\x19Ethereum Signed Message:\n32"
_DIGEST = 32


class SponsorSigner:
    """
    A sponsor wallet: it signs transactions, and its key cannot be had from it.
    """

    def __init__(self, signer: LocalSigner) -> None:
        self._signer = signer

    def __repr__(self) -> str:
        return f"SponsorSigner({self.address})"

    @property
    def address(self) -> str:  # noqa: D102 - Signer
        return self._signer.address

    def sign(self, transaction: UnsignedTransaction) -> tuple[bytes, bytes]:  # noqa: D102 - Signer
        return self._signer.sign(transaction)

    def replace(self, signed: bytes, fees: Fees) -> tuple[bytes, bytes]:  # noqa: D102 - Signer
        return self._signer.replace(signed, fees)


class AirnodeKeys:
    """
    All that an Airnode signs with. Neither it nor its errors show a key or a word.
    """

    def __init__(self, mnemonic: Mnemonic) -> None:
        coin = ExtendedPrivateKey.from_seed(mnemonic.seed()).derive(*ACCOUNT_PATH[:-1])
        account = coin.derive(ACCOUNT_PATH[-1])
        self._airnode = account.derive(*AIRNODE_PATH).key
        self._wallets = account.derive(RRP)
        self.well_known = mnemonic.well_known
        self.xpub = AirnodeXpub(
            ExtendedPublicKey(
                key=account.key.public_key,
                chain_code=account.chain_code,
                depth=len(ACCOUNT_PATH),
                child=ACCOUNT_PATH[-1],
                parent=fingerprint(coin.key.public_key),
            )
        )

    def __repr__(self) -> str:
        return f"AirnodeKeys({self.address})"

    @property
    def address(self) -> str:
        """
        The Airnode's address, EIP-55. It signs numbers, sends nothing, and needs no funds.
        """
        return self.xpub.airnode

    def sign(self, digest: bytes) -> bytes:
        """
        Sign the digest of a request id and its data as an Airnode does (EIP-191): r, s, v.

        Guarantees: the same digest gives the same bytes.
        """
        if len(digest) != _DIGEST:
            raise ValueError(f"a digest has {_DIGEST} bytes, not {len(digest)}")
        signed = self._airnode.sign_recoverable(keccak(_PREFIX + digest), hasher=None)
        return signed[:64] + bytes([27 + signed[64]])

    def sponsor_wallet(self, sponsor: str) -> SponsorSigner:
        """
        Return the wallet that fulfills a sponsor's requests.
        """
        key = self._wallets.derive(*sponsor_path(sponsor)).key
        return SponsorSigner(LocalSigner(Account.from_key(key.secret)))
