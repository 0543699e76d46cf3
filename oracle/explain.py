"""
Why a request is where it is: one code and one sentence, from what the store knows. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.chain.fees import GWEI
from oracle.request import State
from oracle.store.batches import BatchState
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.request import Outcome, TrackedRequest
    from oracle.store.attempts import Attempt
    from oracle.store.retention import Pruned
    from oracle.store.transactions import Slot

_ETHER = 10**18
_REFUND = "its requester gets the whole fee back with `cancel` once the window has passed"

# Why a drawn request is not signed, as the step noted it on the request.
WAITS = {
    "block_too_small": "the chain's blocks have become too small for the gas that it was "
    "promised: it goes on when they grow again",
    "fee_cap_reached": "the base fee is above max_fee_gwei: it goes on when the fee falls or the "
    "cap is raised",
    "loss_limit": "it would cost more above its fee than max_loss_gwei allows: it goes on when "
    "gas is cheaper, and at the latest while a quarter of its window is left",
    "waiting_second_endpoint": "no second endpoint shows it yet at this depth, and one alone "
    "could have invented it",
    "wallet_busy": "the wallet has as many transactions under way as it may: it is signed when "
    "one is mined",
}

# What the endpoint said to the newest bytes.
_REFUSALS = {
    "stale": (
        "nonce_used",
        "another transaction used its nonce: what that one did is read when it is deep",
    ),
    "underpriced": (
        "underpriced",
        "the endpoint finds its fee too low: it is offered again, and replaced at a higher fee",
    ),
    "refused": (
        "refused_by_endpoint",
        "the endpoint refuses its transaction, the log says why: it is offered with every block",
    ),
    "unanswered": (
        "endpoint_silent",
        "the endpoint did not say whether it has its transaction: the same bytes go out again",
    ),
}

# How it ended, by the reason that was written down with it.
_ENDS = {
    (State.ORPHANED, "reorg"): "a reorg took its block away: it comes back if its transaction is "
    "mined again with the same id, and else there is nothing to serve or to refund",
    (State.REJECTED, "foreign_root"): "the root that its index is under was not built by this "
    f"store, so this node has no seed for it; {_REFUND}",
    (State.CANCELLED, "by_requester"): "its requester cancelled it and has the whole fee back",
    (State.EXPIRED, "window_closing"): "its window was closing before it could be served: "
    f"nothing more is sent for it; {_REFUND}",
    (State.FAILED, "seed_gone"): "its seed is no longer in this store, as after a restored "
    f"backup; {_REFUND}",
    (
        State.FAILED,
        "reverted",
    ): f"its transaction reverted three times and was given up; {_REFUND}",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """
    Why a request is where it is: `code` for programs, `sentence` for people.
    """

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    What the store and the configuration know of a request.
    """

    tracked: TrackedRequest
    #: Blocks on top of a block before it counts as settled; nothing where no chain of the
    #: configuration is the request's.
    depth: int | None
    devnet: bool = False
    #: The last block that was scanned.
    scanned: int | None = None
    #: The transaction that serves the request, with its attempts, the newest first.
    slot: Slot | None = None
    attempts: Sequence[Attempt] = ()
    #: Of the batch that the request's index is in.
    batch: BatchState | None = None
    #: Blocks in which it can be fulfilled, counted from its own.
    window: int | None = None


def explain(known: Known) -> Reason:  # noqa: PLR0911 - one case per state
    """
    Say why a request is where it is, what it waits for, and what its requester can do.
    """
    tracked = known.tracked
    open_ = tracked.state in (
        State.OBSERVED,
        State.CONFIRMED,
        State.DRAWN,
        State.SIGNED,
        State.SENT,
        State.MINED,
    )
    if open_ and known.depth is None:
        return Reason(
            "chain_not_configured",
            "no section of the configuration serves its coordinator, so it goes no further",
        )
    match tracked.state:
        case State.OBSERVED:
            return _observed(known)
        case State.CONFIRMED:
            return _confirmed(known)
        case State.DRAWN:
            return _drawn(tracked)
        case State.SIGNED:
            return Reason(
                "waiting_to_send", "its transaction is signed and goes out with the next pass"
            )
        case State.SENT:
            return explain_sent(known.slot, known.attempts)
        case State.MINED:
            assert known.depth is not None
            return explain_mined(tracked.outcome, known.scanned, known.depth)
        case State.DONE:
            return _done(tracked)
        case _:
            return _dated(_ended(known), known)


def _dated(reason: Reason, known: Known) -> Reason:
    """
    Add to a refund from which block on it can be had.
    """
    if known.window is None or not reason.sentence.endswith(_REFUND):
        return reason
    first = known.tracked.request.block_number + known.window + 1
    return Reason(reason.code, f"{reason.sentence}, which is from block {first} on")


