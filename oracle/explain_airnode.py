"""
Why an Airnode request is where it is: one code and one sentence, from what the store and the
configuration know. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oracle.airnode_policy import FAILED_BY_POLICY, Choice
from oracle.explain import WAITS, Reason, explain_earlier, explain_mined, explain_sent
from oracle.request import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.airnode_policy import AirnodePolicy
    from oracle.airnode_request import AirnodeRequest
    from oracle.request import Tracked
    from oracle.store.airnode import Answer, Shortage
    from oracle.store.attempts import Attempt
    from oracle.store.retention import Pruned
    from oracle.store.transactions import Slot

_NEVER = "nothing was or will be sent for it"
_PARAMETERS = (
    "its parameters are no Airnode ABI, which an Airnode drops: correct what the requester "
    f"encodes, and ask again; {_NEVER}"
)

# Why a confirmed request gets no number yet, as the step noted it on the request.
CONFIRMED_WAITS = {
    "unauthorised": "none of the operator's authorizers lets its requester through: get its "
    "access from the operator, the authorizers are asked again every 20 blocks",
    "waiting_after_restore": "the database was restored from a backup, and this request is older: "
    "the original may have answered it, so it waits for the operator to see whether that is so "
    "and to say `oracle requests release`",
    "sponsor_cap": "its sponsor has had as many numbers in 24 hours as it may: it gets its own "
    "when the oldest of them is a day old, or when the operator raises draws_per_sponsor",
    "fee_cap_reached": WAITS["fee_cap_reached"],
    "waiting_for_entropy": "the pool has no unused block: it gets its number when a source "
    "delivers, and `oracle entropy status` says what keeps them",
}

# Why a drawn request is not signed. Two more have figures, see `_drawn`.
DRAWN_WAITS = {
    **{name: WAITS[name] for name in ("fee_cap_reached", "waiting_second_endpoint")},
    "wallet_busy": "its sponsor wallet has as many transactions under way as it may: it is signed "
    "when one is mined",
    "withdrawal_pending": "its sponsor asked for its funds back: nothing is signed from the "
    "sponsor wallet before they are returned; fund it again for this request afterwards",
}
CALLBACKS = {
    "callback_fails": "its callback reverts when AirnodeRrpV0 calls it with other numbers",
    "callback_too_hungry": "its callback needs more gas than a transaction here may have",
    "callback_untried": "the endpoint cannot try its callback, so nobody knows the gas it needs",
}

# How it ended, by the reason that was written down with it.
ENDS = {
    (State.ORPHANED, "reorg"): "a reorg took its block away: it comes back if its transaction is "
    "mined again, and keeps its number if it had one",
    (State.REJECTED, "wrong_sponsor_wallet"): "the sponsor wallet that it names was not derived "
    "for its sponsor from this Airnode's xpub: set the right one and ask again; " + _NEVER,
    (State.REJECTED, "unknown_endpoint"): "this Airnode does not serve the endpoint that it "
    f"names: take an endpoint id that the operator announces, and ask again; {_NEVER}",
    (State.REJECTED, "unknown_template"): "nobody has created the template that it names: call "
    f"createTemplate for this Airnode, and ask again with its id; {_NEVER}",
    (State.REJECTED, "not_allowed"): "the operator serves named requesters and sponsors alone, "
    f"and it is neither's: have one of them listed under `allowed`, and ask again; {_NEVER}",
    **{
        (State.REJECTED, f"parameters_{what}"): _PARAMETERS
        for what in ("version", "type", "malformed", "reencoding", "header", "name", "value")
    },
    (State.EXPIRED, "max_age"): "it waited longer than the operator's max_age_hours, and its "
    "number never left: ask again if the consumer still wants one",
    (
        State.FAILED,
        "number_gone",
    ): "an endpoint showed a fulfillment that was none, and its "
    "number is erased: the contract still awaits it, so ask again, and have the operator change "
    "endpoints",
    (State.FAILED, "reverted"): "its transaction reverted three times and was given up: the "
    "contract still awaits it, so ask again, and have the operator look at the log",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAirnode:
    """
    What store and configuration know of an Airnode request.
    """

    tracked: Tracked[AirnodeRequest]
    answer: Answer
    #: Nothing where no section of the configuration serves its contract.
    policy: AirnodePolicy | None
    depth: int = 0
    #: The last block that was scanned.
    scanned: int | None = None
    slot: Slot | None = None
    attempts: Sequence[Attempt] = ()
    #: The depth that its parameters wish for.
    wish: int | None = None
    #: What is wrong with its parameters, in words.
    complaint: str | None = None
    #: Whether it was answered with a number that is not this store's.
    foreign: bool = False
    #: The wallet that an Airnode with this mnemonic has for its sponsor, where that was looked up.
    right_wallet: str | None = None


FOREIGN = Reason(
    "foreign_fulfillment",
    "it is fulfilled with a number that is not this store's: whoever holds the same mnemonic, "
    "another node or an earlier copy of this database, has answered it",
)


def explain_airnode(known: KnownAirnode) -> Reason:  # noqa: C901, PLR0911 - one case per state
    """
    Say why a request is where it is, and what its requester or the operator can do.
    """
    tracked, policy = known.tracked, known.policy
    if tracked.state in (State.MINED, State.DONE) and known.foreign:
        return FOREIGN
    if tracked.state is State.DONE:
        return _done(known)
    if (tracked.state, tracked.reason or "") in ENDS:
        return _ended(known)
    if policy is None:
        return Reason(
            "chain_not_configured",
            "no section of the configuration serves its contract, so it goes no further",
        )
    match tracked.state:
        case State.OBSERVED:
            return _observed(known, policy)
        case State.CONFIRMED:
            return _confirmed(known, policy)
        case State.DRAWN:
            return _drawn(known, policy)
        case State.SIGNED:
            return Reason(
                "waiting_to_send", "its transaction is signed and goes out with the next pass"
            )
        case State.SENT:
            return explain_sent(known.slot, known.attempts)
        case State.MINED:
            return explain_mined(tracked.outcome, known.scanned, known.depth)
        case _:
            return Reason(
                tracked.reason or str(tracked.state),
                f"it is {tracked.state}, and nothing more is known of it",
            )


def _observed(known: KnownAirnode, policy: AirnodePolicy) -> Reason:
    wanted = 0 if policy.lower_confirmations else known.depth
    have = -1 if known.scanned is None else known.scanned - known.tracked.request.block_number
    if 0 <= have < wanted:
        return Reason(
            "waiting_confirmations", f"its block has {have} of the {wanted} confirmations it needs"
        )
    return Reason("scan_behind", "the node has yet to read the blocks on top of it: does it run?")


def _confirmed(known: KnownAirnode, policy: AirnodePolicy) -> Reason:
    earlier = explain_earlier(known.slot)
    if earlier is not None:
        return earlier
    reason = known.tracked.reason
    if reason == "waiting_confirmations":
        wish = known.depth if known.wish is None else known.wish
        wanted = wish if policy.lower_confirmations else max(known.depth, wish)
        have = max(0, (known.scanned or 0) - known.tracked.request.block_number)
        return Reason(
            reason,
            f"its block has {min(have, wanted)} of the {wanted} confirmations that it and the "
            "operator ask for",
        )
    if reason == "wallet_unfunded":
        # What its callback needs is seen once it has its number.
        return _unfunded(known.tracked.request, known.answer.shortage, "at least ")
    if reason in CONFIRMED_WAITS:
        return Reason(reason, CONFIRMED_WAITS[reason])
    return Reason(
        "waiting_for_number", "it is deep enough; a number is bound to it in the next pass"
    )


def _drawn(known: KnownAirnode, policy: AirnodePolicy) -> Reason:
    reason = known.tracked.reason
    if reason == "wallet_unfunded" and known.answer.failure is not None:
        return Reason(
            reason,
            f"{known.answer.failure}: correct that, and ask again; this one gets no number, "
            "whatever is sent to its sponsor wallet, and is failed on chain once there are funds",
        )
    if reason == "wallet_unfunded":
        return _unfunded(known.tracked.request, known.answer.shortage)
    if reason in CALLBACKS:
        return _held(known, policy, reason)
    if reason in DRAWN_WAITS:
        return Reason(reason, DRAWN_WAITS[reason])
    return Reason(
        "waiting_to_sign", "what is sent for it is known, and it is signed in the next pass"
    )


def _unfunded(request: AirnodeRequest, shortage: Shortage | None, least: str = "") -> Reason:
    wallet = request.sponsor_wallet
    if shortage is None:
        sentence = f"the sponsor wallet {wallet} cannot pay for it: the log says what is missing"
    else:
        sentence = (
            f"the sponsor wallet {wallet} needs {least}{_ether(shortage.needed)} ether and has "
            f"{_ether(shortage.had)}: send it {least}{_ether(shortage.missing)} ether"
        )
    return Reason("wallet_unfunded", f"{sentence}; it is served by itself once that is there")


def _held(known: KnownAirnode, policy: AirnodePolicy, reason: str) -> Reason:
    request = known.tracked.request
    until = ""
    if known.answer.held_since is not None:
        end = datetime.fromtimestamp((known.answer.held_since + policy.hold) / 1000, UTC)
        until = f" until {end.isoformat(timespec='seconds')}"
    if reason == "callback_fails":
        fails = policy.held is Choice.FAIL and not known.answer.array
        then = "it is failed with its number in the message" if fails else "its number goes out"
        what = f"{request.fulfill_address} can be mended{until}, then {then}, for the record"
    else:
        what = f"it is tried again{until}, then its number goes out with all the gas there is"
        if reason == "callback_untried":
            what += ", or as much of it as its wallet can pay for"
    return Reason(reason, f"{CALLBACKS[reason]}: {what}")


def _done(known: KnownAirnode) -> Reason:
    outcome = known.tracked.outcome
    if outcome is None or outcome.callback_succeeded:
        return Reason("fulfilled", "it is fulfilled for good")
    failure = known.answer.failure
    if failure is not None and failure.startswith(FAILED_BY_POLICY):
        return Reason(
            "failed_by_policy",
            "its callback failed until its hold was over, and as the operator wants it then, it "
            "was failed with its number in the message: mend the callback, and ask again",
        )
    if failure is not None:
        return Reason(
            "failed_on_chain",
            f"it was failed on chain: {failure}; correct that, and ask again",
        )
    return Reason(
        "callback_failed",
        "it is answered, and its callback failed: its number is on record and goes to nobody a "
        "second time; mend the callback, and ask again",
    )


def explain_pruned_airnode(pruned: Pruned) -> Reason:
    """
    Say how a request ended of which only a tombstone is left.
    """
    if pruned.state is State.REJECTED:
        return Reason(
            "rejected", f"it could not be served, and why is not kept any more: {_NEVER}"
        )
    if pruned.callback_succeeded:
        return Reason("fulfilled", "it is fulfilled for good")
    return Reason(
        "not_delivered",
        "its callback failed, or it was failed on chain: which of them is not kept any more, and "
        "`oracle verify` reads it from the chain",
    )


def _ended(known: KnownAirnode) -> Reason:
    tracked = known.tracked
    assert tracked.reason is not None
    sentence = ENDS[tracked.state, tracked.reason]
    if tracked.reason == "wrong_sponsor_wallet" and known.right_wallet is not None:
        sentence = (
            f"it names the sponsor wallet {tracked.request.sponsor_wallet}, and that of its "
            f"sponsor {tracked.request.sponsor} at this Airnode is {known.right_wallet}: set that "
            f"one and ask again; {_NEVER}"
        )
    elif known.complaint is not None and tracked.reason.startswith("parameters_"):
        sentence = f"{known.complaint}: {sentence}"
    return Reason(tracked.reason, sentence)


def _ether(wei: int) -> str:
    digits = f"{wei:019d}"
    return f"{digits[:-18]}.{digits[-18:]}".rstrip("0").rstrip(".")
