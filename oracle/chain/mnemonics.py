"""
BIP-39 mnemonics of Airnodes, and the encrypted files that keep them.

Such a file is a keystore of version 3 whose secret is the mnemonic's entropy, with the Airnode's
address and xpub, which are public, beside it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from eth_account import Account
from eth_account.hdaccount.mnemonic import Mnemonic as Wordlist

from oracle.chain.airnode_xpub import AirnodeXpub
from oracle.errors import ConfigError
from oracle.evm import keccak

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

KIND = "airnode-mnemonic"

_BITS_PER_WORD = 11
_LENGTHS = (12, 15, 18, 21, 24)
# As much work as keystores of Ethereum ask for, in an eighth of their memory, which a node holds
# at its start: 32 MiB. OWASP recommends p = 3 or more for this n.
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 8, "dklen": 32}

# Mnemonics that everybody knows, by the hash of their entropy: those of anvil, Hardhat, Ganache,
# Truffle, Airnode's own tests and `oracle devnet`, and BIP-39's vectors that are not one byte
# again and again.
_WELL_KNOWN = frozenset(
    {
        "1a7dff7269953986",
        "29931489ca5b322f",
        "37c2037d0630bfbc",
        "7bbf04ba4ebbcd74",
        "807ae2a984fbb70e",
        "95a02664fdb5cc3f",
        "a458b51ee9106b24",
        "a49d0ac671b3b128",
        "aa45e8a78e7f210d",
        "aea13e54fc6397f2",
        "c4cd4e070e62dc76",
        "c73dad0034121b55",
        "cc2f1039a2130168",
        "d8db3ee8fa4e180f",
        "d9d4a597e25caf3a",
        "e7886fbdcf025790",
        "f2f985e851e163fe",
    }
)


@dataclass(frozen=True, slots=True)
class Mnemonic:
    """
    An English mnemonic without a passphrase, which is what an Airnode has. It shows no word.
    """

    entropy: bytes = field(repr=False)

    @classmethod
    def create(cls) -> Mnemonic:
        """
        Make one of 24 words from the operating system's entropy.
        """
        return cls(secrets.token_bytes(32))

    @classmethod
    def from_words(cls, text: str) -> Mnemonic:
        """
        Read a mnemonic. Raises `ConfigError`, which repeats no word, when it is none.
        """
        words = text.lower().split()
        if len(words) not in _LENGTHS:
            raise ConfigError(
                f"a mnemonic has 12, 15, 18, 21 or 24 words, and this has {len(words)}"
            )
        known = {word: number for number, word in enumerate(Wordlist().wordlist)}
        if strange := [str(place) for place, word in enumerate(words, 1) if word not in known]:
            raise ConfigError(
                f"no English BIP-39 word stands at place {', '.join(strange)} of the mnemonic"
            )
        number = 0
        for word in words:
            number = number << _BITS_PER_WORD | known[word]
        checksum = len(words) * _BITS_PER_WORD // 33
        mnemonic = cls((number >> checksum).to_bytes(len(words) * 4 // 3, "big"))
        if mnemonic.words() != " ".join(words):
            raise ConfigError(
                "the mnemonic has a wrong checksum: look at its words and their order"
            )
        return mnemonic

    def words(self) -> str:
        """
        Return the words themselves: for their owner's eyes.
        """
        return str(Wordlist().to_mnemonic(self.entropy))

    def seed(self) -> bytes:
        """
        Return what keys are derived from.
        """
        return bytes(Wordlist.to_seed(self.words()))

    @property
    def well_known(self) -> bool:
        """
        Whether everybody has it, because it is printed in a tool or a standard.
        """
        constant = len(set(self.entropy)) == 1
        return constant or keccak(self.entropy).hex()[:16] in _WELL_KNOWN


def seal(mnemonic: Mnemonic, xpub: AirnodeXpub, password: str) -> str:
    """
    Return the text of an encrypted file that holds a mnemonic.
    """
    salt, start = secrets.token_bytes(32), secrets.token_bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, maxmem=1 << 30, **_SCRYPT)
    encryptor = Cipher(algorithms.AES128(key[:16]), modes.CTR(start)).encryptor()
    ciphertext = encryptor.update(mnemonic.entropy) + encryptor.finalize()
    content = {
        "kind": KIND,
        "airnode": xpub.airnode,
        "xpub": str(xpub),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": start.hex()},
            "ciphertext": ciphertext.hex(),
            "kdf": "scrypt",
            "kdfparams": {**_SCRYPT, "salt": salt.hex()},
            "mac": keccak(key[16:32] + ciphertext).hex(),
        },
        "id": str(uuid.uuid4()),
        "version": 3,
    }
    return json.dumps(content)


def announced(text: str, path: Path) -> AirnodeXpub:
    """
    Return what a mnemonic's file says of its Airnode, without opening it; errors name its path.

    Does not: prove that it holds that Airnode's mnemonic.
    """
    content = _content(text, path)
    try:
        return AirnodeXpub.from_text(content["xpub"], airnode=content["airnode"])
    except (KeyError, TypeError, AttributeError, ConfigError):
        raise ConfigError(f"{path} does not say which Airnode it is") from None


def unseal(text: str, password: str, path: Path) -> Mnemonic:
    """
    Return the mnemonic of an encrypted file; errors name its path.
    """
    content = _content(text, path)
    try:
        return Mnemonic(bytes(Account.decrypt(content, password)))
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"the mnemonic in {path} does not open with this password") from None


def is_sealed(text: str) -> bool:
    """
    Say whether this is the text of a file that `seal` wrote.
    """
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def _content(text: str, path: Path) -> dict[str, Any]:
    if not is_sealed(text):
        raise ConfigError(
            f"{path} holds no encrypted mnemonic: create one with `oracle wallet create-mnemonic`"
        )
    content: dict[str, Any] = json.loads(text)
    return content
