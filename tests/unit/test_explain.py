from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.explain import Known, explain
from oracle.request import State, TrackedRequest
from oracle.store.attempts import Attempt
from oracle.store.batches import BatchState
from oracle.store.transactions import Purpose, Slot, SlotState
from tests.factories import CHAIN_ID, COORDINATOR, WALLET, hash32, make_outcome, make_request

pytestmark = pytest.mark.unit

REQUEST = make_request(7, block_number=100, confirmations=5)
OUTCOME = make_outcome(REQUEST, block_number=110)
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


def attempt(verdict: str | None = None, *, max_fee: int = 30 * 10**9, sent: int = 105) -> Attempt:
    return Attempt(
        transaction_hash=hash32("attempt", verdict, max_fee),
        slot_id=1,
        max_fee=max_fee,
        priority_fee=10**8,
        sent_block=sent,
        verdict=verdict,
    )


def known(state: State, reason: str | None = None, **more: object) -> Known:
    fulfilled = state in (State.MINED, State.DONE)
    tracked = TrackedRequest(
        request=REQUEST,
        state=state,
        reason=reason,
        transaction_id=None,
        outcome=OUTCOME if fulfilled else None,
    )
    return replace(Known(tracked=tracked, depth=12, scanned=103), **more)  # type: ignore[arg-type]


def sent(*attempts: Attempt, **slot: object) -> Known:
    return known(
        State.SENT,
        slot=replace(SLOT, **slot),  # type: ignore[arg-type]
        attempts=attempts,
    )


def failed_callback() -> Known:
    done = known(State.DONE)
    outcome = replace(OUTCOME, callback_succeeded=False)
    return replace(done, tracked=replace(done.tracked, outcome=outcome))


REFUND = "`cancel` once the window has passed"
CASES = {
    "waiting_confirmations": (known(State.OBSERVED), "3 of the 12 confirmations"),
    "waiting_confirmations of the request": (
        known(State.OBSERVED, depth=2),
        "3 of the 5 confirmations",
    ),
    "scan_behind": (known(State.OBSERVED, scanned=99), "does it run?"),
    "scan_behind at the start": (known(State.OBSERVED, scanned=None), "does it run?"),
    "scan_behind when deep": (known(State.OBSERVED, scanned=112), "does it run?"),
    "scan_behind on a devnet": (known(State.OBSERVED, scanned=104, depth=0, devnet=True), "read"),
    "chain_not_configured": (known(State.DRAWN, depth=None), "no section"),
    "waiting_for_seed": (known(State.CONFIRMED), "next pass"),
    "earlier_transaction_open": (known(State.CONFIRMED, slot=SLOT), "nonce 9 may still"),
    "waiting_to_sign": (known(State.DRAWN), "next pass"),
    "waiting_to_sign again": (known(State.DRAWN, "seed_exposed_before"), "next pass"),
    "waiting_second_endpoint": (known(State.DRAWN, "waiting_second_endpoint"), "no second"),
    "block_too_small": (known(State.DRAWN, "block_too_small"), "too small"),
    "fee_cap_reached": (known(State.DRAWN, "fee_cap_reached"), "max_fee_gwei"),
    "loss_limit": (known(State.DRAWN, "loss_limit"), "max_loss_gwei"),
    "wallet_busy": (known(State.DRAWN, "wallet_busy"), "under way"),
    "waiting_to_send": (known(State.SIGNED), "next pass"),
    "being_sent": (sent(attempt()), "being handed"),
    "in_mempool": (sent(attempt("accepted")), "nonce 9 waits for a block, paying at most 30 gwei"),
    "in_mempool known": (sent(attempt("known")), "waits for a block"),
    "replaced": (
        sent(attempt("accepted", max_fee=40 * 10**9), attempt("accepted")),
        "replaced 1 time at nonce 9 and now pays at most 40 gwei",
    ),
    "nonce_used": (sent(attempt("stale")), "another transaction used its nonce"),
    "underpriced": (sent(attempt("underpriced")), "fee too low"),
    "wallet_unfunded": (
        sent(attempt("unfunded")),
        f"{WALLET} cannot pay: this transaction alone needs 0.015000 ETH",
    ),
    "refused_by_endpoint": (sent(attempt("refused")), "refuses"),
    "endpoint_silent": (sent(attempt("unanswered")), "did not say"),
    "nonce_filled": (sent(attempt("accepted"), purpose=Purpose.FILLER), "whichever lands first"),
    "waiting_for_scan": (sent(attempt("accepted"), state=SlotState.MINED), "mined"),
    "transaction_unknown": (known(State.SENT), "not in this store"),
    "waiting_finality": (known(State.MINED, scanned=113), "3 of the 12 blocks"),
    "fulfilled": (known(State.DONE), "for good"),
    "callback_failed": (failed_callback(), "`redeliver`"),
    "reorg": (known(State.ORPHANED, "reorg"), "comes back"),
    "foreign_root": (known(State.REJECTED, "foreign_root"), REFUND),
    "foreign_root lost": (
        known(State.REJECTED, "foreign_root", batch=BatchState.LOST),
        "another root took the place",
    ),
    "by_requester": (known(State.CANCELLED, "by_requester"), "has the whole fee back"),
    "window_closing": (known(State.EXPIRED, "window_closing"), REFUND),
    "window_closing dated": (
        known(State.EXPIRED, "window_closing", window=256),
        f"{REFUND}, which is from block 357 on",
    ),
    "seed_gone": (known(State.FAILED, "seed_gone"), REFUND),
    "reverted": (known(State.FAILED, "reverted"), REFUND),
    "passed_over": (known(State.FAILED, "passed_over"), "nothing more is known"),
    "failed": (known(State.FAILED), "nothing more is known"),
}


@pytest.mark.parametrize("name", CASES)
def test_request_is_explained_by_its_code_and_one_sentence(name: str) -> None:
    found = explain(CASES[name][0])
    assert found.code == name.split(maxsplit=1)[0]
    assert CASES[name][1] in found.sentence
    assert "\n" not in found.sentence
    assert not found.sentence.endswith(".")


def test_cases_go_through_every_state() -> None:
    assert {case.tracked.state for case, _ in CASES.values()} == set(State)
