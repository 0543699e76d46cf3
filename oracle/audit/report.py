"""
What an audit says: counts, money, lists and findings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")
# A chain can hold more than anybody reads: the rest is counted.
_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    Something that does not fit: a machine-readable `code` and one sentence.
    """

    code: str
    detail: str
    request_id: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """
    A request that an operator should look at; an exposed index may have none.
    """

    index: int
    request_id: bytes | None
    reason: str


class Listing(Generic[_T]):
    """
    A list that keeps its first thousand entries and counts all.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[_T] = []

    def add(self, entry: _T) -> None:
        """
        Add an entry.
        """
        self.count += 1
        if len(self._kept) < _KEPT:
            self._kept.append(entry)

    @property
    def is_full(self) -> bool:
        """
        Whether what is added is counted only.
        """
        return self.count >= _KEPT

    def __iter__(self) -> Iterator[_T]:
        return iter(self._kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """
    Where the coordinator's ether belongs, in wei, as of one block.

    `fees` of what was fulfilled are `earned`, still `uncollected` in slots, or `withdrawn`;
    `escrow` are the fees of what is pending; `donated` is the rest of the balance, which nobody
    paid as a fee. Negative: the coordinator owes more than it has.
    """

    balance: int
    earned: int
    uncollected: int
    withdrawn: int
    fees: int
    escrow: int
    refunded: int

    @property
    def donated(self) -> int:
        """
        What the balance holds beside earnings and escrow.
        """
        return self.balance - self.earned - self.uncollected - self.escrow


@dataclass(kw_only=True)
class Report:
    """
    An audit of one coordinator as of a block; it is clean without a finding.

    `withheld`: cancelled, or no longer to be fulfilled; `exposed`: the seed may have left the node
    and the chain has no fulfillment; `overdue`: still to be saved. `unproved` fulfillments came
    through other contracts and have roots that are not of this store.
    """

    chain_id: int
    contract: str
    block: int
    requests: int = 0
    fulfilled: int = 0
    cancelled: int = 0
    pending: int = 0
    failed_callbacks: int = 0
    unproved: int = 0
    duplicates: int = 0
    seeds_reused: int = 0
    wrong: int = 0
    not_in_store: int = 0
    money: Money | None = None
    foreign_roots: Listing[int] = field(default_factory=Listing)
    withheld: Listing[Named] = field(default_factory=Listing)
    exposed: Listing[Named] = field(default_factory=Listing)
    overdue: Listing[Named] = field(default_factory=Listing)
    findings: Listing[Finding] = field(default_factory=Listing)

    @property
    def clean(self) -> bool:
        """
        Whether nothing was found.
        """
        return not self.findings.count

    def find(self, code: str, detail: str, request_id: bytes | None = None) -> None:
        """
        Add a finding.
        """
        self.findings.add(Finding(code=code, detail=detail, request_id=request_id))
