"""
What the owner and the operator of a coordinator do by hand, and what it says about itself. Pure;
no network, no keys.

The contract's own words are in `contracts/interfaces/IQuantumCoordinator.sol`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# As `setFee` takes them: uint48 and uint16.
MAX_FLAT_FEE_GWEI = (1 << 48) - 1
MAX_GAS_MARGIN_BPS = (1 << 16) - 1
# Where `_counters` is, behind OpenZeppelin's owner and pending owner.
COUNTERS_SLOT = 2

# Upper bounds of the gas of `collect`: a cold slot that is written, and the call around them.
GAS_PER_SLOT = 6_000
GAS_PER_COLLECT = 60_000
# Upper bound of the gas of `setFee`: one slot that is written, and an event.
SET_FEE_GAS = 50_000

FEE_CHANGED = keccak(b"FeeChanged(uint256,uint256)")


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


OWNER = _selector("owner()")
PENDING_OWNER = _selector("pendingOwner()")
EARNED = _selector("earned()")
CANCELLATIONS = _selector("cancellations()")
SLOT_COUNT = _selector("slotCount()")
ACCEPT_OWNERSHIP = _selector("acceptOwnership()")

_ERRORS = {
    _selector(f"{name}({','.join(types)})"): (name, types)
    for name, types in (
        ("FeeOutOfBounds", ("uint256", "uint256")),
        ("InsufficientEarnings", ("uint256", "uint256")),
        ("InvalidConfig", ()),
        ("InvalidDiscard", ("uint256", "uint256", "uint256")),
        ("NotOperator", ("address",)),
        ("OwnableInvalidOwner", ("address",)),
        ("OwnableUnauthorizedAccount", ("address",)),
        ("FailedCall", ()),
    )
}


@dataclass(frozen=True, slots=True)
class Ledger:
    """
    The coordinator's counters, which it keeps in one word: earned in wei, the fee in gwei and
    1/10,000 of the gas costs, and the two indices.
    """

    earned: int
    flat_fee_gwei: int
    gas_margin_bps: int
    committed: int
    next: int


@dataclass(frozen=True, slots=True)
class Uncollected:
    """
    What the settled requests of so many slots have earned, in wei.
    """

    slot: int
    count: int
    amount: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    An error of the contract, and its values.
    """

    name: str
    values: tuple[object, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.values))})"


def decode_address(answer: bytes) -> str:
    """
    Read the answer of a view that returns one address.
    """
    return checksum_address(answer[-20:])


def decode_ledger(word: bytes) -> Ledger:
    """
    Read the word at `COUNTERS_SLOT`, as `contracts/types/Counters.sol` lays it out.
    """
    number = int.from_bytes(word, "big")
    return Ledger(
        earned=number >> 144,
        flat_fee_gwei=number >> 96 & MAX_FLAT_FEE_GWEI,
        gas_margin_bps=number >> 80 & MAX_GAS_MARGIN_BPS,
        committed=number >> 40 & (1 << 40) - 1,
        next=number & (1 << 40) - 1,
    )


def decode_refusal(data: bytes) -> Refusal | None:
    """
    Read what a call reverted with; nothing if it is no error that is known.
    """
    if (known := _ERRORS.get(data[:4])) is None:
        return None
    name, types = known
    try:
        return Refusal(name, decode(types, data[4:]))
    except DecodingError:
        return None


def encode_discard(up_to: int) -> bytes:
    """
    Return the call that gives up the seeds below an index.
    """
    return _selector("discard(uint64)") + encode(["uint64"], [up_to])


def encode_set_fee(flat_fee_gwei: int, gas_margin_bps: int) -> bytes:
    """
    Return the call that sets the fee.
    """
    return _selector("setFee(uint48,uint16)") + encode(
        ["uint48", "uint16"], [flat_fee_gwei, gas_margin_bps]
    )


def encode_set_operator(operator: str) -> bytes:
    """
    Return the call that appoints the operator.
    """
    return _selector("setOperator(address)") + encode(["address"], [operator])


def encode_transfer_ownership(owner: str) -> bytes:
    """
    Return the call that offers the ownership to an account.
    """
    return _selector("transferOwnership(address)") + encode(["address"], [owner])


def encode_collect(slot: int, count: int) -> bytes:
    """
    Return the call that collects what the settled requests of some slots have earned.
    """
    return _selector("collect(uint64,uint64)") + encode(["uint64", "uint64"], [slot, count])


def encode_withdraw(to: str, amount: int) -> bytes:
    """
    Return the call that pays earnings out, in wei.
    """
    return _selector("withdraw(address,uint256)") + encode(["address", "uint256"], [to, amount])


def slots_per_collect(gas: int) -> int:
    """
    Return how many slots one call can always collect with so much gas.
    """
    return max(1, (gas - GAS_PER_COLLECT) // GAS_PER_SLOT)


def slot_ranges(slot_count: int, size: int) -> Iterator[tuple[int, int]]:
    """
    Cut all slots into ranges of at most `size`: the first slot of each, and how many.
    """
    return ((slot, min(size, slot_count - slot)) for slot in range(0, slot_count, size))


def choose_collects(found: Sequence[Uncollected], missing: int) -> list[Uncollected]:
    """
    Return the fewest ranges that bring the missing wei, in the order of their slots; all that hold
    anything, if they are not enough.
    """
    chosen = []
    for one in sorted(found, key=lambda one: one.amount, reverse=True):
        if missing <= 0 or one.amount == 0:
            break
        chosen.append(one)
        missing -= one.amount
    return sorted(chosen, key=lambda one: one.slot)
