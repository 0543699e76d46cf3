from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st

from oracle.chain.fees import Fees
from oracle.chain.wallets import (
    UnsignedTransaction,
    create_keystore,
    from_keystore,
    from_private_key,
)
from oracle.errors import ConfigError
from oracle.evm import keccak
from tests.factories import COORDINATOR, addresses

pytestmark = pytest.mark.unit

# The first account of the mnemonic that anvil ships.
KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
ORDER = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
PATH = Path("keys/operator.json")
SIGNER = from_private_key(KEY)

amounts = st.integers(0, 2**96)
fees = st.tuples(amounts, amounts).map(lambda both: Fees(max(both), min(both)))
transactions = st.builds(
    UnsignedTransaction,
    chain_id=st.integers(1, 2**32),
    nonce=st.integers(0, 2**40),
    to=addresses | st.just(""),
    data=st.binary(max_size=200),
    gas_limit=st.integers(21_000, 2**24),
    fees=fees,
    value=amounts,
)


def fields_of(signed: bytes) -> dict[str, Any]:
    return dict(TypedTransaction.from_bytes(HexBytes(signed)).as_dict())


@pytest.mark.parametrize("text", [KEY, f"0x{KEY}", f" {KEY}\n", KEY.upper()])
def test_key_is_read_with_and_without_prefix(text: str) -> None:
    assert from_private_key(text).address == ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        KEY[:-1],
        KEY[:-2],
        f"{KEY}00",
        KEY.replace("c", "g"),
        "0" * 64,
        ORDER,
        "f" * 64,
        "correct horse battery staple",
        "schlüssel" * 8,
        "",
    ],
)
def test_bad_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_private_key(text)
    assert str(caught.value) == (
        "a wallet key is 64 hexadecimal digits, not zero and below the curve's order"
    )
    # A traceback must not show the library's own words either, which can hold the key.
    assert caught.value.__suppress_context__


def test_representation_of_a_signer_shows_the_address_alone() -> None:
    assert repr(SIGNER) == f"LocalSigner({ADDRESS})"


def test_representation_of_a_transaction_hides_its_data() -> None:
    transaction = UnsignedTransaction(
        chain_id=1, nonce=0, to="", data=b"seed inside", gas_limit=1, fees=Fees(1, 1)
    )
    assert "seed inside" not in repr(transaction)


def test_keystore_gives_its_key_back_with_its_password_alone() -> None:
    address, text = create_keystore("a long password")
    assert from_keystore(text, "a long password", PATH).address == address
    with pytest.raises(ConfigError) as caught:
        from_keystore(text, "another password", PATH)
    assert str(caught.value) == "the keystore keys/operator.json does not open with this password"


def test_keystore_costs_a_guess_most_of_a_second(full_strength: None) -> None:
    address, text = create_keystore("a long password")
    told = json.loads(text)["crypto"]["kdfparams"]
    assert (told["n"], told["r"], told["p"], told["dklen"]) == (262_144, 8, 1, 32)
    assert from_keystore(text, "a long password", PATH).address == address


def test_new_keystores_hold_different_keys_and_nothing_in_clear() -> None:
    address, text = create_keystore("a long password")
    other, _ = create_keystore("a long password")
    assert address != other
    key = Account.decrypt(json.loads(text), "a long password")
    assert bytes(key).hex() not in text
    assert "a long password" not in text


def test_light_keystore_of_another_tool_is_read() -> None:
    content = Account.from_key(KEY).encrypt("pass", kdf="pbkdf2", iterations=2)
    assert from_keystore(json.dumps(content), "pass", PATH).address == ADDRESS


@pytest.mark.parametrize("text", ["", "no json", KEY])
def test_file_that_is_no_keystore_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_keystore(text, "pass", PATH)
    assert str(caught.value).startswith("keys/operator.json is no keystore file")
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("text", ["{}", "[]", '"text"', '{"version": 3}', '{"version": 4}'])
def test_json_that_is_no_keystore_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"keys/operator\.json"):
        from_keystore(text, "pass", PATH)


@given(transactions)
def test_signature_is_the_wallets_and_the_hash_that_of_the_bytes(
    transaction: UnsignedTransaction,
) -> None:
    signed, transaction_hash = SIGNER.sign(transaction)
    assert Account.recover_transaction(signed) == ADDRESS
    assert transaction_hash == keccak(signed)
    fields = fields_of(signed)
    assert fields["chainId"] == transaction.chain_id
    assert fields["nonce"] == transaction.nonce
    assert fields["gas"] == transaction.gas_limit
    assert fields["value"] == transaction.value
    assert bytes(fields["data"]) == transaction.data
    assert "0x" + bytes(fields["to"]).hex() == (transaction.to.lower() or "0x")


@given(transactions, fees)
def test_replacement_changes_the_fees_and_nothing_else(
    transaction: UnsignedTransaction, dearer: Fees
) -> None:
    first, _ = SIGNER.sign(transaction)
    second, transaction_hash = SIGNER.replace(first, dearer)
    before, after = fields_of(first), fields_of(second)
    assert after["maxFeePerGas"] == dearer.max_fee
    assert after["maxPriorityFeePerGas"] == dearer.priority_fee
    changeable = {"maxFeePerGas", "maxPriorityFeePerGas", "v", "r", "s"}
    for name in before.keys() - changeable:
        assert after[name] == before[name], name
    assert before.keys() == after.keys()
    assert Account.recover_transaction(second) == ADDRESS
    assert transaction_hash == keccak(second)


def test_the_same_transaction_is_signed_to_the_same_bytes() -> None:
    transaction = UnsignedTransaction(
        chain_id=1, nonce=7, to=COORDINATOR, data=b"data", gas_limit=50_000, fees=Fees(9, 1)
    )
    assert SIGNER.sign(transaction) == SIGNER.sign(transaction)


legacy_transactions = st.builds(
    UnsignedTransaction,
    chain_id=st.integers(1, 2**32),
    nonce=st.integers(0, 2**40),
    to=addresses | st.just(""),
    data=st.binary(max_size=200) | st.binary(min_size=300, max_size=70_000),
    gas_limit=st.integers(21_000, 2**24),
    fees=amounts.map(lambda price: Fees(price, price)),
    value=amounts,
    legacy=st.just(value=True),
)


@given(legacy_transactions, amounts)
def test_legacy_transaction_is_replaced_by_itself_at_another_price(
    transaction: UnsignedTransaction, price: int
) -> None:
    signed, transaction_hash = SIGNER.sign(transaction)
    assert keccak(signed) == transaction_hash
    assert Account.recover_transaction(signed) == ADDRESS
    assert SIGNER.replace(signed, transaction.fees) == (signed, transaction_hash)
    again, _ = SIGNER.replace(signed, Fees(price, price))
    assert again == SIGNER.sign(dataclasses.replace(transaction, fees=Fees(price, price)))[0]
