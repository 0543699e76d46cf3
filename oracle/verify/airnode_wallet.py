"""
The wallets that follow from an Airnode's announced xpub (BIP-32), derived independently. Pure.
"""

from __future__ import annotations

import hashlib
import hmac

from coincurve import PublicKey

from oracle.errors import ConfigError
from oracle.evm import checksum_address, keccak

_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VERSION = bytes.fromhex("0488b21e")
_LENGTH = 82  # with the checksum
# The key of m/44'/60'/0': its depth, and its last step.
_PLACE = bytes([3]), bytes.fromhex("80000000")
_RRP, _SIGNER = (1,), (0, 0)


def airnode_of(xpub: str) -> str:
    """
    Return the Airnode whose key this is. Raises `ConfigError` when it is none.
    """
    return _account(xpub, _SIGNER)


def sponsor_wallet_of(xpub: str, sponsor: str) -> str:
    """
    Return the wallet that answers a sponsor's requests. Raises `ConfigError` as above.
    """
    address, steps = int(sponsor, 16), []
    for _ in range(6):
        address, step = divmod(address, 1 << 31)
        steps.append(step)
    return _account(xpub, (*_RRP, *steps))


def _account(xpub: str, path: tuple[int, ...]) -> str:
    raw = _read(xpub)
    code, point = raw[13:45], raw[45:78]
    try:
        for step in path:
            mac = hmac.digest(code, point + step.to_bytes(4, "big"), "sha512")
            point, code = PublicKey(point).add(mac[:32]).format(), mac[32:]
        whole = PublicKey(point).format(compressed=False)
    except ValueError:
        raise ConfigError("the xpub holds no point of the curve") from None
    return checksum_address(keccak(whole[1:])[12:])


def _read(xpub: str) -> bytes:
    number = 0
    for digit in xpub.strip():
        place = _DIGITS.find(digit)
        if place < 0:
            raise ConfigError("this is no xpub: copy all of it")
        number = number * 58 + place
    raw = number.to_bytes(_LENGTH, "big") if number < 1 << 8 * _LENGTH else b""
    check = hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4]
    if raw[-4:] != check or (raw[:4], raw[4:5], raw[9:13]) != (_VERSION, *_PLACE):
        raise ConfigError("this is no xpub of an Airnode: it announces that of m/44'/60'/0'")
    return raw
