from __future__ import annotations

import pytest

from oracle import artifacts
from oracle.doctor.bytecode import IMPLEMENTATION_SLOT, clone_target, holds, pushed
from oracle.evm import keccak

pytestmark = pytest.mark.unit

TARGET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CLONE = "363d3d373d3d3d363d73%s5af43d82803e903d91602b57fd5bf3"


def test_selectors_are_found_in_code() -> None:
    constants = pushed(artifacts.load("QrngConsumer").deployed_bytecode)
    for signature in (
        "setRequestParameters(address,bytes32,bytes32,address)",
        "fulfillUint256(bytes32,bytes)",
    ):
        assert holds(constants, keccak(signature.encode())[:4])
    assert not holds(constants, keccak(b"setAirnode(address)")[:4])


def test_bytes_inside_of_a_constant_are_no_selector() -> None:
    # PUSH32 of 32 bytes, four of which would be PUSH4 1 2 3 4 if they were code.
    code = bytes([0x7F]) + bytes([0x63, 1, 2, 3, 4]) * 6 + bytes(2)
    assert not holds(pushed(code), bytes([1, 2, 3, 4]))
    assert holds(pushed(bytes([0x63, 1, 2, 3, 4])), bytes([1, 2, 3, 4]))


def test_selector_that_begins_with_zeros_is_found() -> None:
    # Compilers push it without them.
    assert holds(pushed(bytes([0x62, 1, 2, 3])), bytes([0, 1, 2, 3]))


def test_cut_code_is_read_to_its_end() -> None:
    assert pushed(bytes([0x63, 1])) == {b"\1"}
    assert pushed(b"") == set()


def test_minimal_proxy_is_seen_through() -> None:
    code = bytes.fromhex(CLONE % TARGET[2:])
    assert clone_target(code) == TARGET
    assert clone_target(code + b"\0") is None
    assert clone_target(b"\x60" + code[1:]) is None


def test_slot_of_the_implementation_is_the_standards() -> None:
    expected = "360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
    assert f"{IMPLEMENTATION_SLOT:064x}" == expected
