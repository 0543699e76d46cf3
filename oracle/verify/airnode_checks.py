"""
What follows from the evidence about a request to an Airnode: a row of checks, each with its
sentence. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from oracle.verify.airnode_events import (
    CALLBACK_FAILED,
    Answered,
    Asked,
    Ended,
    airnode_id_of,
    template_id_of,
)
from oracle.verify.airnode_proof import read_fulfillment, words_in
from oracle.verify.airnode_wallet import airnode_of, sponsor_wallet_of
from oracle.verify.judgment import Check, Fault, Verdict, elsewhere, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oracle.verify.airnode_evidence import AirnodeEvidence
    from oracle.verify.airnode_proof import Fulfillment


class AirnodeState(StrEnum):
    """
    What the chain says has become of a request to an Airnode.
    """

    FULFILLED = "fulfilled"
    CALLBACK_FAILED = "callback_failed"  #: it was answered, and its consumer did not take it
    GIVEN_UP = "given_up"  #: its sponsor wallet ended it without a number
    OPEN = "open"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodeExamination:
    """
    What follows from the evidence; `words` are those that the Airnode signed.
    """

    evidence: AirnodeEvidence
    state: AirnodeState
    explanation: str
    checks: list[Check]
    asked: Asked | None = None
    words: tuple[bytes, ...] = ()

    @property
    def fits(self) -> bool:
        """
        Whether the request was fulfilled and no check failed.
        """
        return self.state is AirnodeState.FULFILLED and not self.failed

    @property
    def failed(self) -> list[Check]:
        """
        The checks that failed.
        """
        return [check for check in self.checks if check.verdict is Verdict.FAILED]


def examine_airnode(evidence: AirnodeEvidence) -> AirnodeExamination:
    """
    Judge everything that can be judged.
    """
    asked = next((event for event in evidence.life if isinstance(event, Asked)), None)
    if asked is None or evidence.made is None:
        return AirnodeExamination(
            evidence=evidence,
            state=AirnodeState.NOT_FOUND,
            explanation=f"no log of {evidence.contract} up to block {evidence.head.number} makes "
            "this request: check the id, --rrp, the chain and --from-block",
            checks=[],
        )
    checks = [*_request(evidence, asked), *_operator(evidence, asked)]
    end = next((event for event in evidence.life if not isinstance(event, Asked)), None)
    checks += _once(evidence, end)
    given, words = None, None
    if end is None:
        state, explanation = AirnodeState.OPEN, "it is neither answered nor given up"
    else:
        given = _given(evidence)
        block = end.log.block_number
        state, explanation = _state(end, given)
        explanation += f" in block {block}, {block - asked.log.block_number} after the request's"
        checks += _settlement(evidence, asked)
    if given is not None and state is not AirnodeState.GIVEN_UP:
        words = words_in(given.data, array=len(given.data) != 32)  # noqa: PLR2004 - one word
        checks += _signature(evidence, asked, end, given)
        checks += _words(words)
    elif state in (AirnodeState.FULFILLED, AirnodeState.CALLBACK_FAILED):
        checks.append(_unreadable())
    if state is not AirnodeState.OPEN and state is not AirnodeState.GIVEN_UP:
        checks.append(_word_of(asked.airnode))
    return AirnodeExamination(
        evidence=evidence,
        state=state,
        explanation=explanation,
        checks=checks,
        asked=asked,
        words=words or (),
    )


def _state(end: Answered | Ended, given: Fulfillment | None) -> tuple[AirnodeState, str]:
    if isinstance(end, Answered):
        return AirnodeState.FULFILLED, "answered, and the callback succeeded,"
    if end.message == CALLBACK_FAILED and given is not None:
        return AirnodeState.CALLBACK_FAILED, "answered, and the callback failed,"
    return (
        AirnodeState.GIVEN_UP,
        f"its sponsor wallet gave it up, saying {end.message!r},",
    )


def _given(evidence: AirnodeEvidence) -> Fulfillment | None:
    transaction = evidence.transaction
    if transaction is None or transaction.to != evidence.contract:
        return None
    return read_fulfillment(transaction.data)


def _request(evidence: AirnodeEvidence, asked: Asked) -> Iterator[Check]:
    derived = airnode_id_of(evidence.chain_id, evidence.contract, asked)
    yield judge(
        "request id",
        [
            Fault(
                derived != evidence.request_id or asked.chain_id != evidence.chain_id,
                "id_differs",
                "the id is not the hash of chain, contract and what the log says: that would be "
                f"0x{derived.hex()}",
            )
        ],
        "the id is the hash of chain, contract, requester, sponsor, wallet, callback and "
        "parameters",
    )
    yield judge(
        "request",
        elsewhere(evidence.made, "the request"),
        f"made by {asked.requester} in block {asked.log.block_number}, for {asked.airnode}",
    )
    if asked.template_id is None:
        return
    found = evidence.template
    derived = template_id_of(found.airnode, found.endpoint_id, found.parameters) if found else b""
    yield judge(
        "template",
        [
            Fault(
                found is None or derived != asked.template_id,
                "template_differs",
                "what the contract says of its template does not hash to the template's id",
            ),
            Fault(
                found is not None and found.airnode != asked.airnode,
                "other_airnode",
                "its template names another Airnode than the request's log",
            ),
        ],
        "the template's id is the hash of Airnode, endpoint and parameters",
    )


def _operator(evidence: AirnodeEvidence, asked: Asked) -> Iterator[Check]:
    named, xpub = evidence.airnode, evidence.xpub
    if named is None and xpub is not None:
        named = airnode_of(xpub)
    if named is None:
        yield Check(
            name="airnode",
            verdict=Verdict.NOT_CHECKABLE,
            reason="airnode_not_given",
            detail=f"it asked {asked.airnode}: whose that is, --airnode with the address that the "
            "operator announced would say",
        )
    else:
        yield judge(
            "airnode",
            [
                Fault(
                    named != asked.airnode,
                    "other_airnode",
                    f"it asked {asked.airnode}, not {named}",
                )
            ],
            f"it asked {asked.airnode}, as expected",
        )
    if xpub is None:
        yield Check(
            name="sponsor wallet",
            verdict=Verdict.NOT_CHECKABLE,
            reason="xpub_not_given",
            detail=f"it named {asked.sponsor_wallet}: whether that is the Airnode's wallet for "
            f"{asked.sponsor}, --xpub would say",
        )
        return
    derived = sponsor_wallet_of(xpub, asked.sponsor)
    yield judge(
        "sponsor wallet",
        [
            Fault(
                airnode_of(xpub) != asked.airnode,
                "other_xpub",
                f"the xpub is that of {airnode_of(xpub)}",
            ),
            Fault(
                derived != asked.sponsor_wallet,
                "other_sponsor_wallet",
                f"it named {asked.sponsor_wallet}, and the Airnode's wallet for {asked.sponsor} "
                f"is {derived}: an Airnode answers no such request",
            ),
        ],
        f"{derived} follows from the xpub and sponsor {asked.sponsor}",
    )


def _once(evidence: AirnodeEvidence, end: Answered | Ended | None) -> Iterator[Check]:
    ends = sum(not isinstance(event, Asked) for event in evidence.life)
    yield judge(
        "exactly once",
        [
            Fault(ends > 1, "settled_twice", f"it was settled {ends} times"),
            Fault(
                len(evidence.life) - ends > 1,
                "made_twice",
                f"it was made {len(evidence.life) - ends} times",
            ),
            Fault(
                end is None and not evidence.awaiting,
                "logs_missing",
                "no log settles it, and the contract does not call it open: the endpoint loses "
                "logs",
            ),
            Fault(
                end is not None and evidence.awaiting,
                "still_open",
                "the contract still calls it open",
            ),
        ],
        "the contract calls it open" if end is None else "settled once, and open no more",
    )


def _settlement(evidence: AirnodeEvidence, asked: Asked) -> Iterator[Check]:
    assert evidence.settled is not None
    transaction, log = evidence.transaction, evidence.settled.log
    yield judge(
        "settlement",
        [
            Fault(
                (log.block_number, log.index) < (asked.log.block_number, asked.log.index),
                "before_request",
                "it was settled before it was made",
            ),
            *elsewhere(evidence.settled, "its end"),
            Fault(
                transaction is not None
                and transaction.to == evidence.contract
                and transaction.sender != asked.sponsor_wallet,
                "other_sender",
                "another account than the named sponsor wallet sent the transaction",
            ),
        ],
        f"by transaction 0x{log.transaction_hash.hex()}",
    )


def _signature(
    evidence: AirnodeEvidence, asked: Asked, end: Answered | Ended | None, given: Fulfillment
) -> Iterator[Check]:
    logged = end.data if isinstance(end, Answered) else given.data
    yield judge(
        "signature",
        [
            Fault(
                given.request_id != evidence.request_id or given.airnode != asked.airnode,
                "other_request",
                "the calldata answers another request",
            ),
            Fault(
                given.data != logged,
                "data_differs",
                "the data in the calldata is not that in the log",
            ),
            Fault(
                given.signer != asked.airnode,
                "not_signed",
                f"the signature over id and data is not {asked.airnode}'s",
            ),
        ],
        f"{asked.airnode} signed request id and data",
    )


def _words(words: tuple[bytes, ...] | None) -> Iterator[Check]:
    count = len(words or ())
    yield judge(
        "words",
        [
            Fault(
                words is None,
                "undecodable",
                "the data is no uint256 and no uint256[]: this endpoint answers otherwise",
            )
        ],
        f"the data holds {count} " + ("word" if count == 1 else "words"),
    )


def _unreadable() -> Check:
    return Check(
        name="signature",
        verdict=Verdict.NOT_CHECKABLE,
        reason="internal_call",
        detail="its transaction did not call the contract directly, so the signature cannot be "
        "read from it: it was checked by the contract alone",
    )


def _word_of(airnode: str) -> Check:
    return Check(
        name="origin",
        verdict=Verdict.NOT_CHECKABLE,
        reason="operators_word",
        detail=f"nothing proves where the number came from, or that {airnode} did not draw until "
        "it liked one: that is its operator's word, unlike in the native protocol",
    )
