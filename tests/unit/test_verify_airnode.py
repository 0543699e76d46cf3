"""
What anybody can read from an Airnode's transactions and its xpub, held against the node's own
keys and against eth_account.
"""

from __future__ import annotations

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from oracle.airnode_request import digest
from oracle.chain.mnemonics import Mnemonic
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.errors import ConfigError
from oracle.evm import checksum_address
from oracle.verify.airnode_pair import calldata_of
from oracle.verify.airnode_proof import read_fulfillment, signer_of, words_in
from oracle.verify.airnode_wallet import airnode_of, sponsor_wallet_of
from tests.factories import hash32

pytestmark = pytest.mark.unit

KEYS = AirnodeKeys(Mnemonic(hash32("verify")[:16]))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ID = hash32("id")
ACCOUNT = Account.from_key(hash32("account"))
BASIS = {"nonce": 0, "gas": 21_000, "to": "0x" + "11" * 20, "value": 1, "chainId": 1}
SLOT = {"address": "0x" + "22" * 20, "storageKeys": ["0x" + hash32("slot").hex()]}
DYNAMIC = {"maxFeePerGas": 2, "maxPriorityFeePerGas": 1, "type": 2}


@pytest.mark.parametrize(
    "kind",
    [
        {"gasPrice": 1},
        {"gasPrice": 1, "type": 1, "accessList": [SLOT]},
        {**DYNAMIC, "accessList": []},
    ],
)
@pytest.mark.parametrize("size", [0, 1, 55, 56, 300, 17_000])
def test_calldata_is_read_from_every_type_of_transaction(
    kind: dict[str, object], size: int
) -> None:
    data = bytes(n % 251 for n in range(size))
    raw = bytes(ACCOUNT.sign_transaction({**BASIS, **kind, "data": data}).raw_transaction)
    assert calldata_of(raw) == data
    assert calldata_of(raw[:-1]) is None


@given(st.binary(max_size=300))
def test_whatever_is_given_is_read_or_refused(raw: bytes) -> None:
    assert isinstance(calldata_of(raw), bytes | None)
    assert read_fulfillment(raw) is None


def test_deeply_nested_lists_are_refused() -> None:
    raw = b""
    for _ in range(5_000):
        size = len(raw).to_bytes(4, "big")
        raw = (bytes([0xC0 + len(raw)]) if len(raw) < 56 else b"\xfb" + size) + raw
    assert calldata_of(raw) is None


def test_signer_is_recovered_by_the_contracts_own_rules() -> None:
    signature = KEYS.sign(digest(ID, b"data"))
    assert signer_of(ID, b"data", signature) == KEYS.address
    assert signer_of(ID, b"other", signature) != KEYS.address
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    compact = r + (s | (v - 27) << 255).to_bytes(32, "big")
    assert signer_of(ID, b"data", compact) == KEYS.address
    # The same point, mirrored: OpenZeppelin refuses it.
    mirrored = r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    for wrong in (mirrored, signature[:64] + bytes([v - 27]), signature[:63], bytes(65)):
        assert signer_of(ID, b"data", wrong) is None


@given(st.binary(min_size=20, max_size=20))
def test_wallets_follow_from_the_xpub_alone(sponsor: bytes) -> None:
    address, xpub = checksum_address(sponsor), str(KEYS.xpub)
    assert airnode_of(xpub) == KEYS.address
    assert sponsor_wallet_of(xpub, address) == KEYS.sponsor_wallet(address).address


@pytest.mark.parametrize("text", ["", "xpub", "0", "z" * 200])
def test_what_is_no_xpub_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="xpub"):
        airnode_of(text)
    mistyped = str(KEYS.xpub)[:-1] + ("1" if str(KEYS.xpub)[-1] != "1" else "2")
    with pytest.raises(ConfigError, match="xpub"):
        airnode_of(mistyped)


def test_words_are_one_or_an_array() -> None:
    word = hash32("word")
    assert words_in(word, array=False) == (word,)
    assert words_in(word[:31], array=False) is None
    array = (32).to_bytes(32, "big") + (2).to_bytes(32, "big") + word + word
    assert words_in(array, array=True) == (word, word)
    assert words_in(array[:-1], array=True) is None
