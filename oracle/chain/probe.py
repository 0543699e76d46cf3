"""
What a chain must be before anybody deploys to it or serves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.chain.fees import Price
from oracle.errors import ConfigError, EndpointError, RevertedError
from oracle.evm import keccak

if TYPE_CHECKING:
    from oracle.chain.interfaces import ChainReader
    from oracle.chain.reader import Web3Reader

# Creation code that returns `block.number` and `blockhash(block.number - 1)`:
# NUMBER PUSH1 0 MSTORE · PUSH1 1 NUMBER SUB BLOCKHASH PUSH1 32 MSTORE · PUSH1 64 PUSH1 0 RETURN
_PROBE = bytes.fromhex("43600052600143034060205260406000f3")

# Where rollups of the OP stack tell what they charge beside gas, and how they are asked.
_GAS_PRICE_ORACLE = "0x420000000000000000000000000000000000000F"
_ROLLUP_FEES = ("getL1FeeUpperBound(uint256)", "getOperatorFee(uint256)")


async def probe_block_hash(reader: Web3Reader) -> None:
    """
    Refuse a chain whose BLOCKHASH is not the hash of its headers.

    The value of a request rests on it: Scroll derives it from the number, zkSync's is not a
    header's, Arbitrum's follows another chain's clock.
    """
    for _ in range(3):
        result = bytes.fromhex(
            (await reader.rpc("eth_call", {"data": "0x" + _PROBE.hex()}, "latest"))[2:]
        )
        number, block_hash = int.from_bytes(result[:32], "big"), result[32:64]
        if number == 0:
            raise EndpointError(f"{reader.name} has no block yet: try again after the first one")
        if (await reader.block(number - 1)).hash == block_hash:
            return
    raise ConfigError(
        f"on the chain behind {reader.name} BLOCKHASH differs from the block headers, so its "
        "randomness could be "
        "predicted: this chain cannot be served"
    )


async def rollup_fee(reader: Web3Reader, size: int, gas: int) -> int:
    """
    Return what a rollup of the OP stack charges beside gas for a transaction of `size` bytes that
    uses `gas`, in wei: 0 on every other chain.
    """
    if not await is_op_stack(reader):
        return 0
    answers = [
        await reader.call(
            _GAS_PRICE_ORACLE, keccak(function.encode())[:4] + argument.to_bytes(32, "big")
        )
        for function, argument in zip(_ROLLUP_FEES, (size, gas), strict=True)
    ]
    return sum(int.from_bytes(answer, "big") for answer in answers)


async def price_at(reader: ChainReader, gas_price: int) -> Price:
    """
    Return what transactions cost at a price per gas, in wei, with what the chain takes besides:
    its rates are close to even over all sizes.
    """
    if not await is_op_stack(reader):
        return Price(gas=gas_price)
    by_bytes, by_gas = [
        int.from_bytes(
            await reader.call(
                _GAS_PRICE_ORACLE, keccak(function.encode())[:4] + argument.to_bytes(32, "big")
            ),
            "big",
        )
        for function, argument in zip(_ROLLUP_FEES, (1000, 10**6), strict=True)
    ]
    return Price(gas=gas_price, rollup_million_gas=by_gas, rollup_thousand_bytes=by_bytes)


async def is_op_stack(reader: ChainReader) -> bool:
    """
    Say whether the chain is a rollup of the OP stack, which charges for data beside gas.

    Raises `ConfigError` for one that lacks the upgrades Fjord or Isthmus.
    """
    if not await reader.code(_GAS_PRICE_ORACLE):
        return False
    for function in _ROLLUP_FEES:
        try:
            answer = await reader.call(
                _GAS_PRICE_ORACLE, keccak(function.encode())[:4] + bytes(32)
            )
        except RevertedError:
            answer = b""
        if len(answer) != 32:  # noqa: PLR2004 - a word
            raise ConfigError(
                f"this rollup of the OP stack does not answer {function}, so its fees are "
                "unknown: it lacks the upgrades Fjord or Isthmus and cannot be served yet"
            )
    return True
