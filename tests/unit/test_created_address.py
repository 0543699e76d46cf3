from __future__ import annotations

import pytest
import rlp  # type: ignore[import-untyped]
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.transact import created_address
from oracle.evm import checksum_address
from tests.factories import addresses

pytestmark = pytest.mark.unit

ANVIL = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
# The account that every explanation of CREATE takes as its example.
EXAMPLE = "0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"


@pytest.mark.parametrize(
    ("creator", "nonce", "created"),
    [
        (ANVIL, 0, "0x5FbDB2315678afecb367f032d93F642f64180aa3"),
        (ANVIL, 1, "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"),
        (ANVIL, 2, "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"),
        (EXAMPLE, 0, "0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"),
        (EXAMPLE, 1, "0x343c43a37d37dff08ae8c4a11544c718abb4fcf8"),
        (EXAMPLE, 2, "0xf778b86fa74e846c4f0a1fbd1335fe81c00a0c91"),
        (EXAMPLE, 3, "0xfffd933a0bc612844eaf0c6fe3e5b8e9b6c1d19c"),
    ],
)
def test_known_creations_get_their_known_addresses(creator: str, nonce: int, created: str) -> None:
    assert created_address(creator, nonce).lower() == created.lower()


@given(addresses, st.integers(0, 2**64 - 1) | st.sampled_from([0, 0x7F, 0x80, 0xFF, 0x100]))
def test_address_is_the_hash_of_the_rlp_list(creator: str, nonce: int) -> None:
    encoded = rlp.encode([bytes.fromhex(creator[2:]), nonce])
    assert created_address(creator, nonce) == checksum_address(keccak(encoded)[12:])
