from __future__ import annotations

import hashlib

import pytest
from eth_abi.abi import encode
from eth_abi.packed import encode_packed
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.entropy import merkle

pytestmark = pytest.mark.unit

COORDINATOR = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
DOMAIN = merkle.domain(31337, COORDINATOR)
SEEDS = [hashlib.sha256(bytes([position])).digest() for position in range(256)]
LEAVES = [merkle.leaf(DOMAIN, 512 + position, seed) for position, seed in enumerate(SEEDS)]
ROOT = merkle.root(LEAVES)

runs = st.integers(0, 255).flatmap(
    lambda first: st.tuples(st.just(first), st.integers(1, 256 - first))
)


def recursive_root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = len(leaves) // 2
    return keccak(recursive_root(leaves[:half]) + recursive_root(leaves[half:]))


def test_domain_is_the_hash_of_abi_encoded_chain_and_coordinator() -> None:
    assert keccak(encode(["uint256", "address"], [31337, COORDINATOR])) == DOMAIN
    assert merkle.domain(31337, COORDINATOR.lower()) == DOMAIN
    assert merkle.domain(1, COORDINATOR) != DOMAIN


def test_leaf_is_the_hash_of_packed_domain_index_and_seed() -> None:
    packed = encode_packed(["bytes32", "uint256", "bytes32"], [DOMAIN, 517, SEEDS[5]])
    assert keccak(packed) == LEAVES[5]


def test_root_is_that_of_a_binary_tree() -> None:
    assert recursive_root(LEAVES) == ROOT


@settings(max_examples=300, deadline=None)
@given(runs)
def test_proof_verifies_for_every_run(run: tuple[int, int]) -> None:
    first, count = run
    proof = merkle.proof(LEAVES, first, count)
    assert merkle.verify(ROOT, first, LEAVES[first : first + count], proof)


def test_proof_verifies_for_every_single_leaf_and_has_eight_elements() -> None:
    for position in range(256):
        proof = merkle.proof(LEAVES, position, 1)
        assert len(proof) == 8
        assert merkle.verify(ROOT, position, [LEAVES[position]], proof)


def test_whole_batch_needs_no_proof() -> None:
    assert merkle.proof(LEAVES, 0, 256) == []
    assert merkle.verify(ROOT, 0, LEAVES, [])


@settings(max_examples=50, deadline=None)
@given(runs, st.data())
def test_changed_leaf_fails(run: tuple[int, int], data: st.DataObject) -> None:
    first, count = run
    leaves = LEAVES[first : first + count]
    leaves[data.draw(st.integers(0, count - 1))] = bytes(32)
    assert not merkle.verify(ROOT, first, leaves, merkle.proof(LEAVES, first, count))


@settings(max_examples=100, deadline=None)
@given(runs, st.integers(0, 255))
def test_another_position_fails(run: tuple[int, int], other: int) -> None:
    first, count = run
    proof = merkle.proof(LEAVES, first, count)
    accepted = merkle.verify(ROOT, other, LEAVES[first : first + count], proof)
    assert accepted == (other == first)


@settings(max_examples=50, deadline=None)
@given(runs, st.data())
def test_proof_with_an_element_too_many_or_too_few_fails(
    run: tuple[int, int], data: st.DataObject
) -> None:
    first, count = run
    leaves, proof = LEAVES[first : first + count], merkle.proof(LEAVES, first, count)
    assert not merkle.verify(ROOT, first, leaves, [*proof, bytes(32)])
    if proof:
        gone = data.draw(st.integers(0, len(proof) - 1))
        assert not merkle.verify(ROOT, first, leaves, proof[:gone] + proof[gone + 1 :])


@settings(max_examples=50, deadline=None)
@given(runs, st.data())
def test_changed_proof_element_fails(run: tuple[int, int], data: st.DataObject) -> None:
    first, count = run
    proof = merkle.proof(LEAVES, first, count)
    if proof:
        proof[data.draw(st.integers(0, len(proof) - 1))] = bytes(32)
        assert not merkle.verify(ROOT, first, LEAVES[first : first + count], proof)


@pytest.mark.parametrize(
    ("first", "leaves", "proof"),
    [
        (0, [], []),
        (-1, LEAVES, []),
        (1, LEAVES, []),
        (256, [LEAVES[0]], merkle.proof(LEAVES, 0, 1)),
        (0, [LEAVES[0][:31]], []),
        (0, [LEAVES[0]], [b"\x00"] * 8),
        (0, [LEAVES[0] + LEAVES[1][:1], LEAVES[1][1:], *LEAVES[2:]], []),
    ],
    ids=["empty", "before", "beyond", "outside", "short leaf", "short element", "moved byte"],
)
def test_malformed_claims_are_false(first: int, leaves: list[bytes], proof: list[bytes]) -> None:
    assert not merkle.verify(ROOT, first, leaves, proof)


def test_a_node_does_not_pass_for_a_leaf_of_another_width() -> None:
    pair = keccak(LEAVES[0] + LEAVES[1])
    assert not merkle.verify(ROOT, 0, [pair], merkle.proof(LEAVES, 0, 2))


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 257), (-1, 2), (255, 2), (256, 1)])
def test_no_proof_for_a_run_outside_the_batch(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="inside a batch"):
        merkle.proof(LEAVES, first, count)


@pytest.mark.parametrize("leaves", [LEAVES[:255], [*LEAVES, LEAVES[0]], [b"", *LEAVES[1:]]])
def test_a_batch_is_exactly_256_leaves_of_32_bytes(leaves: list[bytes]) -> None:
    with pytest.raises(ValueError, match="exactly 256 leaves"):
        merkle.root(leaves)


@pytest.mark.parametrize("address", ["", "0x00", COORDINATOR[2:], COORDINATOR + "00"])
def test_an_address_is_forty_digits(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        merkle.domain(1, address)


def test_a_seed_is_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.leaf(DOMAIN, 0, bytes(31))
