"""
Extended keys (BIP-32): children of keys, and the text of an extended public key.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from coincurve import PrivateKey, PublicKey
from Crypto.Hash import RIPEMD160

from oracle.errors import ConfigError
from oracle.evm import checksum_address, keccak

HARDENED = 1 << 31

_XPUB = bytes.fromhex("0488b21e")
_XPRV = bytes.fromhex("0488ade4")
_LENGTH, _CHARACTERS = 78, 111
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedPublicKey:
    """
    A public key with what its children's keys follow from, and where it stands itself.
    """

    key: PublicKey = field(repr=False)
    chain_code: bytes = field(repr=False)
    depth: int
    child: int
    parent: bytes  # the first 4 bytes of its parent's hash

    @classmethod
    def from_text(cls, text: str) -> ExtendedPublicKey:
        """
        Read `xpub…`. Raises `ConfigError` when it is none; no error repeats what was given.
        """
        raw = _base58check(text.strip())
        if raw[:4] == _XPRV:
            raise ConfigError(
                "this is an extended private key (xprv): whoever sees it holds the Airnode, and "
                "nobody needs it but its operator; what is announced begins with xpub"
            )
        if raw[:4] != _XPUB:
            raise ConfigError("this is no extended public key of Ethereum: it begins with xpub")
        try:
            key = PublicKey(raw[45:])
        except ValueError:
            raise ConfigError("the xpub holds no point of the curve") from None
        return cls(
            key=key,
            chain_code=raw[13:45],
            depth=raw[4],
            child=int.from_bytes(raw[9:13], "big"),
            parent=raw[5:9],
        )

    def text(self) -> str:
        """
        Return the key as `xpub…`.
        """
        raw = (
            _XPUB
            + bytes([self.depth])
            + self.parent
            + self.child.to_bytes(4, "big")
            + self.chain_code
            + self.key.format()
        )
        raw += _checksum(raw)
        number, digits = int.from_bytes(raw, "big"), ""
        while number:
            number, digit = divmod(number, 58)
            digits = _ALPHABET[digit] + digits
        return digits

    def derive(self, *path: int) -> ExtendedPublicKey:
        """
        Return a descendant; no step is hardened.
        """
        key = self
        for index in path:
            key = key._step(index)
        return key

    def _step(self, index: int) -> ExtendedPublicKey:
        if not 0 <= index < HARDENED:
            raise ValueError("a hardened child has no public derivation")
        tweak, chain_code = _split(self.chain_code, self.key.format() + index.to_bytes(4, "big"))
        return ExtendedPublicKey(
            key=self.key.add(tweak),
            chain_code=chain_code,
            depth=self.depth + 1,
            child=index,
            parent=fingerprint(self.key),
        )

    @property
    def address(self) -> str:
        """
        The account whose key this is, EIP-55.
        """
        return checksum_address(keccak(self.key.format(compressed=False)[1:])[12:])


class ExtendedPrivateKey:
    """
    A private key with what its children's keys follow from. It shows neither.
    """

    def __init__(self, key: PrivateKey, chain_code: bytes) -> None:
        self.key = key
        self.chain_code = chain_code

    def __repr__(self) -> str:
        return "ExtendedPrivateKey(…)"

    @classmethod
    def from_seed(cls, seed: bytes) -> ExtendedPrivateKey:
        """
        Return the master key of a BIP-39 seed.
        """
        secret, chain_code = _split(b"Bitcoin seed", seed)
        return cls(PrivateKey(secret), chain_code)

    def derive(self, *path: int) -> ExtendedPrivateKey:
        """
        Return a descendant; a step is hardened from `HARDENED` on.
        """
        key = self
        for index in path:
            key = key._step(index)
        return key

    def _step(self, index: int) -> ExtendedPrivateKey:
        own = bytes(1) + self.key.secret if index >= HARDENED else self.key.public_key.format()
        tweak, chain_code = _split(self.chain_code, own + index.to_bytes(4, "big"))
        return ExtendedPrivateKey(self.key.add(tweak), chain_code)


def fingerprint(key: PublicKey) -> bytes:
    """
    Return what a child says of its parent.
    """
    return RIPEMD160.new(hashlib.sha256(key.format()).digest()).digest()[:4]


def _split(key: bytes, message: bytes) -> tuple[bytes, bytes]:
    digest = hmac.digest(key, message, "sha512")
    return digest[:32], digest[32:]


def _checksum(raw: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4]


def _base58check(text: str) -> bytes:
    if strange := set(text) - set(_ALPHABET):
        raise ConfigError(f"this is no xpub: none has the character {min(strange)!r}")
    if len(text) != _CHARACTERS:
        raise ConfigError(
            f"an xpub has {_CHARACTERS} characters, and this has {len(text)}: copy all of it"
        )
    number = 0
    for character in text:
        number = number * 58 + _ALPHABET.index(character)
    raw = number.to_bytes(_CHARACTERS, "big")[-_LENGTH - 4 :]
    if _checksum(raw[:-4]) != raw[-4:]:
        raise ConfigError("the xpub has a wrong checksum: a character is missing or mistyped")
    return raw[:-4]
