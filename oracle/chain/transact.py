"""
One-off transactions of a person at the command line. The node sends through its lane instead.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle.chain.fees import GWEI, Fees
from oracle.chain.wallets import UnsignedTransaction
from oracle.errors import ChainError, EndpointError, InsufficientFundsError
from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from oracle.artifacts import Artifact
    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import Signer
    from oracle.evm import Receipt

_POLL = 0.2
_TIMEOUT = 180.0
# EIP-2935: the last 8,191 block hashes, where this contract has code.
_HISTORY_STORAGE = "0x0000F90827F1C53a10cb7A02335B175320002935"
_BLOCKHASH_WINDOW, _HISTORY_WINDOW = 256, 8191


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorConfig:
    """
    The constructor's argument, field by field as in `QuantumCoordinator.Config`.
    """

    owner: str
    operator: str
    window: int
    ring_size: int = 256
    callback_gas_limit_max: int = 2_500_000
    flat_fee_gwei: int = 0
    max_flat_fee_gwei: int = 10**9
    gas_margin_bps: int = 12_000
    max_gas_margin_bps: int = 50_000

    def encode(self) -> bytes:
        """
        Return the ABI encoding.
        """
        return encode(
            ["(address,address,uint16,uint32,uint32,uint48,uint48,uint16,uint16)"],
            [
                (
                    self.owner,
                    self.operator,
                    self.window,
                    self.ring_size,
                    self.callback_gas_limit_max,
                    self.flat_fee_gwei,
                    self.max_flat_fee_gwei,
                    self.gas_margin_bps,
                    self.max_gas_margin_bps,
                )
            ],
        )


async def longest_window(reader: Web3Reader) -> int:
    """
    Return the longest window that the chain's block hashes allow; the constructor checks it again.
    """
    return _HISTORY_WINDOW if await reader.code(_HISTORY_STORAGE) else _BLOCKHASH_WINDOW


async def send_transaction(
    reader: Web3Reader,
    signer: Signer,
    *,
    to: str,
    data: bytes,
    value: int = 0,
    nonce: int | None = None,
) -> bytes:
    """
    Estimate, sign and send; return the hash. `to` is empty for a creation, `value` in wei.

    Raises `InsufficientFundsError` with the shortfall, `EndpointError` when the call would revert.
    """
    call = {"from": signer.address, "data": "0x" + data.hex(), "value": hex(value)}
    if to:
        call["to"] = to
    head = await reader.block()
    fees = Fees(2 * head.base_fee + GWEI, GWEI)
    balance = await reader.balance(signer.address)
    # A gas estimate with the fee set fails for want of funds with every client's own words: ask
    # without.
    gas_limit = int(await reader.rpc("eth_estimateGas", call), 16) * 5 // 4
    needed = gas_limit * fees.max_fee + value
    if balance < needed:
        raise InsufficientFundsError(
            f"{signer.address} has {balance} wei and needs {needed}: send it {needed - balance} "
            "wei more"
        )
    if nonce is None:
        nonce = int(await reader.rpc("eth_getTransactionCount", signer.address, "pending"), 16)
    signed, transaction_hash = signer.sign(
        UnsignedTransaction(
            chain_id=await reader.chain_id(),
            nonce=nonce,
            to=to,
            data=data,
            gas_limit=gas_limit,
            fees=fees,
            value=value,
        )
    )
    await reader.rpc("eth_sendRawTransaction", "0x" + signed.hex())
    return transaction_hash


async def wait_for(reader: Web3Reader, transaction_hash: bytes) -> Receipt:
    """
    Return the receipt once the transaction is mined.

    Raises `EndpointError` when that takes more than three minutes, `ChainError` when it reverted.
    """
    try:
        async with asyncio.timeout(_TIMEOUT):
            while (receipt := await reader.receipt(transaction_hash)) is None:
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise EndpointError(
            f"0x{transaction_hash.hex()} was not mined within three minutes: look for it before "
            "sending again"
        ) from None
    if not receipt.ok:
        raise ChainError(f"0x{transaction_hash.hex()} reverted")
    return receipt


async def deploy(
    reader: Web3Reader, signer: Signer, artifact: Artifact, arguments: bytes
) -> tuple[str, Receipt]:
    """
    Create a contract; return its address and the receipt.
    """
    nonce = int(await reader.rpc("eth_getTransactionCount", signer.address, "pending"), 16)
    transaction_hash = await send_transaction(
        reader, signer, to="", data=artifact.bytecode + arguments, nonce=nonce
    )
    receipt = await wait_for(reader, transaction_hash)
    return created_address(signer.address, nonce), receipt


def created_address(creator: str, nonce: int) -> str:
    """
    Return the address of the contract that an account creates with a nonce: keccak256(rlp(creator,
    nonce)).
    """
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    encoded = number if nonce and nonce < 0x80 else bytes([0x80 + len(number)]) + number  # noqa: PLR2004 - RLP
    body = b"\x94" + bytes.fromhex(creator[2:]) + encoded
    return checksum_address(keccak(bytes([0xC0 + len(body)]) + body)[12:])