def _observed(known: Known) -> Reason:
    request = known.tracked.request
    assert known.depth is not None
    # On a devnet the next block is as good as here.
    wanted = max(request.confirmations - (1 if known.devnet else 0), known.depth)
    have = -1 if known.scanned is None else known.scanned - request.block_number
    if 0 <= have < wanted:
        return Reason(
            "waiting_confirmations", f"its block has {have} of the {wanted} confirmations it needs"
        )
    return Reason("scan_behind", "the node has yet to read the blocks on top of it: does it run?")


def explain_earlier(slot: Slot | None) -> Reason | None:
    """
    Say what holds up a confirmed request that was signed before, if anything does.
    """
    if slot is None or slot.state not in (SlotState.SIGNED, SlotState.SENT, SlotState.MINED):
        return None
    return Reason(
        "earlier_transaction_open",
        f"an earlier transaction of nonce {slot.nonce} may still serve it: it gets no second one "
        "before that is settled",
    )


def _confirmed(known: Known) -> Reason:
    earlier = explain_earlier(known.slot)
    if earlier is not None:
        return earlier
    return Reason("waiting_for_seed", "it is deep enough; its seed is looked up in the next pass")


def _drawn(tracked: TrackedRequest) -> Reason:
    # A step that holds a drawn request back notes its code as the request's reason, see
    # `oracle.store.requests.note`; a new one needs its sentence above.
    if tracked.reason in WAITS:
        return Reason(tracked.reason, WAITS[tracked.reason])
    return Reason("waiting_to_sign", "its seed is at hand, and it is signed in the next pass")


def explain_sent(  # noqa: PLR0911 - one case per answer
    slot: Slot | None, attempts: Sequence[Attempt]
) -> Reason:
    """
    Say what the chain has done so far with the transaction that serves a request.
    """
    if slot is None or not attempts:
        return Reason("transaction_unknown", "its transaction is not in this store any more")
    newest, nonce = attempts[0], slot.nonce
    if slot.purpose is Purpose.FILLER:
        return Reason(
            "nonce_filled",
            f"it is too late for its transaction, and nonce {nonce} is filled with an empty one: "
            "whichever lands first decides",
        )
    if slot.state is SlotState.MINED:
        return Reason("waiting_for_scan", "its transaction is mined: its event is read next")
    if newest.verdict in _REFUSALS:
        return Reason(*_REFUSALS[newest.verdict])
    if newest.verdict == "unfunded":
        needed = slot.gas_limit * newest.max_fee
        return Reason(
            "wallet_unfunded",
            f"the wallet {slot.wallet} cannot pay: this transaction alone needs "
            f"{needed / _ETHER:.6f} ETH in it; it goes out by itself once that is there",
        )
    replaced = sum(attempt.sent_block is not None for attempt in attempts) - 1
    fee = f"at most {newest.max_fee / GWEI:.9g} gwei per gas"
    if newest.verdict is None:
        return Reason("being_sent", "its transaction is being handed to the endpoint")
    if replaced > 0:
        return Reason(
            "replaced",
            f"its transaction was replaced {replaced} time{'s' if replaced > 1 else ''} at nonce "
            f"{nonce} and now pays {fee}: it waits for a block",
        )
    return Reason(
        "in_mempool", f"its transaction of nonce {nonce} waits for a block, paying {fee}"
    )


def explain_mined(outcome: Outcome | None, scanned: int | None, depth: int) -> Reason:
    """
    Say how far a fulfillment is from being final.
    """
    assert outcome is not None
    have = max(0, (scanned or 0) - outcome.block_number)
    return Reason(
        "waiting_finality",
        f"it is fulfilled, under {min(have, depth)} of the {depth} blocks after which that counts "
        "as final",
    )


def _done(tracked: TrackedRequest) -> Reason:
    outcome = tracked.outcome
    return _fulfilled(callback_succeeded=None if outcome is None else outcome.callback_succeeded)


def _fulfilled(*, callback_succeeded: bool | None) -> Reason:
    if callback_succeeded is False:
        return Reason(
            "callback_failed",
            "it is fulfilled and its callback failed: anybody can call `redeliver` on the "
            "coordinator with enough gas",
        )
    return Reason("fulfilled", "it is fulfilled for good")


def explain_pruned(pruned: Pruned) -> Reason:
    """
    Say how a request ended of which only a tombstone is left.
    """
    if pruned.state is State.CANCELLED:
        return Reason("by_requester", _ENDS[State.CANCELLED, "by_requester"])
    return _fulfilled(callback_succeeded=pruned.callback_succeeded)


def _ended(known: Known) -> Reason:
    state, reason = known.tracked.state, known.tracked.reason
    sentence = _ENDS.get((state, reason or ""))
    if sentence is None:
        return Reason(reason or str(state), f"it is {state}, and nothing more is known of it")
    if state is State.REJECTED and known.batch in (BatchState.LOST, BatchState.ERASED):
        sentence = (
            "another root took the place of the one that this store built, so nobody here has its "
            f"seed; {_REFUND}"
        )
    assert reason is not None
    return Reason(reason, sentence)
