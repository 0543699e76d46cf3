from __future__ import annotations

import pytest

from oracle.chain.sender import Verdict, classify

pytestmark = pytest.mark.unit

SAID = [
    # geth
    ("already known", Verdict.KNOWN),
    ("nonce too low: next nonce 7, tx nonce 5", Verdict.STALE),
    (
        "insufficient funds for gas * price + value: balance 0, tx cost 9, overshot 9",
        Verdict.UNFUNDED,
    ),
    ("replacement transaction underpriced", Verdict.UNDERPRICED),
    ("transaction underpriced: gas tip cap 0, minimum needed 1", Verdict.UNDERPRICED),
    (
        "max fee per gas less than block base fee: address 0xf39F, maxFeePerGas: 1, baseFee: 7",
        Verdict.UNDERPRICED,
    ),
    ("exceeds block gas limit", Verdict.REFUSED),
    ("intrinsic gas too low: gas 20000, minimum needed 21000", Verdict.REFUSED),
    ("txpool is full", Verdict.REFUSED),
    # Nethermind
    ("AlreadyKnown", Verdict.KNOWN),
    ("OldNonce, Current nonce: 7, nonce of rejected tx: 5", Verdict.STALE),
    ("FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1, BaseFee: 7", Verdict.UNDERPRICED),
    ("FeeTooLowToCompete", Verdict.UNDERPRICED),
    ("InsufficientFunds, Balance is zero, cannot pay gas", Verdict.UNFUNDED),
    ("ReplacementNotAllowed", Verdict.UNDERPRICED),
    ("GasLimitExceeded", Verdict.REFUSED),
    # Besu
    ("Known transaction", Verdict.KNOWN),
    ("Nonce too low", Verdict.STALE),
    ("Upfront cost exceeds account balance", Verdict.UNFUNDED),
    ("Replacement transaction underpriced", Verdict.UNDERPRICED),
    ("Transaction gas limit exceeds block gas limit", Verdict.REFUSED),
    # Erigon
    ("ALREADY_EXISTS: already known", Verdict.KNOWN),
    ("INTERNAL_ERROR: nonce too low", Verdict.STALE),
    ("INTERNAL_ERROR: insufficient funds", Verdict.UNFUNDED),
    ("INTERNAL_ERROR: fee too low", Verdict.UNDERPRICED),
    ("INTERNAL_ERROR: could not replace existing tx", Verdict.UNDERPRICED),
    ("Gas price below configured minimum gas price", Verdict.UNDERPRICED),
    ("INTERNAL_ERROR: underpriced", Verdict.UNDERPRICED),
    # Reth
    ("already known", Verdict.KNOWN),
    ("nonce too low: next nonce 7, tx nonce 5", Verdict.STALE),
    ("insufficient funds for gas * price + value: have 0 want 9", Verdict.UNFUNDED),
    ("replacement transaction underpriced", Verdict.UNDERPRICED),
    ("transaction underpriced", Verdict.UNDERPRICED),
    # anvil
    ("transaction already imported", Verdict.KNOWN),
    ("nonce too low", Verdict.STALE),
    ("Insufficient funds for gas * price + value", Verdict.UNFUNDED),
    ("max fee per gas less than block base fee", Verdict.UNDERPRICED),
    # Hardhat
    ("Nonce too low. Expected nonce to be 7 but got 5.", Verdict.STALE),
    ("Known transaction: 0x5f2c", Verdict.KNOWN),
]


@pytest.mark.parametrize(("words", "verdict"), SAID)
def test_words_of_real_clients_are_understood(words: str, verdict: Verdict) -> None:
    assert classify(words) is verdict
    assert classify(f"http://127.0.0.1:8545: {words}") is verdict


def test_words_that_nobody_knows_are_a_refusal() -> None:
    assert classify("the dog ate it") is Verdict.REFUSED
    assert classify("") is Verdict.REFUSED
