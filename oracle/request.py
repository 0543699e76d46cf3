"""
The life of a request: its states, the edges between them, and the values that travel along. Pure.

    observed → confirmed → drawn → signed → sent → mined → done

Exits: orphaned (left again if the same id comes back), rejected, cancelled, expired, failed, each
with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from oracle.errors import StaleStateError


class State(StrEnum):
    """
    What is durably known about a request.
    """

    OBSERVED = "observed"  #: its log is in a block of the canonical chain
    CONFIRMED = "confirmed"  #: that block is deep enough: the seed may be revealed
    DRAWN = "drawn"  #: the seed of its index is ours and at hand
    SIGNED = "signed"  #: the bytes that fulfill it are stored, none has left the process
    SENT = "sent"  #: the bytes may have left: its seed counts as public
    MINED = "mined"  #: the chain says that it is fulfilled, by whomever
    DONE = "done"  #: and says so at the confirmation depth
    ORPHANED = "orphaned"  #: a reorg took its block away
    REJECTED = "rejected"  #: it can never be served by this node
    CANCELLED = "cancelled"  #: its requester was refunded
    EXPIRED = "expired"  #: its window is closing or over, and its seed was never revealed
    FAILED = "failed"  #: it should have been served and could not be


#: A request in one of these is on its way.
OPEN_STATES = (
    *(State.OBSERVED, State.CONFIRMED, State.DRAWN, State.SIGNED, State.SENT, State.MINED),
)

_WITHDRAWN = frozenset(
    {State.ORPHANED, State.REJECTED, State.CANCELLED, State.EXPIRED, State.FAILED}
)

TRANSITIONS: dict[State, frozenset[State]] = {
    # Somebody else can fulfill at any moment: every open state can turn to MINED.
    State.OBSERVED: _WITHDRAWN | {State.CONFIRMED, State.MINED},
    State.CONFIRMED: _WITHDRAWN | {State.DRAWN, State.MINED},
    State.DRAWN: _WITHDRAWN | {State.SIGNED, State.CONFIRMED, State.MINED},
    State.SIGNED: _WITHDRAWN | {State.SENT, State.CONFIRMED, State.MINED},
    State.SENT: _WITHDRAWN | {State.MINED, State.CONFIRMED},
    # A reorg took the fulfillment away: the same bytes go out again (SENT), or they are rebuilt
    # (CONFIRMED).
    State.MINED: frozenset({State.DONE, State.SENT, State.CONFIRMED, State.ORPHANED}),
    # Only a reorg deeper than the confirmation depth does that; on a devnet the depth is 0.
    State.DONE: frozenset({State.CONFIRMED, State.ORPHANED}),
    State.ORPHANED: frozenset({State.OBSERVED}),
    State.REJECTED: frozenset({State.ORPHANED, State.CANCELLED, State.MINED}),
    State.CANCELLED: frozenset({State.ORPHANED, State.MINED}),
    State.EXPIRED: frozenset({State.ORPHANED, State.CANCELLED, State.MINED}),
    State.FAILED: frozenset({State.ORPHANED, State.CANCELLED, State.MINED}),
}


def check_transition(before: State, after: State) -> None:
    """
    Raise `StaleStateError` unless the edge exists.
    """
    if after not in TRANSITIONS[before]:
        raise StaleStateError(f"a request cannot go from {before} to {after}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """
    What names a request: chain id, coordinator (EIP-55), and the 32-byte request id.
    """

    chain_id: int
    contract: str
    request_id: bytes


class Request(Protocol):
    """
    What the requests of every protocol have: a name, and a place on the chain.
    """

    @property
    def key(self) -> RequestKey:
        """
        Its name.
        """
        ...

    @property
    def block_number(self) -> int:
        """
        The block that holds its log.
        """
        ...

    @property
    def block_hash(self) -> bytes:
        """
        That block's hash.
        """
        ...

    @property
    def transaction_hash(self) -> bytes:
        """
        The transaction that made it.
        """
        ...

    @property
    def log_index(self) -> int:
        """
        Where in the block its log is.
        """
        ...

    def log_context(self) -> dict[str, object]:
        """
        Return what a log line says to name it.
        """
        ...


R_co = TypeVar("R_co", bound=Request, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomnessRequest:
    """
    A request as its log tells it; `fee` in wei, `callback_gas_limit` in gas.
    """

    key: RequestKey
    seed_index: int
    requester: str
    callback_gas_limit: int
    num_words: int
    confirmations: int
    fee: int
    user_seed: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int

    def log_context(self) -> dict[str, object]:
        """
        Return what a log line says to name this request.
        """
        return {"request_id": "0x" + self.key.request_id.hex(), "index": self.seed_index}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    A fulfillment as its log tells it.
    """

    request_id: bytes
    callback_succeeded: bool
    transaction_hash: bytes
    block_number: int
    block_hash: bytes


# Without slots: Python 3.11 cannot build a frozen generic one through an alias.
@dataclass(frozen=True, kw_only=True)
class Tracked(Generic[R_co]):
    """
    A request with what the store knows of its progress.
    """

    request: R_co
    state: State
    reason: str | None
    transaction_id: int | None
    outcome: Outcome | None
    #: Its share of the fulfillment's cost, in wei; nothing before that is mined, and where
    #: somebody else paid.
    cost: int | None = None
    #: When it was first seen, in milliseconds since 1970.
    created_at: int = field(default=0, compare=False)

    def log_context(self) -> dict[str, object]:
        """
        Return what a log line says to name this request.
        """
        return {**self.request.log_context(), "state": str(self.state)}


TrackedRequest = Tracked[RandomnessRequest]
