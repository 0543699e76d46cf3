"""
What can be read in a contract's code: function selectors, and the code that a proxy points to.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

# Where proxies keep what they point to (EIP-1967).
IMPLEMENTATION_SLOT = int.from_bytes(keccak(b"eip1967.proxy.implementation"), "big") - 1

_PUSH0, _PUSH1, _PUSH32 = 0x5F, 0x60, 0x7F
_SELECTOR = 4
# EIP-1167: a proxy of 45 bytes that points to one contract for good.
_CLONE_HEAD = bytes.fromhex("363d3d373d3d3d363d73")
_CLONE_TAIL = bytes.fromhex("5af43d82803e903d91602b57fd5bf3")


def pushed(code: bytes) -> set[bytes]:
    """
    Return the constants that the code pushes, without the zeros before them.

    Data behind the code may look like more.
    """
    found, place = set(), 0
    while place < len(code):
        opcode = code[place]
        size = opcode - _PUSH0 if _PUSH1 <= opcode <= _PUSH32 else 0
        if size:
            found.add(code[place + 1 : place + 1 + size].lstrip(b"\0"))
        place += 1 + size
    return found


def holds(constants: AbstractSet[bytes], selector: bytes) -> bool:
    """
    Say whether a function's selector is among constants of a code.
    """
    assert len(selector) == _SELECTOR
    return selector.lstrip(b"\0") in constants


def clone_target(code: bytes) -> str | None:
    """
    Return what a minimal proxy points to; nothing if the code is none.
    """
    if len(code) == len(_CLONE_HEAD) + 20 + len(_CLONE_TAIL) and code.startswith(_CLONE_HEAD):
        return checksum_address(code[len(_CLONE_HEAD) : len(_CLONE_HEAD) + 20])
    return None
