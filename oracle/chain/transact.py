"""
One-off transactions of a person at the command line. The node sends through its lane instead.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle.chain.fees import GWEI, Fees, least_price, sweep_value
from oracle.chain.probe import rollup_fee
from oracle.chain.wallets import UnsignedTransaction
from oracle.errors import ChainError, EndpointError, InsufficientFundsError
from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from oracle.artifacts import Artifact
    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import Signer
    from oracle.evm import Receipt

# A transfer of ether to an account without code.
TRANSFER_GAS = 21_000
# Its signed bytes, and some more.
_TRANSFER_BYTES = 130
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


async def pending_nonce(reader: Web3Reader, address: str) -> int:
    """
    Return the account's next nonce, counting what the endpoint holds and has not mined.
    """
    return int(await reader.rpc("eth_getTransactionCount", address, "pending"), 16)


async def prepare(
    reader: Web3Reader,
    sender: str,
    *,
    to: str,
    data: bytes,
    value: int = 0,
    nonce: int | None = None,
) -> UnsignedTransaction:
    """
    Return the transaction as it would be signed now: its gas estimated, with fees that hold while
    the base fee doubles. `to` is empty for a creation, `value` in wei.

    Raises `InsufficientFundsError` with the shortfall, `EndpointError` when the call would revert.
    """
    head = await reader.block()
    price = least_price(head.base_fee, GWEI)
    fees = Fees(price, price) if head.legacy else Fees(2 * head.base_fee + GWEI, GWEI)
    balance = await reader.balance(sender)
    gas_limit = await _estimate(reader, sender, to=to, data=data, value=value) * 5 // 4
    needed = gas_limit * fees.max_fee + value
    if balance < needed:
        raise InsufficientFundsError(
            f"{sender} has {balance} wei and needs {needed}: send it {needed - balance} wei more"
        )
    return UnsignedTransaction(
        chain_id=await reader.chain_id(),
        nonce=await pending_nonce(reader, sender) if nonce is None else nonce,
        to=to,
        data=data,
        gas_limit=gas_limit,
        fees=fees,
        value=value,
        legacy=head.legacy,
    )


async def prepare_sweep(
    reader: Web3Reader, sender: str, to: str, *, keep: int
) -> UnsignedTransaction:
    """
    Return the transfer of everything but `keep` wei and its gas.

    The whole fee goes to the block's builder, so that what stays is known before: nothing else,
    where the recipient is no contract and the chain no rollup.

    Raises `InsufficientFundsError` when the balance covers no transfer, `ChainError` while
    transactions of the account wait to be mined.
    """
    nonce, waiting = await reader.nonce(sender), await pending_nonce(reader, sender)
    if waiting > nonce:
        raise ChainError(
            f"{sender} has {waiting - nonce} transactions that wait to be mined: sweep when they "
            "are, they still cost gas"
        )
    balance = await reader.balance(sender)
    estimate = await _estimate(reader, sender, to=to, data=b"", value=balance // 2)
    gas_limit = estimate if estimate == TRANSFER_GAS else estimate * 5 // 4
    # It has to outlast the question whether to do it.
    head = await reader.block()
    max_fee = head.base_fee * 5 // 4 + GWEI
    data_fee = 2 * await rollup_fee(reader, _TRANSFER_BYTES, gas_limit)
    value = sweep_value(
        balance, gas_limit=gas_limit, max_fee=max_fee, keep=keep, data_fee=data_fee
    )
    if value <= 0:
        raise InsufficientFundsError(
            f"{sender} has {balance} wei, and a transfer that leaves {keep} costs "
            f"{gas_limit * max_fee + data_fee}: there is nothing to sweep"
        )
    return UnsignedTransaction(
        chain_id=await reader.chain_id(),
        nonce=nonce,
        to=to,
        data=b"",
        gas_limit=gas_limit,
        fees=Fees(max_fee, max_fee),
        value=value,
        legacy=head.legacy,
    )


async def send(reader: Web3Reader, signer: Signer, transaction: UnsignedTransaction) -> bytes:
    """
    Sign and send; return the hash.

    Raises `ChainError`, with nothing sent, when the base fee has outgrown the transaction's.
    """
    base_fee = (await reader.block()).base_fee
    if base_fee > transaction.fees.max_fee:
        raise ChainError(
            f"the base fee has risen to {base_fee} wei, above the {transaction.fees.max_fee} that "
            "was reckoned with: nothing was sent, try again"
        )
    signed, transaction_hash = signer.sign(transaction)
    await reader.rpc("eth_sendRawTransaction", "0x" + signed.hex())
    return transaction_hash


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
    Prepare, sign and send; return the hash. `to` is empty for a creation, `value` in wei.

    Raises what `prepare` and `send` raise.
    """
    transaction = await prepare(reader, signer.address, to=to, data=data, value=value, nonce=nonce)
    return await send(reader, signer, transaction)


async def _estimate(reader: Web3Reader, sender: str, *, to: str, data: bytes, value: int) -> int:
    # Without the fee: with it, every client has words of its own for want of funds.
    call = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)}
    if to:
        call["to"] = to
    return int(await reader.rpc("eth_estimateGas", call), 16)


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
    creation = await prepare(reader, signer.address, to="", data=artifact.bytecode + arguments)
    receipt = await wait_for(reader, await send(reader, signer, creation))
    return created_address(signer.address, creation.nonce), receipt


def created_address(creator: str, nonce: int) -> str:
    """
    Return the address of the contract that an account creates with a nonce: keccak256(rlp(creator,
    nonce)).
    """
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    encoded = number if nonce and nonce < 0x80 else bytes([0x80 + len(number)]) + number  # noqa: PLR2004 - RLP
    body = b"\x94" + bytes.fromhex(creator[2:]) + encoded
    return checksum_address(keccak(bytes([0xC0 + len(body)]) + body)[12:])
