from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from oracle import explain_airnode as module
from oracle.airnode_policy import AirnodePolicy, Choice, by_policy_message
from oracle.airnode_request import AirnodeRequest, Place
from oracle.airnode_service import WALLET_BUSY
from oracle.evm import checksum_address
from oracle.explain_airnode import KnownAirnode, explain_airnode
from oracle.request import Outcome, RequestKey, State, Tracked
from oracle.store.airnode import WAITING_AFTER_RESTORE, Answer, Shortage
from oracle.store.attempts import Attempt
from oracle.store.transactions import Purpose, Slot, SlotState
from tests.factories import CHAIN_ID, COORDINATOR, WALLET, hash32

pytestmark = pytest.mark.unit

PACKAGE = Path(module.__file__).parent


def address(name: str) -> str:
    return checksum_address("0x" + hash32(name)[:20].hex())


REQUEST = AirnodeRequest(
    key=RequestKey(chain_id=CHAIN_ID, contract=COORDINATOR, request_id=hash32("asked")),
    airnode=address("airnode"),
    requester=address("requester"),
    requester_count=1,
    endpoint_id=hash32("endpoint"),
    sponsor=address("sponsor"),
    sponsor_wallet=WALLET,
    fulfill_address=address("consumer"),
    fulfill_function_id=b"\1\2\3\4",
    parameters=b"",
    place=Place(
        block_number=100, block_hash=hash32("b"), transaction_hash=hash32("t"), log_index=0
    ),
)
POLICY = AirnodePolicy(endpoints={hash32("endpoint"): False}, hold=3_600_000)
SLOT = Slot(
    id=1,
    chain_id=CHAIN_ID,
    contract=COORDINATOR,
    wallet=WALLET,
    nonce=9,
    purpose=Purpose.FULFILL,
    gas_limit=500_000,
    state=SlotState.SENT,
    mined_block=None,
    mined_block_hash=None,
)
ATTEMPT = Attempt(
    transaction_hash=hash32("attempt"),
    slot_id=1,
    max_fee=30 * 10**9,
    priority_fee=10**8,
    sent_block=105,
    verdict="accepted",
)
SHORT = Shortage(gas=300_000, needed=7 * 10**15, had=2 * 10**15)


def known(state: State, reason: str | None = None, **more: object) -> KnownAirnode:
    outcome = Outcome(
        request_id=REQUEST.key.request_id,
        callback_succeeded=bool(more.pop("succeeded", True)),
        transaction_hash=hash32("fulfillment"),
        block_number=110,
        block_hash=hash32("block"),
    )
    tracked = Tracked(
        request=REQUEST,
        state=state,
        reason=reason,
        transaction_id=None,
        outcome=outcome if state in (State.MINED, State.DONE) else None,
    )
    found = KnownAirnode(tracked=tracked, answer=Answer(), policy=POLICY, depth=12, scanned=103)
    return replace(found, **more)  # type: ignore[arg-type]


