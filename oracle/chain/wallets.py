"""
Keys: loading them, and the only place that signs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes

from oracle.chain.fees import Fees
from oracle.errors import ConfigError
from oracle.evm import checksum_address

if TYPE_CHECKING:
    from pathlib import Path

    from eth_account.signers.local import LocalAccount

# Where a legacy transaction's RLP begins, and no typed one's does.
_RLP_LIST = 0xC0
# BIP-44 for Ethereum.
FIRST_ACCOUNT = "m/44'/60'/0'/0/0"
_DERIVATION_PATH = re.compile(r"m(/[0-9]{1,10}'?)+", re.ASCII)

# The accounts of the mnemonic that anvil and Hardhat ship: everybody has their keys.
WELL_KNOWN = frozenset(
    {
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
        "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedTransaction:
    """
    An EIP-1559 transaction, or a legacy one: `to` is empty for a creation, `value` in wei, `data`
    may hold seeds.
    """

    chain_id: int
    nonce: int
    to: str
    data: bytes = field(repr=False)
    gas_limit: int
    fees: Fees
    value: int = 0
    legacy: bool = False


class Signer(Protocol):
    """
    Whoever holds a wallet's key.
    """

    @property
    def address(self) -> str:
        """
        The wallet, EIP-55.
        """
        ...

    def sign(self, transaction: UnsignedTransaction) -> tuple[bytes, bytes]:
        """
        Return the signed bytes and their hash.
        """
        ...

    def replace(self, signed: bytes, fees: Fees) -> tuple[bytes, bytes]:
        """
        Sign the same transaction at the same nonce with other fees.
        """
        ...


class LocalSigner:
    """
    A key in this process's memory.
    """

    def __init__(self, account: LocalAccount) -> None:
        self._account = account

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    @property
    def address(self) -> str:  # noqa: D102 - Signer
        address: str = self._account.address
        return address

    def keystore(self, password: str) -> str:
        """
        Return the key as the text of an encrypted keystore file.
        """
        return json.dumps(self._account.encrypt(password))

    def sign(self, transaction: UnsignedTransaction) -> tuple[bytes, bytes]:  # noqa: D102 - Signer
        fields: dict[str, object] = {
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "gas": transaction.gas_limit,
            "value": transaction.value,
            "data": transaction.data,
        }
        fees = transaction.fees
        if transaction.legacy:
            fields |= {"gasPrice": fees.max_fee}
        else:
            fields |= {
                "type": 2,
                "maxFeePerGas": fees.max_fee,
                "maxPriorityFeePerGas": fees.priority_fee,
            }
        if transaction.to:
            fields["to"] = transaction.to
        signed = self._account.sign_transaction(fields)  # type: ignore[arg-type]
        return bytes(signed.raw_transaction), bytes(signed.hash)

    def replace(self, signed: bytes, fees: Fees) -> tuple[bytes, bytes]:  # noqa: D102 - Signer
        if signed[0] >= _RLP_LIST:
            return self.sign(replace(_read_legacy(signed), fees=fees))
        old = TypedTransaction.from_bytes(HexBytes(signed)).as_dict()
        return self.sign(
            UnsignedTransaction(
                chain_id=old["chainId"],
                nonce=old["nonce"],
                to=checksum_address(bytes(old["to"])) if old["to"] else "",
                data=bytes(old["data"]),
                gas_limit=old["gas"],
                fees=fees,
                value=old["value"],
            )
        )


def from_private_key(text: str) -> LocalSigner:
    """
    Load a key from 64 hexadecimal digits. The error never repeats them.
    """
    try:
        account: LocalAccount = Account.from_key(bytes.fromhex(text.strip().removeprefix("0x")))
    except ValueError:
        raise ConfigError(
            "a wallet key is 64 hexadecimal digits, not zero and below the curve's order"
        ) from None
    return LocalSigner(account)


def from_keystore(text: str, password: str, path: Path) -> LocalSigner:
    """
    Load a key from the text of an encrypted keystore file (Web3 Secret Storage, version 3); errors
    name its path.
    """
    try:
        content = json.loads(text)
    except ValueError:
        raise ConfigError(
            f"{path} is no keystore file: create one with `oracle wallet create`"
        ) from None
    if isinstance(content, dict) and "kind" in content:
        # Of 24 words the entropy would pass for a key.
        raise ConfigError(
            f"{path} holds an Airnode's mnemonic and not a wallet's key: create a wallet of its "
            "own with `oracle wallet create`"
        )
    try:
        return LocalSigner(Account.from_key(Account.decrypt(content, password)))
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"the keystore {path} does not open with this password") from None


def from_mnemonic(words: str, path: str, passphrase: str = "") -> LocalSigner:
    """
    Derive a key from a BIP-39 mnemonic and a BIP-32 path. The error never repeats a word.
    """
    if not _DERIVATION_PATH.fullmatch(path):
        # Not repeated: it may be anything.
        raise ConfigError(
            f"this is no derivation path: the one of the first account is {FIRST_ACCOUNT}"
        )
    # Unaudited is its module, which only derives here: keys are made by `create_keystore`.
    Account.enable_unaudited_hdwallet_features()
    try:
        account: LocalAccount = Account.from_mnemonic(
            " ".join(words.split()), passphrase, account_path=path
        )
    except (ValidationError, ValueError):
        raise ConfigError(
            "this is no BIP-39 mnemonic, or the derivation path is out of range: check the words, "
            "their order and the path"
        ) from None
    return LocalSigner(account)


def keystore_address(text: str, path: Path) -> str:
    """
    Return the address that a keystore file names, without opening it; errors name its path.

    Does not: prove that its key is that address's.
    """
    try:
        return checksum_address(json.loads(text)["address"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError(
            f"{path} is no keystore file that names its address: create one with `oracle wallet "
            "create`"
        ) from None


def create_keystore(password: str) -> tuple[str, str]:
    """
    Create a wallet; return its address and the keystore file's text.
    """
    signer = LocalSigner(Account.create())
    return signer.address, signer.keystore(password)


def _read_legacy(signed: bytes) -> UnsignedTransaction:
    """
    Read back a legacy transaction that was signed here, with its chain id in it (EIP-155).
    """
    nonce, price, gas, to, value, data, v, _, _ = _items(signed)
    paid = int.from_bytes(price, "big")
    return UnsignedTransaction(
        chain_id=(int.from_bytes(v, "big") - 35) // 2,
        nonce=int.from_bytes(nonce, "big"),
        to=checksum_address(to) if to else "",
        data=data,
        gas_limit=int.from_bytes(gas, "big"),
        fees=Fees(paid, paid),
        value=int.from_bytes(value, "big"),
        legacy=True,
    )


def _items(encoded: bytes) -> list[bytes]:
    """
    Return the byte strings of an RLP list that holds no lists.
    """
    _, at = _extent(encoded, 0)
    items = []
    while at < len(encoded):
        length, start = _extent(encoded, at)
        items.append(encoded[start : start + length])
        at = start + length
    return items


def _extent(encoded: bytes, at: int) -> tuple[int, int]:
    """
    Return the length of the RLP item at a place, and where its content begins.
    """
    first = encoded[at]
    if first < 0x80:  # noqa: PLR2004 - RLP: a byte is its own encoding
        return 1, at
    base = 0xC0 if first >= 0xC0 else 0x80  # noqa: PLR2004 - RLP: a list, or a string
    if first - base < 56:  # noqa: PLR2004 - RLP: short
        return first - base, at + 1
    size = first - base - 55
    return int.from_bytes(encoded[at + 1 : at + 1 + size], "big"), at + 1 + size
