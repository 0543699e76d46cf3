"""
What a request is judged by: an endpoint's evidence, what can be wrong with it, and the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.evm import Block, Log, Receipt, Transaction
    from oracle.verify.events import Committed, Event

_T = TypeVar("_T")


class State(StrEnum):
    """
    What the chain says has become of a request.
    """

    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    PENDING = "pending"
    NOT_FOUND = "not_found"


class Verdict(StrEnum):
    """
    What became of a check.
    """

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKABLE = "not_checkable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One check: a machine-readable `reason` where it is not ok, and one sentence.
    """

    name: str
    verdict: Verdict
    reason: str | None
    detail: str


class Fault(NamedTuple):
    """
    What can be wrong: whether it is, its machine-readable reason and its sentence.
    """

    holds: bool
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    A log and what else the endpoint says about where it is: all of it has to agree.
    """

    log: Log
    header: Block
    receipt: Receipt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    What an endpoint says about a request as of a block; `life` are the events that name it.

    `code` is the name of the contract whose code is at the coordinator's address, if known.
    `next_parent` is the parent's hash in the header behind the request's block, once there is one.
    """

    chain_id: int
    contract: str
    request_id: bytes
    head: Block
    code: str | None
    window: int
    life: Sequence[Event]
    status: int | None = None
    made: Place | None = None
    next_parent: bytes | None = None
    commit: Committed | None = None
    committed: Place | None = None
    root: bytes | None = None
    fulfilled: Place | None = None
    transaction: Transaction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """
    What follows from the evidence: `reason` says why a request is pending, or was not found.
    """

    evidence: Evidence
    state: State
    reason: str | None
    explanation: str
    checks: list[Check]
    words: tuple[bytes, ...] = field(default=())

    @property
    def fits(self) -> bool:
        """
        Whether the request was fulfilled and no check failed.
        """
        return self.state is State.FULFILLED and not self.failed

    @property
    def failed(self) -> list[Check]:
        """
        The checks that failed.
        """
        return [check for check in self.checks if check.verdict is Verdict.FAILED]


def first_of(evidence: Evidence, kind: type[_T]) -> _T | None:
    """
    Return the first event of a kind in the request's life.
    """
    return next((event for event in evidence.life if isinstance(event, kind)), None)


def judge(name: str, faults: Sequence[Fault], otherwise: str) -> Check:
    """
    Fail with the first fault that holds: its reason and its sentence.
    """
    for fault in faults:
        if fault.holds:
            return Check(
                name=name, verdict=Verdict.FAILED, reason=fault.reason, detail=fault.detail
            )
    return Check(name=name, verdict=Verdict.OK, reason=None, detail=otherwise)


def elsewhere(place: Place | None, what: str) -> list[Fault]:
    """
    Return the faults that a place can have: header and receipt must say what the log says.
    """
    assert place is not None
    log, receipt = place.log, place.receipt
    return [
        Fault(
            place.header.hash != log.block_hash,
            "other_block",
            f"the log of {what} names another block {log.block_number} than the chain has",
        ),
        Fault(
            receipt is None or not receipt.ok or log not in receipt.logs,
            "not_in_receipt",
            f"the receipt of transaction 0x{log.transaction_hash.hex()} does not hold the log of "
            f"{what}",
        ),
    ]
