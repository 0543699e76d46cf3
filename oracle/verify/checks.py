"""
What follows from the evidence about a request: a row of checks, each with its sentence. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.verify.events import (
    Cancelled,
    Failed,
    Fulfilled,
    Made,
    Redelivered,
    domain_of,
    id_of,
    output_of,
    words_of,
)
from oracle.verify.judgment import (
    Check,
    Evidence,
    Examination,
    Fault,
    State,
    Verdict,
    elsewhere,
    first_of,
    judge,
)
from oracle.verify.proof import read_run

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the coordinator's `status` answers.
NOT_PENDING, PENDING, CALLBACK_FAILED = range(3)
_STATUS = {NOT_PENDING: "not pending", PENDING: "pending", CALLBACK_FAILED: "callback failed"}


def examine(evidence: Evidence) -> Examination:
    """
    Judge everything that can be judged.
    """
    made = first_of(evidence, Made)
    if made is None or evidence.made is None:
        return Examination(
            evidence=evidence,
            state=State.NOT_FOUND,
            reason="never_made",
            explanation=f"no log of {evidence.contract} up to block {evidence.head.number} makes "
            "this request: check the id, the coordinator, the chain and --from-block",
            checks=list(_code(evidence)),
        )
    checks = [*_code(evidence), *_request(evidence, made), *_commitment(evidence, made)]
    fulfilled, cancelled = first_of(evidence, Fulfilled), first_of(evidence, Cancelled)
    words: tuple[bytes, ...] = ()
    if fulfilled is not None and evidence.fulfilled is not None:
        state, reason = State.FULFILLED, None
        explanation = (
            f"in block {fulfilled.log.block_number}, which is "
            f"{fulfilled.log.block_number - made.terms.block} after the request's"
        )
        output = output_of(fulfilled.seed, made.request_id, evidence.made.header.hash)
        words = words_of(output, made.terms.num_words)
        checks += _settled_once(evidence)
        checks += _fulfillment(evidence, made, fulfilled)
        checks += _proof(evidence, made, fulfilled)
        checks += _beacon(evidence, made)
        checks += _value(evidence, made, output)
        checks += _callback(evidence, fulfilled)
    elif cancelled is not None:
        state, reason = State.CANCELLED, "cancelled"
        explanation = (
            f"in block {cancelled.log.block_number}, {cancelled.amount} wei went back "
            f"to {cancelled.to}, and it is never fulfilled"
        )
        checks += _settled_once(evidence)
        checks += _cancellation(evidence, made, cancelled)
    else:
        state = State.PENDING
        reason, explanation = _why_pending(evidence, made)
        checks += _still_pending(evidence)
    return Examination(
        evidence=evidence,
        state=state,
        reason=reason,
        explanation=explanation,
        checks=checks,
        words=words,
    )


def _code(evidence: Evidence) -> Iterator[Check]:
    yield judge(
        "coordinator",
        [
            Fault(
                evidence.code is None,
                "unknown_code",
                f"the code at {evidence.contract} is no coordinator that this version knows, so "
                "nothing vouches for what it called back with",
            )
        ],
        f"the code at {evidence.contract} is {evidence.code}",
    )


def _request(evidence: Evidence, made: Made) -> Iterator[Check]:
    domain = domain_of(evidence.chain_id, evidence.contract)
    derived = id_of(domain, made.requester, made.terms_word, made.user_seed)
    yield judge(
        "request id",
        [
            Fault(
                derived != evidence.request_id,
                "id_differs",
                "the id is not the hash of chain, coordinator and what the log says: "
                f"that would be 0x{derived.hex()}",
            )
        ],
        "the id is the hash of chain, coordinator, requester, terms and user seed",
    )
    yield judge(
        "request",
        [
            Fault(
                made.terms.block != made.log.block_number,
                "other_block",
                f"the terms name block {made.terms.block}, and the log is of block "
                f"{made.log.block_number}",
            ),
            *elsewhere(evidence.made, "the request"),
        ],
        f"made by {made.requester} in block {made.terms.block}, index {made.terms.index}",
    )


def _commitment(evidence: Evidence, made: Made) -> Iterator[Check]:
    commit, index = evidence.commit, made.terms.index
    if commit is None:
        yield Check(
            name="commitment",
            verdict=Verdict.FAILED,
            reason="not_committed",
            detail=f"no log up to the request's block commits a root for index {index}",
        )
        return
    root = commit.root_of(index) or b""
    here, there = commit.log, made.log
    yield judge(
        "commitment",
        [
            Fault(
                (here.block_number, here.index) >= (there.block_number, there.index),
                "committed_late",
                f"its root was committed in block {here.block_number} at log {here.index}, not "
                f"before the request at log {there.index} of block {there.block_number}",
            ),
            Fault(
                root != evidence.root,
                "root_differs",
                "the coordinator's storage has another root than the log that committed it",
            ),
            *elsewhere(evidence.committed, "the commitment"),
        ],
        f"root 0x{root.hex()[:16]}… was committed in block {here.block_number}, before the "
        "request",
    )


def _settled_once(evidence: Evidence) -> Iterator[Check]:
    kinds = (Fulfilled, Cancelled)
    times = [sum(isinstance(event, kind) for event in evidence.life) for kind in kinds]
    yield judge(
        "exactly once",
        [
            Fault(times[0] > 1, "fulfilled_twice", f"it was fulfilled {times[0]} times"),
            Fault(times[1] > 1, "cancelled_twice", f"it was cancelled {times[1]} times"),
            Fault(min(times) > 0, "fulfilled_and_cancelled", "it was fulfilled and cancelled"),
            Fault(
                evidence.status == PENDING,
                "still_pending",
                "the coordinator still calls it pending",
            ),
        ],
        "one fulfillment, no cancellation" if times[0] else "one cancellation, no fulfillment",
    )


def _fulfillment(evidence: Evidence, made: Made, fulfilled: Fulfilled) -> Iterator[Check]:
    terms, block = made.terms, fulfilled.log.block_number
    earliest, latest = terms.block + terms.confirmations, terms.block + evidence.window
    yield judge(
        "in time",
        [
            Fault(
                block < earliest,
                "too_early",
                f"block {block} is before block {earliest}, the first that the request allows",
            ),
            Fault(
                block > latest,
                "too_late",
                f"block {block} is after block {latest}, the last of its window",
            ),
            *elsewhere(evidence.fulfilled, "the fulfillment"),
        ],
        f"block {block} lies between {earliest}, after {terms.confirmations} confirmations, and "
        f"{latest}, the end of its window",
    )


def _proof(evidence: Evidence, made: Made, fulfilled: Fulfilled) -> Iterator[Check]:
    index, transaction = made.terms.index, evidence.transaction
    root = evidence.commit.root_of(index) if evidence.commit else None
    domain = domain_of(evidence.chain_id, evidence.contract)
    direct = transaction is not None and transaction.to == evidence.contract
    run = read_run(domain, transaction.data) if transaction and direct else None
    if run is None or (run.is_beside(index) and run.root(domain) == root):
        yield Check(
            name="seed",
            verdict=Verdict.NOT_CHECKABLE,
            reason="internal_call",
            detail="it was fulfilled by a call from another contract, so the proof cannot be "
            "read from the transaction: that the seed is the committed one was checked by the "
            "coordinator's code alone",
        )
        return
    ours = [item for item in run.items if item.request_id == made.request_id]
    yield judge(
        "seed",
        [
            Fault(
                not ours,
                "other_request",
                "the fulfilling transaction's calldata holds other requests than this one",
            ),
            Fault(
                any(item.seed != fulfilled.seed for item in ours),
                "seed_differs",
                "the seed in the calldata is not the one in the log",
            ),
            Fault(
                root is None or run.root(domain) != root,
                "proof_differs",
                "seed and siblings in the calldata do not lead to the committed root",
            ),
        ],
        f"seed and {len(run.siblings)} siblings in the calldata lead to the committed root at "
        f"index {index}",
    )


def _beacon(evidence: Evidence, made: Made) -> Iterator[Check]:
    assert evidence.made is not None
    header = evidence.made.header
    yield judge(
        "beacon",
        [
            Fault(
                header.number != made.terms.block or header.hash != made.log.block_hash,
                "other_block",
                f"the header of block {made.terms.block} and the request's log give different "
                "hashes",
            ),
            Fault(
                evidence.next_parent not in (None, header.hash),
                "other_parent",
                f"the header of block {made.terms.block + 1} names another parent",
            ),
        ],
        f"0x{header.hash.hex()[:16]}… is the hash of block {header.number}",
    )


def _value(evidence: Evidence, made: Made, output: bytes) -> Iterator[Check]:
    failed = first_of(evidence, Failed)
    yield judge(
        "value",
        [
            Fault(
                failed is not None and failed.output != output,
                "output_differs",
                "the output that the coordinator put on record for redelivery does not follow "
                "from seed, id and beacon",
            )
        ],
        f"keccak256(seed, id, beacon) gives {made.terms.num_words} "
        + ("word" if made.terms.num_words == 1 else "words"),
    )


def _callback(evidence: Evidence, fulfilled: Fulfilled) -> Iterator[Check]:
    failed, again = first_of(evidence, Failed), first_of(evidence, Redelivered)
    expected = CALLBACK_FAILED if failed and not again else NOT_PENDING
    if fulfilled.success:
        said = "succeeded"
    elif again is None:
        said = "failed; anybody can have it repeated with `redeliver`"
    else:
        said = f"failed, and was repeated with success in block {again.log.block_number}"
    yield judge(
        "callback",
        [
            Fault(
                fulfilled.success != (failed is None),
                "callback_contradiction",
                "the fulfillment's log and the record of failed callbacks contradict each other",
            ),
            Fault(
                again is not None and failed is None,
                "redelivered_without_failure",
                "it was redelivered, but its callback did not fail",
            ),
            Fault(
                evidence.status != expected,
                "status_differs",
                f"the coordinator calls it {_STATUS.get(evidence.status or 0)}, and its events "
                f"say {_STATUS[expected]}",
            ),
        ],
        f"the callback {said}",
    )


def _cancellation(evidence: Evidence, made: Made, cancelled: Cancelled) -> Iterator[Check]:
    last = made.terms.block + evidence.window
    yield judge(
        "cancellation",
        [
            Fault(
                cancelled.log.block_number <= last,
                "cancelled_early",
                f"it was cancelled in block {cancelled.log.block_number}, while it could be "
                f"fulfilled until block {last}",
            ),
            Fault(
                (cancelled.amount, cancelled.index) != (made.terms.fee, made.terms.index),
                "refund_differs",
                f"{cancelled.amount} wei went back for index {cancelled.index}, and "
                f"{made.terms.fee} were paid for index {made.terms.index}",
            ),
        ],
        f"its whole fee of {cancelled.amount} wei went back, after its window",
    )


def _still_pending(evidence: Evidence) -> Iterator[Check]:
    yield judge(
        "pending",
        [
            Fault(
                evidence.status != PENDING,
                "logs_missing",
                "the coordinator does not call it pending, but no log settles it: the endpoint "
                "lost logs",
            )
        ],
        "the coordinator calls it pending, and nothing has settled it",
    )


def _why_pending(evidence: Evidence, made: Made) -> tuple[str, str]:
    terms, head = made.terms, evidence.head.number
    earliest, latest = terms.block + terms.confirmations, terms.block + evidence.window
    if head < earliest - 1:
        return "waiting_for_confirmations", (
            f"it can be fulfilled from block {earliest} on, and the head is block {head}"
        )
    if head < latest:
        return "waiting_for_fulfillment", (
            f"it can be fulfilled until block {latest}, and nobody has yet at block {head}"
        )
    return "window_closed", (
        f"its window closed with block {latest}: it can no longer be fulfilled, and its requester "
        f"can cancel it for its whole fee of {terms.fee} wei"
    )