CASES = {
    "waiting_confirmations": (known(State.OBSERVED), "3 of the 12 confirmations"),
    "scan_behind": (known(State.OBSERVED, scanned=99), "does it run?"),
    "scan_behind when it may be lower": (
        known(State.OBSERVED, policy=replace(POLICY, lower_confirmations=True)),
        "does it run?",
    ),
    "chain_not_configured": (known(State.DRAWN, policy=None), "no section"),
    "waiting_confirmations by wish": (
        known(State.CONFIRMED, "waiting_confirmations", wish=30, scanned=115),
        "15 of the 30 confirmations",
    ),
    "waiting_confirmations by a lower wish": (
        known(State.CONFIRMED, "waiting_confirmations", wish=3),
        "3 of the 12 confirmations",
    ),
    "waiting_for_number": (known(State.CONFIRMED), "next pass"),
    "waiting_for_number again": (known(State.CONFIRMED, "reorg"), "next pass"),
    "earlier_transaction_open": (known(State.CONFIRMED, slot=SLOT), "nonce 9 may still"),
    "unauthorised": (known(State.CONFIRMED, "unauthorised"), "authorizers"),
    "waiting_after_restore": (
        known(State.CONFIRMED, "waiting_after_restore"),
        "`oracle requests release`",
    ),
    "sponsor_cap": (known(State.CONFIRMED, "sponsor_cap"), "draws_per_sponsor"),
    "waiting_for_entropy": (known(State.CONFIRMED, "waiting_for_entropy"), "entropy status"),
    "waiting_to_sign": (known(State.DRAWN), "next pass"),
    "fee_cap_reached": (known(State.DRAWN, "fee_cap_reached"), "max_fee_gwei"),
    "waiting_second_endpoint": (known(State.DRAWN, "waiting_second_endpoint"), "no second"),
    "wallet_busy": (known(State.DRAWN, "wallet_busy"), "under way"),
    "withdrawal_pending": (known(State.DRAWN, "withdrawal_pending"), "asked for its funds back"),
    "wallet_unfunded": (
        known(State.DRAWN, "wallet_unfunded", answer=Answer(shortage=SHORT)),
        f"{WALLET} needs 0.007 ether and has 0.002: send it 0.005 ether",
    ),
    "wallet_unfunded before its number": (
        known(State.CONFIRMED, "wallet_unfunded", answer=Answer(shortage=SHORT)),
        f"{WALLET} needs at least 0.007 ether and has 0.002: send it at least 0.005 ether",
    ),
    "wallet_unfunded of one that can only be failed": (
        known(State.DRAWN, "wallet_unfunded", answer=Answer(shortage=SHORT, failure="No size")),
        "No size: correct that, and ask again; this one gets no number",
    ),
    "fee_cap_reached before its number": (
        known(State.CONFIRMED, "fee_cap_reached"),
        "max_fee_gwei",
    ),
    "wallet_unfunded of before": (known(State.DRAWN, "wallet_unfunded"), "cannot pay"),
    "callback_fails": (
        known(State.DRAWN, "callback_fails", answer=Answer(held_since=0)),
        "can be mended until 1970-01-01T01:00:00+00:00, then its number goes out",
    ),
    "callback_fails by policy": (
        known(
            State.DRAWN,
            "callback_fails",
            answer=Answer(held_since=0, array=False),
            policy=replace(POLICY, held=Choice.FAIL),
        ),
        "failed with its number in the message",
    ),
    "callback_untried": (known(State.DRAWN, "callback_untried"), "as its wallet can pay for"),
    "waiting_to_send": (known(State.SIGNED), "next pass"),
    "in_mempool": (known(State.SENT, slot=SLOT, attempts=[ATTEMPT]), "nonce 9 waits"),
    "waiting_finality": (known(State.MINED, scanned=113), "3 of the 12 blocks"),
    "fulfilled": (known(State.DONE), "for good"),
    "callback_failed": (known(State.DONE, succeeded=False), "mend the callback"),
    "failed_by_policy": (
        known(State.DONE, succeeded=False, answer=Answer(failure=by_policy_message(bytes(32)))),
        "as the operator wants it",
    ),
    "failed_on_chain": (
        known(State.DONE, succeeded=False, answer=Answer(failure="size is wrong")),
        "failed on chain: size is wrong",
    ),
    "foreign_fulfillment": (known(State.DONE, foreign=True), "not this store's"),
    "foreign_fulfillment early": (known(State.MINED, foreign=True), "the same mnemonic"),
    "reorg": (known(State.ORPHANED, "reorg"), "comes back"),
    "wrong_sponsor_wallet": (
        known(State.REJECTED, "wrong_sponsor_wallet", right_wallet=address("right")),
        f"at this Airnode is {address('right')}",
    ),
    "wrong_sponsor_wallet unknown": (
        known(State.REJECTED, "wrong_sponsor_wallet"),
        "not derived",
    ),
    "unknown_endpoint": (known(State.REJECTED, "unknown_endpoint"), "endpoint id"),
    "unknown_template": (known(State.REJECTED, "unknown_template"), "createTemplate"),
    "not_allowed": (known(State.REJECTED, "not_allowed"), "`allowed`"),
    "parameters_version": (
        known(State.REJECTED, "parameters_version", complaint="not of version 1"),
        "not of version 1: its parameters are no Airnode ABI",
    ),
    "max_age": (known(State.EXPIRED, "max_age"), "max_age_hours"),
    "reverted": (known(State.FAILED, "reverted"), "reverted three times"),
    "passed_over": (known(State.FAILED, "passed_over"), "nothing more is known"),
    "cancelled": (known(State.CANCELLED), "nothing more is known"),
}


@pytest.mark.parametrize("name", CASES)
def test_request_is_explained_by_its_code_and_one_sentence(name: str) -> None:
    found = explain_airnode(CASES[name][0])
    assert found.code == name.split(maxsplit=1)[0]
    assert CASES[name][1] in found.sentence
    assert "\n" not in found.sentence
    assert not found.sentence.endswith(".")


def test_cases_go_through_every_state() -> None:
    assert {case.tracked.state for case, _ in CASES.values()} == set(State)


# What looks like a reason and is none: names of attributes, settings, and of what a policy does.
_NO_REASONS = {"own_number", "num_words", "held_since"}
_SPOKEN = (
    "oracle/steps/airnode_draw.py",
    "oracle/steps/airnode_sign.py",
    "oracle/airnode_callback.py",
)


def reasons_in(path: Path) -> set[str]:
    """
    Return what a module may write down as a reason: every constant in the shape of one that is
    neither logged nor a fault point.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    spoken: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Attribute(attr="get")))):
                spoken |= {id(one) for one in node.args}
            case ast.Call(func=ast.Name(id="fault_point")):
                spoken |= {id(one) for one in node.args}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z]+(_[a-z]+)*", node.value)
        and id(node) not in spoken
    }


def test_every_reason_that_a_step_writes_has_its_sentence() -> None:
    written = {
        reason for name in _SPOKEN for reason in reasons_in(PACKAGE.parent / name)
    } - _NO_REASONS
    written |= {WAITING_AFTER_RESTORE, WALLET_BUSY}
    assert {"sponsor_cap", "callback_untried", "max_age", "not_allowed"} <= written
    abi = (PACKAGE / "protocols" / "airnode_abi.py").read_text(encoding="utf-8")
    written |= set(re.findall(r'reason="(parameters_\w+)"', abi))
    parts = re.findall(r'_(?:text32|utf8)\([^,]+, "(\w+)"', abi)
    written |= {f"parameters_{part}" for part in parts}
    assert {"parameters_header", "parameters_value", "parameters_reencoding"} <= written
    explained = {
        *module.CONFIRMED_WAITS,
        *module.DRAWN_WAITS,
        *module.CALLBACKS,
        *(reason for _, reason in module.ENDS),
        "waiting_confirmations",
        "wallet_unfunded",
    }
    # Each of them belongs to a code that the sentences know, and none is explained for nothing.
    assert written <= explained
    assert explained - written <= {"reorg", "reverted"}
