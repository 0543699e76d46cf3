"""
What an EVM chain tells: blocks, logs and receipts as plain values, and the hash everything rests
on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from eth_hash.auto import keccak

__all__ = [
    "TRANSACTION_GAS_CAP",
    "Block",
    "Log",
    "Receipt",
    "Transaction",
    "checksum_address",
    "keccak",
]

# EIP-7825: no transaction may ask for more gas.
TRANSACTION_GAS_CAP = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """
    A block header, as far as the node needs it; fees in wei.

    Where the chain has no base fee (`legacy`), that of the head is the price of gas that the
    endpoint suggests.
    """

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    base_fee: int
    gas_limit: int
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """
    One event of a contract. Its identity includes the block's hash.
    """

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """
    What became of a transaction: `ok` is false when it reverted; the price is in wei per gas,
    `l1_fee` what a rollup of the OP stack took beside gas for the data, in wei; nothing where the
    receipt names none.
    """

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    ok: bool
    gas_used: int
    gas_price: int
    logs: tuple[Log, ...]
    l1_fee: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """
    What a mined transaction called: `to` is nothing for a creation.
    """

    hash: bytes
    sender: str
    to: str | None
    data: bytes
    block_number: int


@lru_cache(maxsize=4096)
def checksum_address(address: bytes | str) -> str:
    """
    Return the 20 bytes as an EIP-55 address.
    """
    raw = address if isinstance(address, bytes) else bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:  # noqa: PLR2004 - an address has 20 bytes
        raise ValueError(f"an address has 20 bytes, not {len(raw)}")
    digits = raw.hex()
    digest = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(check, 16) > 7 else digit  # noqa: PLR2004 - EIP-55's threshold
        for digit, check in zip(digits, digest, strict=False)
    )
