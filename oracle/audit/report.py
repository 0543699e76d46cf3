"""
What the audit of a coordinator says: counts, money, lists and findings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oracle.audit.findings import Findings, Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """
    A request that an operator should look at; an exposed index may have none.
    """

    index: int
    request_id: bytes | None
    reason: str


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
class Report(Findings):
    """
    An audit of one coordinator as of a block; it is clean without a finding.

    `withheld`: cancelled, or no longer to be fulfilled; `exposed`: the seed may have left the node
    and the chain has no fulfillment; `overdue`: still to be saved. `unproved` fulfillments came
    through other contracts and have roots that are not of this store.
    """

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
